#!/usr/bin/env python3
"""Makes every output form with mergescope, loads it with transformers, and compares it with the same mixture built by hand.

Usage: python forms.py --bin PATH [--demo DIR] [--only TEXT] [--markdown]

One line per case; exit code 1 if a logit or a layer's class differs. README.md says more.
"""
from __future__ import annotations

import os
import sys

ENV = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "TORCHDYNAMO_DISABLE": "1", "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "",
       "TRANSFORMERS_VERBOSITY": "error", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "TQDM_DISABLE": "1"}
if __name__ == "__main__" and any(os.environ.get(k) != v for k, v in ENV.items()):
    os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **ENV})

import argparse
import fnmatch
import json
import subprocess
import tempfile
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import bitsandbytes as bnb
import torch
import transformers
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from torch import nn

warnings.filterwarnings("ignore")
HERE = Path(__file__).resolve().parent
GOLDEN = HERE.parent / "golden"
FLOATS = {"bf16": torch.bfloat16, "f16": torch.float16, "f32": torch.float32}
QUANTIZE = {
    "nf4": dict(load_in_4bit=True, bnb_4bit_quant_type="nf4"),
    "nf4,double": dict(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True),
    "fp4": dict(load_in_4bit=True, bnb_4bit_quant_type="fp4"),
    "fp4,double": dict(load_in_4bit=True, bnb_4bit_quant_type="fp4", bnb_4bit_use_double_quant=True),
    "int8": dict(load_in_8bit=True),
}


@dataclass
class Case:
    """One merge: forms are (glob on the module path, output form), later ones win."""

    name: str
    base: Path
    adapter: Path
    forms: list[tuple[str, str]] = field(default_factory=list)
    onto: Path | None = None
    quantize: str = ""
    auto: str = "AutoModelForCausalLM"

    def form(self, module: str) -> str:
        form = "same"
        for glob, f in self.forms:
            if fnmatch.fnmatchcase(module, glob):
                form = f
        return form


MIXTURES = {
    "same": [],
    "bf16": [("*", "bf16")],
    "f16": [("*", "f16")],
    "f32": [("*", "f32")],
    "bf16 in one layer": [("*.0.*", "bf16")],
    "bf16, one kind": [("*q_proj", "bf16"), ("*query", "bf16"), ("*c_attn", "bf16")],
    "f32 in one layer": [("*.0.*", "f32")],
    "keep": [("*.0.*", "keep")],
    "separate": [("*.0.*", "separate")],
    "separate, all": [("*", "separate")],
    "all at once": [("*.0.*q_proj", "bf16"), ("*.0.*v_proj", "keep"), ("*.1.*q_proj", "separate")],
}


def cases(demo: Path | None) -> list[Case]:
    def golden(name: str) -> tuple[Path, Path, str]:
        text = json.loads((GOLDEN / "cases" / name / "case.json").read_text())
        return GOLDEN / text["base"], GOLDEN / "cases" / name / "adapter", text["auto_class"]

    out = []
    for name in ["nf4-plain", "nf4-dq", "fp4", "fp4-dq", "int8", "shards", "tied-nf4", "nf4-f16", "nf4-f32", "nf4-storage-bf16", "bert-int8",
                 "lmhead-quantized", "gpt2-nf4", "gpt2-int8", "mixtral-nf4"]:
        base, adapter, auto = golden(name)
        out += [Case(f"{name}: {m}", base, adapter, forms, auto=auto) for m, forms in MIXTURES.items()]
    bf16 = GOLDEN / "bases" / "llama-bf16"
    for name in ["nf4-plain", "int8"]:
        base, adapter, _ = golden(name)
        for q in ["", *QUANTIZE]:
            out.append(Case(f"{name}: onto {q or '16-bit'}", base, adapter, [], bf16, q))
        out.append(Case(f"{name}: onto nf4, mixture", base, adapter, [("*.0.*q_proj", "bf16"), ("*.1.*v_proj", "keep")], bf16, "nf4"))
        out.append(Case(f"{name}: onto int8, mixture", base, adapter, [("*.0.*", "bf16")], bf16, "int8"))
        out.append(Case(f"{name}: onto nf4, separate", base, adapter, [("*.0.*", "separate")], bf16, "nf4"))
    if demo:
        for kind in ["nf4", "int8"]:
            adapter = demo / "adapter-gocode"
            out += [Case(f"demo {kind}: {m}", demo / f"base-{kind}", adapter, forms) for m, forms in MIXTURES.items()]
        for q in ["", *QUANTIZE]:
            out.append(Case(f"demo nf4: onto {q or '16-bit'}", demo / "base-nf4", demo / "adapter-gocode", [], demo / "base-bf16", q))
    return out


# -------------------------------------------------------------------------------------------------- by hand


