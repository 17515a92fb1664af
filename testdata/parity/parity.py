#!/usr/bin/env python3
"""Draws random merges, runs real PEFT + bitsandbytes and mergescope side by side, and compares the files.

Usage: python parity.py --bin PATH [--cases 300] [--seed 1] [--only N] [--keep DIR] [--logits 20] [--tuners 0.5]

One line per case; exit code 1 if any difference is unexplained. README.md says what counts as explained.
"""
from __future__ import annotations

import importlib.util
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ENV = {"PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "TORCHDYNAMO_DISABLE": "1", "HF_HUB_OFFLINE": "1",
       "CUDA_VISIBLE_DEVICES": "", "TRANSFORMERS_VERBOSITY": "error", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "TQDM_DISABLE": "1"}
if __name__ == "__main__" and any(os.environ.get(k) != v for k, v in ENV.items()):
    os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **ENV})

import argparse
import json
import math
import shutil
import struct
import subprocess
import tempfile
import traceback
import warnings
from collections import Counter
from pathlib import Path
from typing import Any, Callable

import numpy as np

spec = importlib.util.spec_from_file_location("tuners", os.path.join(HERE, "..", "golden-tuners", "make.py"))
tuners = importlib.util.module_from_spec(spec)
sys.modules["tuners"] = tuners
spec.loader.exec_module(tuners)
golden = tuners.golden

import torch

F = golden.F
LINEAR = {"llama": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
          "gpt2": ["c_attn", "c_proj", "c_fc"], "bert": ["query", "key", "value", "dense"], "mixtral": ["q_proj", "k_proj", "v_proj", "o_proj"]}
EXPECTED_ERRORS = (ValueError, RuntimeError, AttributeError, KeyError, TypeError, NotImplementedError)


# ------------------------------------------------------------------------------------------- drawing a case


def draw_base(rng: np.random.Generator) -> tuple[str, golden.Base]:
    arch = str(rng.choice(["llama", "llama", "llama", "gpt2", "bert", "mixtral"]))
    kind = str(rng.choice(["nf4", "nf4", "nf4-dq", "nf4-dq", "fp4", "fp4-dq", "int8", "int8", "float"]))
    dtype = [torch.bfloat16, torch.bfloat16, torch.float16, torch.float32][rng.integers(4)]
    width = int(rng.choice([64, 64, 96, 128, 160]))
    if arch == "llama":
        extra: dict[str, Any] = dict(hidden_size=width, intermediate_size=int(rng.choice([64, 72, 128, 192])), num_hidden_layers=int(rng.integers(1, 4)))
        if rng.random() < 0.3:
            extra |= golden.BIAS
        if rng.random() < 0.2:
            extra["tie_word_embeddings"] = True
        config = golden.llama(**extra)
    else:
        config = {"gpt2": golden.gpt2(width if width % 4 == 0 else 64), "bert": golden.bert, "mixtral": golden.mixtral}[arch]
    quant = None
    if kind == "int8":
        quant = dict(golden.INT8)
    elif kind != "float":
        quant = golden.nf4(bnb_4bit_quant_type=kind[:3], bnb_4bit_use_double_quant=kind.endswith("dq"), bnb_4bit_compute_dtype=dtype)
        if rng.random() < 0.15:
            quant["bnb_4bit_quant_storage"] = torch.bfloat16
    if quant is not None and arch == "bert":
        quant["llm_int8_skip_modules"] = ["classifier"]
    auto = "AutoModelForSequenceClassification" if arch == "bert" else "AutoModelForCausalLM"
    blocksize = int(rng.choice([64, 64, 64, 32, 128, 256])) if quant and "load_in_4bit" in quant and "bnb_4bit_quant_storage" not in quant else 64
    if arch == "gpt2":
        blocksize = 64  # golden's rebuilding of other blocksizes does not know Conv1D
    shard = "40KB" if rng.random() < 0.15 else None
    return f"{arch}-{kind}", golden.Base(config, quant, dtype, auto, blocksize, shard, seed=f"parity{rng.integers(1 << 30)}")


