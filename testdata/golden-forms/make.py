#!/usr/bin/env python3
"""Regenerates the golden merges of what an adapter holds beside A and B, with the real PEFT on CPU: replaced tensors, tied embeddings,
lora_bias, fresh adapters, fused experts. Over the bases of ../golden and two more.

Usage: python make.py [CASE-NAME ...]     (no argument: everything; requirements: those of ../golden/make.py)
"""
from __future__ import annotations

import importlib.util
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
spec = importlib.util.spec_from_file_location("golden", os.path.join(HERE, "..", "golden", "make.py"))
golden = importlib.util.module_from_spec(spec)
sys.modules["golden"] = golden
spec.loader.exec_module(golden)

import json
import shutil
import tempfile
import warnings
from pathlib import Path

import torch
import transformers as tf

from golden import BF16, Base, Case, lora, renamed


def qwen3_moe():
    return tf.Qwen3MoeConfig(vocab_size=64, hidden_size=64, intermediate_size=64, moe_intermediate_size=32, num_hidden_layers=1, num_attention_heads=4,
                             num_key_value_heads=2, head_dim=16, num_experts=4, num_experts_per_tok=2, decoder_sparse_step=1, max_position_embeddings=64)


def gpt_oss():
    return tf.GptOssConfig(vocab_size=64, hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=4,
                           num_key_value_heads=2, head_dim=8, num_local_experts=2, num_experts_per_tok=1, max_position_embeddings=64)


MORE = {"qwen3-moe-bf16": Base(qwen3_moe), "gpt-oss-bf16": Base(gpt_oss)}
golden.BASES.update(MORE)


def nudged(match, by):
    return lambda t: {k: (v.float() + by).to(v.dtype) if match in k else v for k, v in t.items()}


def widened(match):
    """The matching tensors in float32, with values bf16 does not have."""
    return lambda t: {k: v.float() * (1 + 2**-9) if match in k else v for k, v in t.items()}


def without(*match):
    return lambda t: {k: v for k, v in t.items() if not any(m in k for m in match)}