def plain(module: nn.Module) -> torch.Tensor:
    """The weight as PEFT's merge reads it, float32."""
    w = module.weight
    if isinstance(module, bnb.nn.Linear4bit):
        q = w.quant_state  # not dequantize_4bit: its AVX-512 kernel reads wrong scales where blocks straddle rows
        absmax = q.absmax
        if q.nested:
            absmax = bnb.functional.dequantize_blockwise(absmax, q.state2) + q.offset
        packed = w.data.reshape(-1).view(torch.uint8)
        codes = torch.stack([packed >> 4, packed & 15], 1).reshape(-1)[: q.shape.numel()]
        scales = absmax.float().repeat_interleave(q.blocksize)[: codes.numel()]
        return (q.code[codes.long()] * scales).reshape(q.shape).to(q.dtype).float()
    if isinstance(module, bnb.nn.Linear8bitLt):
        scb = w.SCB if w.SCB is not None else module.state.SCB
        return bnb.functional.int8_vectorwise_dequant(w.data, scb).float()
    return w.data.float()


def float_linear(module: nn.Module, weight: torch.Tensor, stored: torch.dtype, loaded: torch.dtype, conv1d: bool) -> nn.Module:
    """A linear layer with the weight as the file stores it."""
    if conv1d:
        lin = transformers.pytorch_utils.Conv1D(*weight.shape)
        lin.weight.data, lin.bias.data = weight.to(stored).T.contiguous(), module.bias.data.to(loaded)
        return lin
    lin = nn.Linear(weight.shape[1], weight.shape[0], bias=module.bias is not None, dtype=loaded)
    lin.weight.data = weight.to(stored)
    if module.bias is not None:
        lin.bias.data = module.bias.data.to(loaded)
    return lin


QUANTIZED = (bnb.nn.Linear4bit, bnb.nn.Linear8bitLt)


def by_hand(case: Case, dtype: torch.dtype | None) -> nn.Module:
    """The mixture, put together layer by layer with PEFT and bitsandbytes."""
    auto = getattr(transformers, case.auto)
    base = auto.from_pretrained(case.base, **({"dtype": dtype} if dtype else {}))
    loaded = next(p.dtype for p in base.parameters() if p.is_floating_point())
    model = PeftModel.from_pretrained(base, case.adapter)
    inner = model.base_model.model
    for name, module in list(inner.named_modules()):
        lora = isinstance(module, LoraLayer)
        core = module.base_layer if lora else module
        if name.endswith(".base_layer") or not lora and not isinstance(core, QUANTIZED):
            continue
        form = case.form(name)
        if not isinstance(core, QUANTIZED) and form in FLOATS:
            form = "same"  # forms concern quantized weights
        if form in FLOATS:
            w = plain(core)
            if lora:
                w = w + module.get_delta_weight("default").float()
            new = float_linear(core, w, FLOATS[form], loaded, base.config.model_type == "gpt2" and name != "lm_head")
        elif not lora or form == "separate":
            continue
        else:
            if form == "same":
                module.merge(safe_merge=True)
            new = module.base_layer
        inner.set_submodule(name, new)
    if dtype and not any(isinstance(m, QUANTIZED) for m in inner.modules()):
        for p in inner.parameters():
            p.data = p.data.to(dtype)  # an ordinary model is loaded in the dtype its configuration names
    return inner.eval()


def by_hand_onto(case: Case) -> nn.Module:
    """The original, merged by PEFT and quantized by transformers."""
    base = transformers.AutoModelForCausalLM.from_pretrained(case.onto)
    model = PeftModel.from_pretrained(base, case.adapter)
    inner = model.base_model.model
    separate, skip = {}, ["lm_head"]
    for name, module in list(inner.named_modules()):
        if isinstance(module, nn.Linear) and case.form(name) in FLOATS and ".lora_" not in name and not name.endswith(".base_layer"):
            skip.append(name)
        if not isinstance(module, LoraLayer):
            continue
        form = case.form(name)
        if form in FLOATS:
            skip.append(name)
        if form == "separate":
            separate[name] = {k: v.clone() for k, v in module.state_dict().items() if "lora_" in k}
        elif form != "keep":
            module.merge(safe_merge=True)
        inner.set_submodule(name, module.base_layer)
    if case.quantize:
        with tempfile.TemporaryDirectory() as tmp:
            inner.save_pretrained(tmp)
            config = dict(QUANTIZE[case.quantize], llm_int8_skip_modules=skip)
            if case.quantize != "int8":
                config["bnb_4bit_compute_dtype"] = compute_dtype(case.base)
            inner = transformers.AutoModelForCausalLM.from_pretrained(tmp, quantization_config=transformers.BitsAndBytesConfig(**config))
    if separate:
        inner = PeftModel.from_pretrained(inner, case.adapter).base_model.model
        for name, module in list(inner.named_modules()):
            if isinstance(module, LoraLayer) and name not in separate:
                inner.set_submodule(name, module.base_layer)
    return inner.eval()


def compute_dtype(base: Path) -> torch.dtype:
    q = json.loads((base / "config.json").read_text()).get("quantization_config", {})
    return getattr(torch, q.get("bnb_4bit_compute_dtype", "float32"))


# ------------------------------------------------------------------------------------------------ by program


