#!/usr/bin/env python3
"""Draws random merges, runs real PEFT + bitsandbytes and mergescope side by side, and compares the files.

Usage: python parity.py --bin PATH [--cases 300] [--seed 1] [--only N] [--keep DIR] [--logits 20]

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
from typing import Any

import numpy as np

spec = importlib.util.spec_from_file_location("golden", os.path.join(HERE, "..", "golden", "make.py"))
golden = importlib.util.module_from_spec(spec)
sys.modules["golden"] = golden
spec.loader.exec_module(golden)

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


def draw(n: int, seed: int) -> golden.Case:
    rng = np.random.Generator(np.random.PCG64([seed, n]))
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
    return out


def make(case: golden.Case) -> dict[str, Any]:
    """Base, adapters and PEFT's result under cases/NAME; the error text if PEFT failed."""
    golden.make_base(case.base, golden.BASES[case.base])
    folder = Path("cases") / case.name
    folder.mkdir(parents=True)
    first = dict(lora=case.lora, ratio=case.ratio, exact=case.exact, dtype=case.dtype, edit=None, edit_config=None, zero_b=False)
    info: dict[str, Any] = {"error": None, "create": None}
    try:
        for i, s in enumerate([first, *({**first, **m} for m in case.more)]):
            golden.make_adapter(case, s, folder / ("adapter" if i == 0 else f"adapter_a{i}"), f"{case.name}/{i}")
    except EXPECTED_ERRORS as e:
        info["create"] = f"{type(e).__name__}: {e}"
        return info
    real = F.dequantize_4bit
    try:
        F.dequantize_4bit = golden.flat_dequantize  # the native AVX-512 kernel reads wrong scales of ragged layers
        golden.merge(case, folder, f"{folder}/expected", info, aux := {})
        info["aux"] = aux
    except EXPECTED_ERRORS as e:
        info["error"] = f"{type(e).__name__}: {e}"
    finally:
        F.dequantize_4bit = real
    return info


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
        elif ".quant_state." in k:
            j0, j1 = json.loads(b0), json.loads(b1)
            o0, o1 = (np.array([j.pop("nested_offset", 0)], np.float32) for j in (j0, j1))
            (fine if j0 == j1 and ulps(o0, o1) <= (256 if loose else 0) else bad).append(f"{k}: {j0} {o0} != {j1} {o1}")
        elif k.endswith("nested_absmax"):
            u = ulps(np.frombuffer(b0, np.float32), np.frombuffer(b1, np.float32))
            (fine if u <= (4096 if loose else 0) else bad).append(f"{k}: {u} ulp")
        else:
            if loose and d0 == "F32" and not np.allclose(np.frombuffer(b0, np.float32), np.frombuffer(b1, np.float32), rtol=1e-5, atol=0, equal_nan=True):
                bad.append(f"{k}: scales differ by more than 1e-5")
                continue
            x, y = np.frombuffer(b0, np.uint8), np.frombuffer(b1, np.uint8)
            if loose and d0 == "F32":
                fine.append(f"{k}: within 1e-5")
                continue
            share = float((x != y).mean())
            (fine if loose and share <= 2e-2 else bad).append(f"{k}: {share:.2e} of {len(x)} bytes differ")
    return fine, bad


def run(case: golden.Case, binary: str) -> tuple[str, list[str], list[str]]:
    info = make(case)
    if info["create"]:
        return "not creatable", [], []
    out = Path("cases") / case.name / "got"
    p = subprocess.run([binary, "merge", f"bases/{case.base}", *flags(case), "-o", str(out), "--progress", "none"], capture_output=True, text=True)
    if info["error"]:
        if "meta tensor" in info["error"]:
            return "PEFT fails", [], []  # low_cpu_mem_usage cannot load this model at all
        ok = p.returncode in (1, 3, 5)
        return "both refuse", [], [] if ok else [f"PEFT: {info['error'][:200]}; mergescope exit {p.returncode}: {p.stderr[-300:]}"]
    if p.returncode not in (0, 3):
        return "failed", [], [f"exit {p.returncode}: {p.stderr[-500:]}"]
    fine, bad = compare(case, raw(Path("cases") / case.name / "expected"), raw(out))
    return "equal" if not fine and not bad else "explained" if not bad else "DIFFERS", fine, bad


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
        case = draw(n, a.seed)
        try:
            verdict, fine, bad = run(case, binary)
        except Exception:  # a harness fault is a finding, not a crash of the run
            verdict, fine, bad = "harness", [], [traceback.format_exc(limit=-2)]
        if verdict in ("equal", "explained") and loads < a.logits:
            loads += 1
            try:
                if (why := logits(case)) and verdict == "equal":
                    bad, load_bad = bad + [why], load_bad + 1
            except Exception as e:
                bad, load_bad = bad + [f"does not load: {e}"[:300]], load_bad + 1
        tally[verdict] += 1
        print(f"{n:4d} {case.note:14s} {verdict:13s} {' '.join(flags(case))}", *(f"\n       {x}" for x in (bad or fine[:1])), flush=True)
        failed += [n] if bad else []
        if not a.keep or not bad:
            shutil.rmtree(f"cases/{case.name}", ignore_errors=True)
            shutil.rmtree(f"bases/{case.base}", ignore_errors=True)
    print(f"\n{sum(tally.values())} cases: {dict(tally)}; loaded in transformers: {loads - load_bad} of {loads}; with unexplained differences: {failed or 'none'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
