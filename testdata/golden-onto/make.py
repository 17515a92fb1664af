"""Writes expected.json: what bitsandbytes on a CPU makes of adapters merged into 16-bit originals.

Each case merges an adapter of testdata/golden with PEFT into a float base of testdata/golden, saves that, loads it again with a
BitsAndBytesConfig, saves that, and notes dtype, shape and the head of the SHA-256 of every tensor, and the quantization_config.

    python make.py        # torch 2.15, peft 0.21.2, bitsandbytes 0.50.2, transformers 5.23, one thread
"""

import hashlib
import json
import os
import pathlib
import tempfile

import bitsandbytes
import torch
from peft import PeftModel
from safetensors import safe_open
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

HERE = pathlib.Path(__file__).parent
GOLDEN = HERE.parent / "golden"

FORMS = {
    "": None,
    "nf4": dict(load_in_4bit=True, bnb_4bit_quant_type="nf4"),
    "nf4,double": dict(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True),
    "fp4": dict(load_in_4bit=True, bnb_4bit_quant_type="fp4"),
    "fp4,double": dict(load_in_4bit=True, bnb_4bit_quant_type="fp4", bnb_4bit_use_double_quant=True),
    "int8": dict(load_in_8bit=True),
}

# (original, quantized model, adapter of a golden case)
CASES = [
    ("llama-bf16", "llama-nf4", "float-bf16-safe"),
    ("llama-f16", "llama-f16", "float-f16-safe"),
    ("llama-bf16", "llama-nf4", "dora-nf4"),
    ("llama-bf16", "llama-int8", "rslora"),
]


def tensors(path):
    out = {}
    for name in sorted(os.listdir(path)):
        if name.endswith(".safetensors"):
            with safe_open(path / name, "pt") as f:
                for key in f.keys():
                    t = f.get_tensor(key).contiguous()
                    sha = hashlib.sha256(t.reshape(-1).view(torch.uint8).numpy().tobytes()).hexdigest()[:16]
                    out[key] = [str(t.dtype).removeprefix("torch."), list(t.shape), sha]
    return out


LAYER = "model.layers.0.self_attn.q_proj"


def weight(model):
    """The layer's weight as a forward pass has it, in float64; as PEFT's merge reads it for 4-bit weights."""
    w = model.get_submodule(LAYER).weight
    if w.__class__.__name__ == "Params4bit":
        q = w.quant_state  # not dequantize_4bit: its AVX-512 kernel reads wrong scales where blocks straddle rows
        absmax = q.absmax
        if q.nested:
            absmax = bitsandbytes.functional.dequantize_blockwise(absmax, q.state2) + q.offset
        packed = w.data.reshape(-1).view(torch.uint8)
        codes = torch.stack([packed >> 4, packed & 15], 1).reshape(-1)
        scales = absmax.float().repeat_interleave(q.blocksize)[: codes.numel()]
        return (q.code[codes.long()] * scales).reshape(q.shape).to(q.dtype).double()
    if w.__class__.__name__ == "Int8Params":
        state = model.get_submodule(LAYER).state
        scb = w.SCB if w.SCB is not None else state.SCB
        return bitsandbytes.functional.int8_vectorwise_dequant(w.data, scb).double()
    return w.data.double()


def figures(base, original, delta, result):
    r = result - base
    return {
        "kept": float((r * delta).sum() / (delta * delta).sum()),
        "error_rms": float((r - delta).square().mean().sqrt()),
        "base_distance": float((original - base).norm() / original.norm()),
    }


@torch.no_grad()
def main():
    torch.set_num_threads(1)
    result = []
    for original, model, case in CASES:
        base = AutoModelForCausalLM.from_pretrained(GOLDEN / "bases" / original, dtype="auto")
        quantized_base = weight(AutoModelForCausalLM.from_pretrained(GOLDEN / "bases" / model, dtype="auto"))
        unmerged = weight(base)
        merged = PeftModel.from_pretrained(base, GOLDEN / "cases" / case / "adapter")
        delta = merged.get_submodule("base_model.model." + LAYER).get_delta_weight("default").double()
        dora = bool(merged.peft_config["default"].use_dora)
        merged = merged.merge_and_unload(safe_merge=True)
        if dora:  # D is what the merge adds to its own base
            delta = None
        with tempfile.TemporaryDirectory() as floats:
            merged.save_pretrained(floats)
            for form, config in FORMS.items():
                path = pathlib.Path(floats)
                with tempfile.TemporaryDirectory() as out:
                    if config is not None:
                        if "load_in_4bit" in config:
                            config = config | dict(bnb_4bit_compute_dtype=torch.bfloat16)
                        quantized = AutoModelForCausalLM.from_pretrained(
                            floats, dtype="auto", quantization_config=BitsAndBytesConfig(**config))
                        path = pathlib.Path(out)
                        quantized.save_pretrained(path)
                        after = weight(quantized)
                    else:
                        after = weight(merged)
                    with open(path / "config.json") as f:
                        text = json.load(f)
                    result.append({"original": original, "model": model, "adapter": case, "quantize": form,
                                   "layer": LAYER, "figures": None if dora else figures(quantized_base, unmerged, delta, after),
                                   "quantization_config": text.get("quantization_config"), "tensors": tensors(path)})
    lines = ",\n".join(json.dumps(r) for r in result)
    (HERE / "expected.json").write_text(f"[\n{lines}\n]\n")


main()
