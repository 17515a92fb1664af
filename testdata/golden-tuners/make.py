#!/usr/bin/env python3
"""Regenerates the golden merges of tuners other than LoRA with the real PEFT on CPU, over the bases of ../golden.

Usage: python make.py [CASE-NAME ...]     (no argument: everything; requirements: those of ../golden/make.py)
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

import json
import shutil
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

spec = importlib.util.spec_from_file_location("golden", os.path.join(HERE, "..", "golden", "make.py"))
golden = importlib.util.module_from_spec(spec)
sys.modules["golden"] = golden
spec.loader.exec_module(golden)

import peft
import torch

SCALE = {"hira_B": 0.1, "vera_lambda_b": 0.02, "pvera_lambda_b": 0.02, "hada_w2_b": 0.05, "lokr_w1": 0.03, "lokr_w1_a": 0.05, "boft_R": 0.05,
         "oft_R": 0.03, "miss_block": 0.005, "shira_weight": 0.02, "lora_B": 0.1, "randlora_lambda": 0.02,
         "fourierft_spectrum": 0.05, "waveft_spectrum": 0.01, "gralora_A_general": 0.1, "c3a_kernel": 4.0, "delora_B": 0.2, "deft_R": 0.05, "peanut_B": 0.2, "supertuning_values": 5.0}
ONES = ("ia3_l", "boft_s", "road_alpha")  # drawn around 1


@dataclass
class Case:
    name: str
    base: str
    kind: str                                # PEFT's configuration class without "Config"
    config: dict[str, Any] = field(default_factory=dict)
    safe: bool = False
    unmerge: bool = False
    more: list[None] = field(default_factory=list)  # one entry for each further adapter, of the same configuration
    close: bool = False                      # LAPACK or SLEEF have the last bits: not exact
    edit_config: dict[str, Any] | None = None
    load: dict[str, Any] = field(default_factory=dict)
    combine: None = None
    order: list[str] | None = None
    exact: bool = True


QV = ["q_proj", "v_proj"]
MIXED = ["q_proj", "down_proj"]
BNB = ("llama-nf4", "llama-int8")
FLOAT = ("llama-bf16", "llama-f32")


def cases() -> list[Case]:
    c: list[Case] = []

    def add(name: str, base: str, kind: str, **kw: Any) -> None:
        opts = {k: kw.pop(k) for k in list(kw) if k in Case.__dataclass_fields__}
        config = {"target_modules": QV, "layers_to_transform": [0], **kw}
        if kind in ("IA3", "Road", "Shira", "Supertuning"):  # these have no layers_to_transform
            config.pop("layers_to_transform")
            config["target_modules"] = [f"model.layers.0.{p}.{m}" for p in ("self_attn", "mlp") for m in config["target_modules"]
                                        if (p == "mlp") == m.endswith("down_proj")] if base.startswith("llama") else config["target_modules"]
        c.append(Case(f"{name}-{base.removeprefix('llama-')}", base, kind, config, **opts))

    for base in (*BNB, *FLOAT):
        add("hira", base, "Hira", r=4, safe=base == "llama-bf16")
        add("vera", base, "Vera", r=4, target_modules=MIXED)
        add("road", base, "Road", group_size=16, variant="road_1", close=True)
        add("miss", base, "Miss", r=8)
        add("shira", base, "Shira", r=2, random_seed=7)
        add("oft", base, "OFT", oft_block_size=8, safe=base == "llama-f32")
        add("boft", base, "BOFT", boft_block_size=4, close=True)
        add("pvera", base, "Pvera", r=4)
        add("ia3", base, "IA3", target_modules=MIXED, feedforward_modules=["model.layers.0.mlp.down_proj"], safe=base == "llama-bf16")
        add("adalora", base, "AdaLora", init_r=5, lora_alpha=12, total_step=10)
        add("loha", base, "LoHa", r=3, alpha=7)
        add("lokr", base, "LoKr", r=3, alpha=5, target_modules=MIXED)
        add("randlora", base, "RandLora", r=16, randlora_alpha=3, target_modules=["v_proj"], safe=base == "llama-f32")
    for name, kind, kw in (("hira", "Hira", dict(r=4)), ("oft", "OFT", dict(oft_block_size=16)), ("vera", "Vera", dict(r=4))):
        add(name, "llama-nf4-dq", kind, **kw)
    add("hira", "gpt2-f32", "Hira", r=4, target_modules=["c_attn"])
    add("vera", "gpt2-f32", "Vera", r=4, target_modules=["c_attn", "c_fc"], fan_in_fan_out=True)
    add("ia3", "gpt2-f32", "IA3", target_modules=["h.0.attn.c_attn", "h.0.mlp.c_fc"], feedforward_modules=["h.0.mlp.c_fc"], fan_in_fan_out=True)
    add("adalora", "gpt2-f32", "AdaLora", init_r=3, target_modules=["c_attn"], fan_in_fan_out=True, total_step=10)
    add("vera-fan-in", "llama-f32", "Vera", r=4, target_modules=["q_proj"],
        edit_config={"fan_in_fan_out": True})  # ignored on Linear, with a warning
    add("hira-embedding", "llama-bf16", "Hira", r=2, target_modules=["embed_tokens", "k_proj"])
    add("hira-unmerge", "llama-nf4", "Hira", r=4, unmerge=True)
    add("hira-sequence", "llama-int8", "Hira", r=4, more=[None])
    add("vera-unmerge", "llama-nf4-dq", "Vera", r=4, unmerge=True)
    add("vera-fp4", "llama-fp4", "Vera", r=3)
    add("vera-not-saved", "llama-nf4", "Vera", r=3, save_projection=False)
    add("road-2", "llama-nf4", "Road", group_size=8, variant="road_2", close=True)
    add("road-4", "llama-int8", "Road", group_size=64, variant="road_4", target_modules=["q_proj", "o_proj"], close=True)
    add("road-bias", "llama-bf16-bias", "Road", group_size=16, close=True)
    add("ia3-bias", "llama-bf16-bias", "IA3", feedforward_modules=[])
    add("miss-bat", "llama-nf4", "Miss", r=8, init_weights="bat")
    add("miss-bat", "llama-bf16", "Miss", r=8, init_weights="bat")
    add("miss-mini", "llama-nf4", "Miss", r=8, mini_r=16, init_weights="mini")
    add("miss-remainder", "llama-int8", "Miss", r=12)
    add("miss-remainder", "llama-bf16", "Miss", r=12)
    add("oft-share", "llama-nf4", "OFT", oft_block_size=16, block_share=True)
    add("oft-terms", "llama-int8", "OFT", oft_block_size=4, num_cayley_neumann_terms=3)
    add("oft-solve", "llama-bf16", "OFT", oft_block_size=8, use_cayley_neumann=False, close=True)
    add("boft-safe", "llama-f16", "BOFT", boft_block_num=4, boft_block_size=0, safe=True, close=True)
    add("loha-patterns", "llama-bf16", "LoHa", r=3, alpha=7, rank_pattern={"v_proj": 2}, alpha_pattern={"v_proj": 9})
    add("lokr-both", "llama-f32", "LoKr", r=2, alpha=5, decompose_both=True, decompose_factor=8)
    for base in (*BNB, *FLOAT):
        add("fourierft", base, "FourierFT", n_frequency=40, scaling=20.0, close=True)
        add("waveft", base, "WaveFT", n_frequency=60, target_modules=MIXED, close=True)
        add("gralora", base, "Gralora", r=8, gralora_k=2, hybrid_r=2)
        add("vblora", base, "VBLoRA", r=4, num_vectors=6, vector_length=16, topk=2, close=True)
        add("c3a", base, "C3A", block_size=16, close=True)
        add("hra", base, "HRA", r=4, close=True)
        add("deft", base, "Deft", r=4, target_modules=MIXED)
        add("peanut", base, "Peanut", r=8, target_modules=MIXED)
        add("delora", base, "Delora", r=4)
        add("supertuning", base, "Supertuning", sparsity=0.98)
    add("supertuning", "llama-nf4-storage-bf16", "Supertuning", sparsity=0.98)
    add("miss-wide", "llama-bf16", "Miss", r=16, init_weights="bat")
    add("waveft-plain", "llama-bf16", "WaveFT", n_frequency=60, use_idwt=False)
    add("waveft-seed", "llama-f32", "WaveFT", n_frequency=70, random_loc_seed=5, target_modules=["lm_head", "gate_proj"], layers_to_transform=None, close=True)
    add("fourierft-safe", "llama-bf16", "FourierFT", n_frequency=30, safe=True, target_modules=MIXED, close=True)
    add("gralora-4", "llama-bf16", "Gralora", r=16, gralora_k=4, safe=True)
    add("vblora-top-3", "llama-bf16", "VBLoRA", r=3, num_vectors=9, vector_length=8, topk=3, close=True)
    add("c3a-safe", "llama-int8", "C3A", block_size=32, target_modules=MIXED, safe=True, close=True)
    add("deft-qr", "llama-f32", "Deft", r=3, decomposition_method="qr", alpha=6, close=True)
    add("deft-removal", "llama-bf16", "Deft", r=3, para=True)
    add("delora-safe", "llama-bf16", "Delora", r=3, safe=True, target_modules=MIXED)
    add("hra-gs", "llama-f32", "HRA", r=4, apply_GS=True, close=True)
    add("peanut-scaled", "llama-int8", "Peanut", r=4, scaling=0.5, safe=True)
    add("randlora-square", "llama-nf4", "RandLora", r=16, randlora_alpha=3, target_modules=["q_proj"])
    add("randlora-square", "llama-int8", "RandLora", r=16, randlora_alpha=3, target_modules=["q_proj"])
    add("pvera", "llama-nf4-dq", "Pvera", r=4, safe=True)
    add("adalora-pruned", "llama-bf16", "AdaLora", init_r=4, total_step=10, rank_pattern={
        f"model.layers.0.self_attn.{m}.lora_E": [j % 3 != 0 for j in range(4)] for m in QV})
    return c


def fill(name: str, p: torch.Tensor, seed: str) -> None:
    rng = golden.rng_for(f"{seed}/{name}")
    role = next((x for x in reversed(name.split(".")) if x in SCALE), "")
    x = rng.standard_normal(tuple(p.shape)) * SCALE.get(role, 0.3)
    if any(o in name.split(".") for o in ONES):
        x = 1 + 0.3 * x
    if "road_theta" in name:
        x *= 0.2
    if "randlora_gamma" in name:
        x = (1 + x) / max(p.shape)
    p.data = torch.from_numpy(x.astype(np.float32))


@torch.no_grad()
def make_adapter(case: Case, out: Path, seed: str) -> None:
    kw = dict(case.config)
    pattern = kw.pop("rank_pattern", None) if case.kind == "AdaLora" else None
    torch.manual_seed(1)
    pm = peft.get_peft_model(golden.load_base(golden.BASES[case.base], f"bases/{case.base}"), getattr(peft, case.kind + "Config")(**kw))
    for name, p in pm.named_parameters():
        if p.requires_grad:
            fill(name, p, seed)
    if pattern:  # as AdaLoRA's own training leaves it behind
        pm.peft_config["default"].rank_pattern = pattern
    pm.peft_config["default"].base_model_name_or_path = f"bases/{case.base}"
    pm.save_pretrained(str(out))
    (out / "README.md").unlink(missing_ok=True)
    (out / "adapter_model.safetensors").chmod(0o644)
    if case.edit_config:
        cfg = json.loads((out / "adapter_config.json").read_text()) | case.edit_config
        (out / "adapter_config.json").write_text(json.dumps(cfg, indent=2, sort_keys=True))


def make_case(case: Case) -> None:
    folder = Path("cases") / case.name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    info: dict[str, Any] = {"name": case.name, "base": f"../golden/bases/{case.base}", "auto_class": golden.BASES[case.base].auto,
                            "adapters": ["adapter"] + [f"adapter_a{i + 1}" for i in range(len(case.more))],
                            "action": "unmerge" if case.unmerge else "merge", "order": case.order, "safe_merge": case.safe,
                            "load": case.load, "delta_exact": not case.close, "error": None}
    phase = "create"
    try:
        for i, name in enumerate(info["adapters"]):
            make_adapter(case, folder / name, f"{case.name}/{i}")
        phase = "load and merge"
        if case.more:
            case.order = info["order"] = ["default"] + [f"a{i + 1}" for i in range(len(case.more))]
        golden.merge(case, folder, f"{folder}/expected", info, {})
        for f in (folder / "expected").glob("*config.json"):
            f.unlink()  # the weights are what differs
        info["expected"] = golden.slim(Path("bases") / case.base, folder / "expected")
    except (ValueError, RuntimeError, AttributeError, KeyError, TypeError, NotImplementedError) as e:
        info["error"] = {"phase": phase, "type": type(e).__name__, "text": golden.tidy(str(e)) or type(e).__name__}
        shutil.rmtree(folder / "expected", ignore_errors=True)
    golden.dump(folder / "case.json", info)
    print("case", case.name, "->", (info["error"] or {}).get("text", "ok")[:110].replace("\n", " "))


def main() -> None:
    os.chdir(HERE)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    link = Path("bases")
    link.symlink_to("../golden/bases")  # case names of ../golden/make.py are relative to its folder
    try:
        for c in cases():
            if not sys.argv[1:] or c.name in sys.argv[1:]:
                make_case(c)
    finally:
        link.unlink()


if __name__ == "__main__":
    main()