def merge(case: Case, binary: str, out: Path) -> None:
    plan = {"version": 1, "model": str(case.base), "adapters": {"default": {"path": str(case.adapter)}},
            "rules": [{"match": "*", "adapter": "default"}, *({"match": g, "output": f} for g, f in case.forms)]}
    if case.onto:
        plan |= {"onto": str(case.onto)} | ({"quantize": case.quantize} if case.quantize else {})
    file = out.parent / "plan.json"
    file.write_text(json.dumps(plan))
    done = subprocess.run([binary, "merge", str(case.base), "--plan", str(file), "-o", str(out)], capture_output=True, text=True)
    if done.returncode not in (0, 3):
        raise RuntimeError(done.stderr.strip().splitlines()[0])


def load(case: Case, out: Path) -> tuple[nn.Module, torch.dtype | None]:
    model, info = getattr(transformers, case.auto).from_pretrained(out, output_loading_info=True)
    bad = {k: v for k, v in info.items() if v and k in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs")}
    if bad:
        raise RuntimeError(f"loading: {bad}")
    dtype = next(p.dtype for p in model.parameters() if p.is_floating_point())
    if (out / "adapter").is_dir():
        model = PeftModel.from_pretrained(model, out / "adapter").base_model.model
    return model.eval(), dtype


def classes(model: nn.Module) -> dict[str, str]:
    out = {}
    for name, module in model.named_modules():
        if isinstance(module, (nn.Linear, transformers.pytorch_utils.Conv1D)) and ".lora_" not in name:
            kind = next((c.__name__ for c in (bnb.nn.Linear4bit, bnb.nn.Linear8bitLt) if isinstance(module, c)), "float")
            out[name.removesuffix(".base_layer")] = kind
    return out


@torch.no_grad()
def compare(case: Case, binary: str) -> tuple[str, str]:
    with tempfile.TemporaryDirectory() as tmp:
        out = Path(tmp) / "out"
        try:
            merge(case, binary, out)
        except RuntimeError as e:
            return "refused", str(e)
        mine, dtype = load(case, out)
        hand = by_hand_onto(case) if case.onto else by_hand(case, dtype)
        a, b = classes(mine), classes(hand)
        if a != b:
            odd = sorted(k for k in a.keys() | b.keys() if a.get(k) != b.get(k))
            return "classes differ", f"{odd[0]}: {a.get(odd[0])}, by hand {b.get(odd[0])}"
        kinds = {k: list(a.values()).count(k) for k in sorted(set(a.values()))}
        report = json.loads((out / "mergescope-report.json").read_text())
        warned = any(a["code"] == "mixed-dtypes" for a in report["alerts"])
        ids = torch.randint(0, mine.config.vocab_size, (2, 24), generator=torch.Generator().manual_seed(1))
        what = ", ".join(f"{n} {k}" for k, n in kinds.items())
        try:
            x = mine(input_ids=ids).logits.float()
        except RuntimeError as e:
            return ("warned" if warned else "does not run"), f"{what}; {str(e)[:60]}"
        y = hand(input_ids=ids).logits.float()
        if not bool(torch.isfinite(x).all()):
            return "not finite", what
        diff = float((x - y).abs().max())
        return ("equal" if diff == 0 else "differ"), f"{what}" if diff == 0 else f"{what}; by {diff:.3g} of {float(y.abs().max()):.3g}"


def main() -> int:
    p = argparse.ArgumentParser()
    p.add_argument("--bin", required=True)
    p.add_argument("--demo", type=Path, default=HERE.parent / "demo")
    p.add_argument("--only", default="")
    p.add_argument("--markdown", action="store_true")
    args = p.parse_args()
    torch.set_num_threads(1)
    bad, table = 0, {}
    for case in cases(args.demo):
        if args.only not in case.name or not case.base.is_dir() or case.onto and not case.onto.is_dir():
            continue
        try:
            verdict, what = compare(case, args.bin)
        except Exception as e:  # a case that fails must not hide the others
            verdict, what = "failed", f"{type(e).__name__}: {str(e).splitlines()[0] if str(e) else ''}"
        bad += verdict not in ("equal", "refused", "warned")
        print(f"{case.name:40} {verdict:8} {what}", file=sys.stderr if args.markdown else sys.stdout, flush=True)
        base, form = case.name.split(": ", 1)
        table.setdefault(form, {}).setdefault(verdict, []).append(base)
    if args.markdown:
        print("| form | logits equal | warned, cannot run |\n|---|---|---|")
        for form, verdicts in table.items():
            rest = "".join(f"; {v}: {', '.join(b)}" for v, b in verdicts.items() if v not in ("equal", "warned"))
            print(f"| {form} | {len(verdicts.get('equal', []))}: {', '.join(verdicts.get('equal', []))}{rest} | {', '.join(verdicts.get('warned', []))} |")
    print(f"{bad} unexplained", file=sys.stderr)
    return bad > 0


if __name__ == "__main__":
    sys.exit(main())
