#!/usr/bin/env python3
"""Merges an adapter with PEFT and bitsandbytes on the CPU and saves the result, printing the seconds of each step.

Usage: python peft_merge.py MODEL ADAPTER OUT
"""
import sys
import time

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM
from transformers.core_model_loading import WeightConverter

model_dir, adapter, out = sys.argv[1:]
start = time.perf_counter()


def lap(what):
    global start
    now = time.perf_counter()
    print(f"{what} {now - start:.2f} s", flush=True)
    start = now


model = AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.bfloat16, device_map="cpu")
model = PeftModel.from_pretrained(model, adapter)
lap("load")
model = model.merge_and_unload()
lap("merge")
# transformers 5.23 cannot save a model again that it loaded from a bitsandbytes checkpoint: the loading step has no
# reverse. It is dropped.
steps = getattr(model, "_weight_conversions", None)
if steps is not None:
    model._weight_conversions = [s for s in steps if not (isinstance(s, WeightConverter) and any(
        type(o).__name__.startswith("Bnb") for o in s.operations))]
model.save_pretrained(out)
lap("save")