EXPERTS = ["mlp.experts.down_proj", "mlp.experts.gate_up_proj"]
LOST = renamed("layers.1.", "layers.7.")
CASES = [
    Case("tied-save-embed", "llama-nf4-tied", "tied embeddings, the input one in modules_to_save: PEFT unties them", lora(["q_proj"], modules_to_save=["embed_tokens"])),
    Case("tied-save-head", "llama-nf4-tied", "tied embeddings, the output one in modules_to_save", lora(["q_proj"], modules_to_save=["lm_head"])),
    Case("tied-save-both", "llama-nf4-tied", "tied embeddings, both in modules_to_save", lora(["q_proj"], modules_to_save=["embed_tokens", "lm_head"])),
    Case("tied-tokens", "llama-nf4-tied", "tied embeddings, trainable tokens", lora(["q_proj"], trainable_token_indices={"embed_tokens": [0, 63]})),
    Case("embedding-changed", "llama-bf16", "LoRA on embed_tokens, the copy saved along differs from the base", lora(["embed_tokens"]), edit=nudged("base_layer.weight", 0.01)),
    Case("embedding-changed-f32", "llama-bf16", "the same in float32", lora(["embed_tokens"]), edit=widened("base_layer.weight")),
    Case("save-f32", "llama-nf4", "modules_to_save in float32 over bf16", lora(["q_proj"], modules_to_save=["lm_head"]), edit=widened("lm_head")),
    Case("save-f32-low-cpu-mem", "llama-nf4", "the same loaded with low_cpu_mem_usage", lora(["q_proj"], modules_to_save=["lm_head"]), edit=widened("lm_head"), load={"low_cpu_mem_usage": True}),
    Case("tokens-f32", "llama-nf4", "trainable tokens in float32 over bf16", lora(["q_proj"], trainable_token_indices={"embed_tokens": [3, 7]}), edit=widened("trainable_tokens_delta")),
    Case("tokens-two", "llama-nf4", "two adapters that train different tokens", lora(["q_proj"], trainable_token_indices={"embed_tokens": [3, 7]}),
         more=[dict(lora=lora(["v_proj"], trainable_token_indices={"embed_tokens": [8]}))], order=["default", "a1"]),
    Case("tokens-overlap", "llama-nf4", "two adapters that train the same token: error", lora(["q_proj"], trainable_token_indices={"embed_tokens": [3, 7]}),
         more=[dict(lora=lora(["v_proj"], trainable_token_indices={"embed_tokens": [7]}))], order=["default", "a1"]),
    Case("save-and-lora", "llama-nf4", "one adapter saves lm_head, another adapts it: error", lora(["q_proj"], modules_to_save=["lm_head"]),
         more=[dict(lora=lora(["lm_head"]))], order=["default", "a1"]),
    Case("missing-layer-dq", "llama-nf4-dq", "a targeted layer without tensors, double quantization", lora(["q_proj"]), edit=LOST),
    Case("missing-layer-int8", "llama-int8", "a targeted layer without tensors, int8", lora(["q_proj"]), edit=LOST),
    Case("missing-dora-dq", "llama-nf4-dq", "a targeted layer without tensors, DoRA", lora(["q_proj"], use_dora=True), edit=LOST),
    Case("missing-dora-f16", "llama-nf4-f16", "the same over float16", lora(["q_proj"], use_dora=True), edit=LOST),
    Case("missing-dora-int8", "llama-int8", "the same over int8", lora(["q_proj"], use_dora=True), edit=LOST),
    Case("missing-dora-bf16", "llama-bf16", "the same over bf16", lora(["q_proj"], use_dora=True), edit=LOST),
    Case("missing-dora-no-autocast", "llama-nf4", "the same, bf16 adapter kept in bf16", lora(["q_proj"], use_dora=True), dtype=BF16, edit=LOST, load={"autocast_adapter_dtype": False}),
    Case("missing-bias", "llama-nf4-bias", "a targeted layer without tensors, lora_bias", lora(["q_proj"], lora_bias=True), edit=LOST),
    Case("missing-all-linear", "llama-nf4-lmhead", "all-linear, tensors of q_proj only, lm_head quantized", lora(["q_proj"]), edit_config={"target_modules": "all-linear"}),
    Case("missing-all-linear-bert", "bert-nf4-classifier", "all-linear, tensors of query only, classifier quantized", lora(["query"]), edit_config={"target_modules": "all-linear"}),
    Case("missing-all-linear-gpt2", "gpt2-nf4", "all-linear, tensors of c_attn only", lora(["c_attn"]), edit_config={"target_modules": "all-linear"}),
    Case("missing-all-linear-mixtral", "mixtral-nf4", "all-linear, tensors of q_proj only", lora(["q_proj"]), edit_config={"target_modules": "all-linear"}),
    Case("missing-targets", "llama-nf4", "layers_to_transform, layers_pattern and exclude_modules decide what is fresh",
         lora(["q_proj", "k_proj", "v_proj", "o_proj"], layers_to_transform=[1], layers_pattern="layers", exclude_modules=["self_attn.v_proj"]), edit=without("k_proj", "o_proj")),
    Case("lora-bias-bf16-safe", "llama-bf16-bias", "lora_bias on bf16, safe_merge", lora(["q_proj", "down_proj"], lora_bias=True), safe=True),
    Case("lora-bias-gpt2", "gpt2-f32", "lora_bias on Conv1D", lora(["c_attn"], lora_bias=True, fan_in_fan_out=True)),
    Case("lora-bias-only", "llama-nf4-bias", "lora_bias together with bias='lora_only'", lora(["q_proj"], lora_bias=True, bias="lora_only")),
    Case("lora-bias-sequence", "llama-nf4-bias", "lora_bias of two adapters", lora(["q_proj"], lora_bias=True), more=[dict(lora=lora(["q_proj"], lora_bias=True))], order=["default", "a1"]),
    Case("lora-bias-no-autocast", "llama-nf4-bias", "lora_bias, bf16 adapter kept in bf16", lora(["q_proj"], lora_bias=True), dtype=BF16, load={"autocast_adapter_dtype": False}),
    Case("unmerge-lora-bias-nf4", "llama-nf4-bias", "lora_bias merged and unmerged", lora(["q_proj"], lora_bias=True), unmerge=True),
    Case("unmerge-lora-bias-bf16", "llama-bf16-bias", "lora_bias merged and unmerged on bf16", lora(["q_proj"], lora_bias=True), unmerge=True),
    Case("unmerge-replaced", "llama-nf4-bias", "modules_to_save and biases stay when unmerged, tokens go",
         lora(["q_proj"], bias="lora_only", modules_to_save=["lm_head"], trainable_token_indices={"embed_tokens": [3]}), unmerge=True),
    Case("mixtral-experts-order", "mixtral-bf16", "target_parameters the other way round, rank and alpha by pattern",
         lora([], 2, 4, target_parameters=EXPERTS, rank_pattern={"experts.down_proj": 3}, alpha_pattern={"experts.gate_up_proj": 5}), safe=True),
    Case("mixtral-experts-no-autocast", "mixtral-bf16", "experts, bf16 adapter kept in bf16", lora([], 2, 4, target_parameters=EXPERTS), dtype=BF16, load={"autocast_adapter_dtype": False}),
    Case("mixtral-experts-two", "mixtral-bf16", "experts of two adapters", lora([], 2, 4, target_parameters=EXPERTS), more=[dict(lora=lora([], 3, 4, target_parameters=EXPERTS))], order=["default", "a1"]),
    Case("unmerge-mixtral-experts", "mixtral-bf16", "experts merged and unmerged", lora([], 2, 4, target_parameters=EXPERTS), unmerge=True),
    Case("qwen3-moe-experts", "qwen3-moe-bf16", "target_parameters over experts named gate_proj, up_proj, down_proj", lora(["q_proj"], 2, 4, target_parameters=EXPERTS)),
    Case("gpt-oss-experts", "gpt-oss-bf16", "target_parameters over fused experts stored [experts, in, out]", lora(["q_proj"], 2, 4, target_parameters=EXPERTS)),
]
golden.FULL = {"tied-save-embed"}


def main(names: list[str]) -> None:
    """golden works with bases/ and cases/ of the current directory: one is made of links for the time of the run."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as tmp:
        os.chdir(tmp)
        (Path(tmp) / "bases").mkdir()
        for base in (Path(HERE) / "../golden/bases").iterdir():
            (Path(tmp) / "bases" / base.name).symlink_to(base.resolve())
        for name, base in MORE.items():
            golden.make_base(name, base)
            shutil.copytree(f"bases/{name}", f"{HERE}/bases/{name}", dirs_exist_ok=True)
        for c in CASES:
            if names and c.name not in names:
                continue
            golden.make_case(c)
            (Path("cases") / c.name / "base").unlink()
            info = Path("cases") / c.name / "case.json"
            text = json.loads(info.read_text())
            if c.base not in MORE:
                text["base"] = f"../golden/bases/{c.base}"
            info.write_text(json.dumps(text, indent=1) + "\n")
            shutil.rmtree(f"{HERE}/cases/{c.name}", ignore_errors=True)
            shutil.copytree(f"cases/{c.name}", f"{HERE}/cases/{c.name}")


if __name__ == "__main__":
    main(sys.argv[1:])