def draw_lora(rng: np.random.Generator, arch: str, targets: list[str], biased: bool) -> dict[str, Any]:
    r = int(rng.choice([1, 2, 3, 4, 8, 12, 16]))
    kw: dict[str, Any] = dict(r=r, lora_alpha=float(rng.choice([1, 4, 8, 16, 0.7, -3, r])), target_modules=targets)
    if rng.random() < 0.25:
        kw["use_rslora"] = True
    if rng.random() < 0.2 and arch != "mixtral":
        kw["use_dora"] = True
    elif rng.random() < 0.15 and biased:
        kw["lora_bias"] = True
    if rng.random() < 0.2:
        kw["rank_pattern"] = {str(rng.choice(targets)): max(1, r // 2)}
    if rng.random() < 0.2:
        kw["alpha_pattern"] = {rf".*\.{rng.integers(2)}\..*{rng.choice(targets)}": 5, str(rng.choice(targets)): 2}
    if arch == "gpt2":
        kw["fan_in_fan_out"] = True
    return kw


# Of each tuner: its configuration by (rng, width), and whether LAPACK, a Fourier transform or a vector exponential has the last bits.
Rng = np.random.Generator
TUNERS: dict[str, tuple[Callable[[Rng], dict[str, Any]], bool]] = {
    "Hira": (lambda g: dict(r=pick(g, 1, 4, 8)), False),
    "Vera": (lambda g: dict(r=pick(g, 1, 4, 16)), False),
    "Pvera": (lambda g: dict(r=pick(g, 2, 4)), False),
    "RandLora": (lambda g: dict(r=pick(g, 8, 16, 32), randlora_alpha=pick(g, 3, 20)), False),
    "Road": (lambda g: dict(group_size=pick(g, 8, 16), variant=pick(g, "road_1", "road_2", "road_4")), True),
    "Miss": (lambda g: dict(r=pick(g, 4, 8, 12)), False),
    "Shira": (lambda g: dict(r=pick(g, 1, 3), random_seed=int(g.integers(100))), False),
    "OFT": (lambda g: dict(oft_block_size=pick(g, 4, 8, 16)), False),
    "BOFT": (lambda g: dict(boft_block_size=pick(g, 4, 8)), True),
    "IA3": (lambda g: dict(feedforward_modules=[]), False),
    "AdaLora": (lambda g: dict(init_r=pick(g, 2, 5), lora_alpha=pick(g, 4, 12), total_step=10), False),
    "LoHa": (lambda g: dict(r=pick(g, 2, 4), alpha=pick(g, 1, 7)), False),
    "LoKr": (lambda g: dict(r=pick(g, 2, 3), alpha=pick(g, 2, 5), decompose_both=bool(g.integers(2))), False),
    "FourierFT": (lambda g: dict(n_frequency=pick(g, 10, 60), scaling=pick(g, 10.0, 50.0), random_loc_seed=int(g.integers(1000))), True),
    "WaveFT": (lambda g: dict(n_frequency=pick(g, 10, 60), scaling=pick(g, 5.0, 25.0), random_loc_seed=int(g.integers(1000)), use_idwt=bool(g.integers(2))), True),
    "Gralora": (lambda g: dict(r=pick(g, 8, 16), gralora_k=pick(g, 2, 4), hybrid_r=pick(g, 0, 2)), False),
    "VBLoRA": (lambda g: dict(r=pick(g, 2, 4), num_vectors=pick(g, 6, 20), vector_length=pick(g, 4, 8), topk=pick(g, 2, 3)), True),
    "C3A": (lambda g: dict(block_size=pick(g, 8, 16)), True),
    "HRA": (lambda g: dict(r=pick(g, 2, 4), apply_GS=bool(g.integers(2))), True),
    "Deft": (lambda g: dict(r=pick(g, 2, 4), para=bool(g.integers(2)), alpha=pick(g, None, 6)), False),
    "Peanut": (lambda g: dict(r=pick(g, 4, 16), scaling=pick(g, 0.5, 1.0)), False),
    "Supertuning": (lambda g: dict(sparsity=pick(g, 0.9, 0.99)), False),
    "Delora": (lambda g: dict(r=pick(g, 2, 4)), False),
}
WITHOUT_LAYERS = ("IA3", "Road", "Shira", "Supertuning")  # no layers_to_transform
QUANTIZED = ("Hira", "Vera", "Pvera", "Road", "Miss", "Shira", "OFT", "BOFT")  # merged into bitsandbytes layers
SUMS = ("Vera", "LoHa", "LoKr", "AdaLora", "Shira", "FourierFT", "WaveFT", "Gralora", "VBLoRA")  # can be taken off again
ALONE = ("Vera", "Pvera", "RandLora", "VBLoRA", "Hira", "Deft", "Peanut", "C3A", "HRA", "AdaLora", "Supertuning")  # not in sequence: shared projections, or no such merge
WRONG = {"Pvera": ("4",), "RandLora": ("4", "8"), "C3A": ("8",), "HRA": ("8",), "Deft": ("8",), "Peanut": ("8",), "Supertuning": ("4", "8")}  # by bits


def pick(rng: Rng, *choices: Any) -> Any:
    return choices[rng.integers(len(choices))]


def draw_tuner(n: int, rng: Rng) -> tuners.Case:
    floats = rng.random() < 0.4
    while True:
        name, base = draw_base(rng)
        if not name.startswith("gpt2") and name.endswith("float") == floats:  # Conv1D is refused for most
            break
    arch, fmt = name.split("-", 1)
    golden.BASES[f"p{n}"] = base
    bits = "" if fmt == "float" else "8" if fmt == "int8" else "4"
    kinds = list(TUNERS)
    if rng.random() < 0.7:  # what PEFT merges there, right or wrong
        kinds = [k for k in kinds if not bits or k in QUANTIZED or bits in WRONG.get(k, ())]
    kind = pick(rng, *kinds)
    config, close = TUNERS[kind][0](rng), TUNERS[kind][1]
    pool = [m for m in LINEAR[arch] if m in ("q_proj", "k_proj", "v_proj", "o_proj", "query", "key", "value")]
    targets = sorted(str(t) for t in rng.choice(pool, size=int(rng.integers(1, 3)), replace=False))
    if kind == "RandLora" and bits:
        targets = ["query" if arch == "bert" else "q_proj"]
    config["target_modules"] = targets
    if kind not in WITHOUT_LAYERS and rng.random() < 0.5:
        config["layers_to_transform"] = [0]
    case = tuners.Case(f"p{n}", f"p{n}", kind, config, safe=bool(rng.random() < 0.5), close=close)
    case.note = f"{name} {kind}"
    case.defects = bits in WRONG.get(kind, ("none",)) and bool(rng.random() < 0.8)
    if kind in SUMS and rng.random() < 0.15:
        case.unmerge = True
    elif kind not in ALONE and rng.random() < 0.15:
        case.more, case.order = [None], [str(x) for x in rng.permutation(["default", "a1"])]
    return case


def draw(n: int, seed: int, tuner_share: float) -> golden.Case | tuners.Case:
    rng = np.random.Generator(np.random.PCG64([seed, n]))
    if tuner_share and rng.random() < tuner_share:
        return draw_tuner(n, rng)
    name, base = draw_base(rng)
    arch = name.split("-")[0]
    golden.BASES[f"p{n}"] = base
    pool = LINEAR[arch]
    targets = sorted(str(t) for t in rng.choice(pool, size=int(rng.integers(1, min(4, len(pool)) + 1)), replace=False))
    biased = arch in ("gpt2", "bert") or bool(getattr(base.config(), "mlp_bias", False))
    lora = draw_lora(rng, arch, targets, biased)
    if arch == "llama" and rng.random() < 0.15:
        lora["modules_to_save"] = [str(rng.choice(["lm_head", "embed_tokens"]))]
    elif arch == "llama" and rng.random() < 0.1:
        lora["target_modules"] = targets + ["embed_tokens"]
    elif arch == "llama" and rng.random() < 0.1:
        lora["trainable_token_indices"] = {"embed_tokens": sorted(int(i) for i in rng.choice(60, 3, replace=False))}
    if biased and rng.random() < 0.2 and "lora_bias" not in lora:
        lora["bias"] = str(rng.choice(["lora_only", "all"]))
    case = golden.Case(f"p{n}", f"p{n}", name, lora, ratio=float(np.exp(rng.uniform(np.log(0.003), np.log(0.4)))), exact=bool(rng.random() < 0.6), safe=bool(rng.random() < 0.5))
    simple = not any(k in lora for k in ("use_dora", "lora_bias", "modules_to_save", "bias", "trainable_token_indices", "rank_pattern")) and "embed_tokens" not in lora["target_modules"]
    case.dtype = [None, None, None, torch.float16, torch.bfloat16][rng.integers(5)]
    roll = rng.random()
    if simple and roll < 0.15:
        case.more = [dict(lora=dict(lora), ratio=case.ratio * float(rng.uniform(0.5, 2))) for _ in range(int(rng.integers(1, 3)))]
        names = ["default"] + [f"a{i + 1}" for i in range(len(case.more))]
        case.order = [str(x) for x in rng.permutation(names)]
    elif simple and roll < 0.35:
        case.more = [dict(lora=dict(lora), ratio=case.ratio * float(rng.uniform(0.5, 2)))]
        kind = str(rng.choice(["linear", "cat", "svd", "ties", "ties_svd", "magnitude_prune", "magnitude_prune_svd"]))
        case.combine = dict(weights=[float(np.round(rng.uniform(0.2, 1.2), 2)), float(np.round(rng.uniform(-0.8, 1.2), 2))], combination_type=kind)
        if "ties" in kind or "prune" in kind:
            case.combine["density"] = float(rng.choice([0.2, 0.5, 0.8]))
        if "ties" in kind:
            case.combine["majority_sign_method"] = str(rng.choice(["total", "frequency"]))
        if "svd" in kind:
            case.combine["svd_rank"] = lora["r"]
    elif roll < 0.42:
        case.unmerge = True
    # bitsandbytes' AVX-512 kernel reads ragged layers wrongly: as it is, or mended
    case.defects = tuner_share > 0 and not case.more and not case.unmerge and rng.random() < 0.3
    if roll > 0.85 and not case.combine:
        case.load = [dict(autocast_adapter_dtype=False), dict(low_cpu_mem_usage=True)][rng.integers(2)]
    return case


# -------------------------------------------------------------------------------------------- running a case


def flags(case: golden.Case) -> list[str]:
    names = ["default"] + [f"a{i + 1}" for i in range(len(case.more))]
    order = case.order or names
    weights = dict(zip(names, (case.combine or {}).get("weights", [1] * len(names))))
    out: list[str] = []
    for n in order:
        folder = "adapter" if n == "default" else f"adapter_{n}"
        out += ["-a", f"cases/{case.name}/{folder}" + (f"={weights[n]}" if case.combine else "")]
    if case.combine:
        c = case.combine
        text = c["combination_type"] + "".join(f",{k}={c[j]}" for k, j in (("density", "density"), ("majority", "majority_sign_method"), ("rank", "svd_rank")) if j in c)
        out += ["--combine", text]
    out.append("--safe" if case.safe else "--unsafe")
    if case.unmerge:
        out.append("--round-trip")
    if case.load.get("autocast_adapter_dtype") is False:
        out += ["--lora-dtype", "file"]
    if case.load.get("low_cpu_mem_usage"):
        out += ["--lora-dtype", "compute"]
    if case.defects:
        out.append("--reproduce-defects")
    return out


def make(case: golden.Case) -> dict[str, Any]:
    """Base, adapters and PEFT's result under cases/NAME; the error text if PEFT failed."""
    golden.make_base(case.base, golden.BASES[case.base])
    folder = Path("cases") / case.name
    folder.mkdir(parents=True)
    info: dict[str, Any] = {"error": None, "create": None}
    try:
        make_adapters(case, folder)
    except EXPECTED_ERRORS as e:
        info["create"] = f"{type(e).__name__}: {e}"
        return info
    real = F.dequantize_4bit
    try:
        if not case.defects:
            F.dequantize_4bit = golden.flat_dequantize  # the native AVX-512 kernel reads wrong scales of ragged layers
        golden.merge(case, folder, f"{folder}/expected", info, aux := {})
        info["aux"] = aux
    except EXPECTED_ERRORS as e:
        info["error"] = f"{type(e).__name__}: {e}"
    finally:
        F.dequantize_4bit = real
    return info


def make_adapters(case: golden.Case | tuners.Case, folder: Path) -> None:
    if isinstance(case, tuners.Case):
        for i in range(len(case.more) + 1):
            tuners.make_adapter(case, folder / ("adapter" if i == 0 else f"adapter_a{i}"), f"{golden.BASES[case.base].seed}/{i}")
        return
    first = dict(lora=case.lora, ratio=case.ratio, exact=case.exact, dtype=case.dtype, edit=None, edit_config=None, zero_b=False)
    for i, s in enumerate([first, *({**first, **m} for m in case.more)]):
        golden.make_adapter(case, s, folder / ("adapter" if i == 0 else f"adapter_a{i}"), f"{case.name}/{i}")


def raw(folder: Path) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    out = {}
    for f in sorted(folder.glob("*.safetensors")):
        b = f.read_bytes()
        n = struct.unpack("<Q", b[:8])[0]
        for k, v in json.loads(b[8:8 + n]).items():
            if k != "__metadata__":
                out[k] = v["dtype"], tuple(v["shape"]), b[8 + n + v["data_offsets"][0]:8 + n + v["data_offsets"][1]]
    return out


def ulps(a: np.ndarray, b: np.ndarray) -> int:
    x, y = (v.view(np.int32).astype(np.int64) for v in (a, b))
    return int(np.abs(x - y).max(initial=0))


WIDE = {"F32": np.float32, "F16": np.float16, "BF16": np.uint16}


def floats(dtype: str, b: bytes) -> np.ndarray:
    x = np.frombuffer(b, WIDE[dtype])
    return (x.astype(np.uint32) << 16).view(np.float32) if dtype == "BF16" else x.astype(np.float32)


def near(dtype: str, b0: bytes, b1: bytes) -> str:
    """Why two tensors differ by more than last bits; "" if they do not."""
    x, y = np.frombuffer(b0, np.uint8), np.frombuffer(b1, np.uint8)
    if dtype not in WIDE:
        n = int((x != y).sum())
        return "" if n <= 1 + len(x) / 1000 else f"{n} of {len(x)} bytes differ"
    x, y = floats(dtype, b0), floats(dtype, b1)
    step = {"F32": 0, "F16": 2.0**-10, "BF16": 2.0**-7}[dtype]
    worst = float((np.abs(x - y) - step * np.abs(x)).max(initial=0))
    return "" if worst <= 1e-5 * np.abs(x).max(initial=0) else f"differs by {worst:.3g} of {np.abs(x).max():.3g}"


def compare(case: golden.Case, want: dict, got: dict) -> tuple[list[str], list[str]]:
    """(explained, unexplained) differences."""
    fine, bad = [], []
    if missing := sorted(set(want) - set(got)):
        bad.append(f"missing {missing[:3]}")
    if extra := sorted(set(got) - set(want)):
        bad.append(f"extra {extra[:3]}")
    # LAPACK's last bits are not reproducible; everything else is compared to the bit
    loose = (case.combine or {}).get("combination_type", "") in ("svd", "ties_svd", "magnitude_prune_svd")
    for k in sorted(set(want) & set(got)):
        (d0, s0, b0), (d1, s1, b1) = want[k], got[k]
        if (d0, s0) != (d1, s1) and "quant_state" not in k:
            bad.append(f"{k}: {d0}{s0} != {d1}{s1}")
        elif b0 == b1:
            continue
        elif getattr(case, "close", False) and ".quant_state." not in k:
            why = near(d0, b0, b1)
            (bad if why else fine).append(f"{k}: {why or 'last bits'}")
        elif ".quant_state." in k:
            j0, j1 = json.loads(b0), json.loads(b1)
            o0, o1 = (np.array([j.pop("nested_offset", 0)], np.float32) for j in (j0, j1))
            (fine if j0 == j1 and ulps(o0, o1) <= (256 if loose or getattr(case, "close", False) else 0) else bad).append(f"{k}: {j0} {o0} != {j1} {o1}")
        elif k.endswith("nested_absmax"):
            u = ulps(np.frombuffer(b0, np.float32), np.frombuffer(b1, np.float32))
            (fine if u <= (4096 if loose else 0) else bad).append(f"{k}: {u} ulp")
        else:
            if loose and d0 == "F32":
                why = near(d0, b0, b1)
                (bad if why else fine).append(f"{k}: {why or 'last bits'}")
                continue
            x, y = np.frombuffer(b0, np.uint8), np.frombuffer(b1, np.uint8)
            share = float((x != y).mean())
            (fine if loose and share <= 2e-2 else bad).append(f"{k}: {share:.2e} of {len(x)} bytes differ")
    return fine, bad


def run(case: golden.Case, binary: str) -> tuple[str, list[str], list[str]]:
    info = make(case)
    if info["create"]:
        return "not creatable", [], []
    out = Path("cases") / case.name / "got"
    p = subprocess.run([binary, "merge", f"bases/{case.base}", *flags(case), "-o", str(out), "--progress", "none"], capture_output=True, text=True)
    if isinstance(case, tuners.Case) and not case.defects and not info["error"] and is_wrong(case):
        return "refused, PEFT wrong", [], [] if p.returncode == 1 else [f"merged although PEFT's merge is wrong: exit {p.returncode}"]
    if info["error"]:
        if "meta tensor" in info["error"]:
            return "PEFT fails", [], []  # low_cpu_mem_usage cannot load this model at all
        ok = p.returncode in (1, 3, 5)
        return "both refuse", [], [] if ok else [f"PEFT: {info['error'][:200]}; mergescope exit {p.returncode}: {p.stderr[-300:]}"]
    if p.returncode not in (0, 3):
        return "failed", [], [f"exit {p.returncode}: {p.stderr[-500:]}"]
    fine, bad = compare(case, raw(Path("cases") / case.name / "expected"), raw(out))
    return "equal" if not fine and not bad else "explained" if not bad else "DIFFERS", fine, bad


def is_wrong(case: tuners.Case) -> bool:
    """PEFT merges it without a word, and wrongly. Packed bytes stored as floats are floats to tuners that know no bitsandbytes."""
    q = golden.BASES[case.base].quant or {}
    bits = "8" if "load_in_8bit" in q else "4" if "load_in_4bit" in q else ""
    return bits in WRONG.get(case.kind, ("none",)) or "bnb_4bit_quant_storage" in q and case.kind not in QUANTIZED


def undecodable(case: golden.Case | tuners.Case) -> bool:
    """PEFT leaves floats under a 4-bit quant state: the file loads, but no forward pass runs."""
    return isinstance(case, tuners.Case) and case.kind in ("Pvera", "RandLora") and case.defects and "load_in_4bit" in (golden.BASES[case.base].quant or {})


def logits(case: golden.Case) -> str | None:
    """Both results load in transformers and give the same logits; None if they do."""
    auto = getattr(golden.tf, golden.BASES[case.base].auto)
    ids = torch.arange(1, 25)[None] % 60
    res = []
    for d in ("expected", "got"):
        m = auto.from_pretrained(f"cases/{case.name}/{d}", device_map="cpu").train()
        torch.manual_seed(0)  # the same dropout masks: 4-bit models stay in train mode on CPU
        with torch.no_grad():
            res.append(m(input_ids=ids).logits.float())
    diff = (res[0] - res[1]).abs().max().item()
    return None if diff == 0 or math.isnan(diff) and torch.equal(res[0].isnan(), res[1].isnan()) else f"logits differ by {diff:.3g}"


def main() -> int:
    ap = argparse.ArgumentParser()
    ap.add_argument("--bin", required=True)
    ap.add_argument("--cases", type=int, default=300)
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--only", type=int)
    ap.add_argument("--keep", help="work in this folder and keep it")
    ap.add_argument("--tuners", type=float, default=0.5, help="share of the cases that are of other tuners than LoRA; 0 draws what seeds drew before there were any")
    ap.add_argument("--logits", type=int, default=20, help="load this many results in transformers")
    a = ap.parse_args()
    binary = os.path.abspath(a.bin)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    work = a.keep or tempfile.mkdtemp(prefix="parity")
    os.makedirs(work, exist_ok=True)
    os.chdir(work)
    tally: Counter[str] = Counter()
    failed, loads, load_bad = [], 0, 0
    for n in [a.only] if a.only is not None else range(a.cases):
        case = draw(n, a.seed, a.tuners)
        try:
            verdict, fine, bad = run(case, binary)
        except Exception:  # a harness fault is a finding, not a crash of the run
            verdict, fine, bad = "harness", [], [traceback.format_exc(limit=-2)]
        if verdict in ("equal", "explained") and not undecodable(case) and loads < a.logits:
            loads += 1
            try:
                if (why := logits(case)) and verdict == "equal":
                    bad, load_bad = bad + [why], load_bad + 1
            except Exception as e:
                bad, load_bad = bad + [f"does not load: {e}"[:300]], load_bad + 1
        tally[verdict] += 1
        print(f"{n:4d} {case.note:24s} {verdict:13s} {' '.join(flags(case))}", *(f"\n       {x}" for x in (bad or fine[:1])), flush=True)
        failed += [n] if bad else []
        if not a.keep or not bad:
            shutil.rmtree(f"cases/{case.name}", ignore_errors=True)
            shutil.rmtree(f"bases/{case.base}", ignore_errors=True)
    print(f"\n{sum(tally.values())} cases: {dict(tally)}; loaded in transformers: {loads - load_bad} of {loads}; with unexplained differences: {failed or 'none'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
