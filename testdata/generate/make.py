#!/usr/bin/env python3
"""Writes texts.json, what model/generate_test.go compares with: texts that
transformers and PEFT generate, and what its logits warpers leave.

    python make.py            (transformers 5.23, torch 2.15, peft 0.21, bitsandbytes 0.50)
"""
import importlib.util
import json
import pathlib

import bitsandbytes
import torch
from peft import PeftModel
from safetensors import safe_open
from transformers import AutoModelForCausalLM
from transformers.generation.logits_process import LogitsProcessorList, TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

HERE = pathlib.Path(__file__).resolve().parent
DEMO = HERE.parent / "demo"
spec = importlib.util.spec_from_file_location("cases", HERE.parent / "model" / "make.py")
cases = importlib.util.module_from_spec(spec)
spec.loader.exec_module(cases)
PROMPTS = ["func (r *Reader) Read(p []byte) ", "In the beginning ", "if err != nil {\n\treturn "]


def load(adapter, merged=False):
    model = AutoModelForCausalLM.from_pretrained(DEMO / "base-nf4", device_map={"": "cpu"})
    for module in model.modules():
        if isinstance(module, bitsandbytes.nn.Linear4bit):
            module.compute_dtype = torch.float32
        else:
            for p in module.parameters(recurse=False):
                p.data = p.data.float()
    if adapter:
        model = PeftModel.from_pretrained(model, DEMO / adapter)
    model.train()  # no dropout; see ../demo/README.md
    return model.merge_and_unload().train() if merged else model


def demo():
    texts = {}
    for name, adapter, merged in (("", None, False), ("adapter-gocode", "adapter-gocode", False), ("adapter-gocode-light", "adapter-gocode-light", False),
                                  ("merged adapter-gocode", "adapter-gocode", True), ("merged adapter-gocode-light", "adapter-gocode-light", True)):
        model = load(adapter, merged)
        rows = []
        for prompt in PROMPTS:
            ids = torch.tensor([[0, *prompt.encode()]])
            out = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=60, do_sample=False, use_cache=True,
                                 eos_token_id=None, pad_token_id=0)
            rows.append(out[0, ids.shape[1]:].tolist())
        texts[name] = rows
        print(name, [bytes(r).decode("utf-8", "replace") for r in rows])
    return texts


def architectures():
    """The cases of ../model/make.py: 20 tokens behind the first 9, or up to token 1."""
    texts = {}
    with safe_open(HERE.parent / "model" / "cases.safetensors", "pt") as f:
        for case, (kind, extra) in cases.CASES.items():
            weights = case.split("-")[0]
            if case != weights:
                extra = {**{k: v for k, v in cases.CASES[weights][1].items() if k in ("attention_bias", "mlp_bias", "tie_word_embeddings")}, **extra}
            ids = f.get_tensor(case + ".tokens")[:9].long()[None]
            for _ in range(20):  # a fresh model each time: frequencies that depend on the length stay in it
                model, _ = cases.build(kind, extra)
                cases.randomize(model, 7 + sum(map(ord, weights)))
                ids = torch.cat([ids, model(ids).logits[:, -1].argmax(-1, keepdim=True)], 1)
                if ids[0, -1] == 1:
                    break
            texts[case] = ids[0, 9:].tolist()
            print(case, texts[case])
    return texts


def warped():
    gen = torch.Generator().manual_seed(5)
    rows = []
    for t, k, p in [(1.0, 0, 1.0), (0.7, 5, 1.0), (1.3, 0, 0.9), (0.5, 10, 0.5), (2.0, 3, 0.99), (1.0, 1, 1.0), (0.9, 100, 0.01)]:
        logits = 3 * torch.randn(40, generator=gen)
        left = LogitsProcessorList([TemperatureLogitsWarper(t)] + ([TopKLogitsWarper(k)] if k else []) + ([TopPLogitsWarper(p)] if p < 1 else []))(None, logits[None].clone())[0]
        rows.append({"temperature": t, "top_k": k, "top_p": p, "logits": logits.tolist(), "probabilities": left.double().softmax(0).tolist()})
    return rows


if __name__ == "__main__":
    torch.set_num_threads(1)
    with torch.no_grad():
        result = {"prompts": PROMPTS, "demo": demo(), "architectures": architectures(), "warped": warped()}
    (HERE / "texts.json").write_text(json.dumps(result) + "\n")
