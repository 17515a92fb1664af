#!/usr/bin/env python3
"""Writes what model/arch_test.go compares with: tiny random models of every
supported architecture, run by transformers in float32 on the CPU.

    python make.py            (transformers 5.23, torch 2.15, safetensors)

ARCH.safetensors   weights, bfloat16
CASE.json          a configuration for the weights of its "weights" field
cases.safetensors  CASE.tokens [45] and CASE.logits [45, vocab]: two sequences of 36
                   and 9 tokens, run one at a time by a fresh model
"""
import json
import pathlib

import torch
import transformers
from safetensors.torch import save_file

HERE = pathlib.Path(__file__).resolve().parent
LENGTHS = (36, 9)
COMMON = dict(vocab_size=32, hidden_size=24, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4,
              num_key_value_heads=2, max_position_embeddings=24, bos_token_id=0, eos_token_id=1, pad_token_id=0)
THETA = dict(rope_theta=100.0)  # so that 36 positions turn even slow pairs

CASES = {
    "llama": ("Llama", dict(attention_bias=True, mlp_bias=True, rope_parameters=dict(rope_type="default", **THETA))),
    "llama-linear": ("Llama", dict(rope_parameters=dict(rope_type="linear", factor=3.0, **THETA))),
    "llama-dynamic": ("Llama", dict(rope_parameters=dict(rope_type="dynamic", factor=2.5, **THETA))),
    "llama-llama3": ("Llama", dict(rope_parameters=dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                                                        original_max_position_embeddings=64, **THETA))),
    "llama-yarn": ("Llama", dict(rope_parameters=dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=24,
                                                      beta_fast=2.0, beta_slow=0.5, **THETA))),
    "llama-yarn-mscale": ("Llama", dict(rope_parameters=dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=24, mscale=1.4,
                                                             mscale_all_dim=0.7, truncate=False, **THETA))),
    "mistral": ("Mistral", dict(sliding_window=7, head_dim=10, rope_parameters=dict(rope_type="default", **THETA))),
    "qwen2": ("Qwen2", dict(use_sliding_window=True, sliding_window=9, max_window_layers=1, tie_word_embeddings=True,
                            rope_parameters=dict(rope_type="default", **THETA))),
    "qwen3": ("Qwen3", dict(head_dim=16, attention_bias=True, rope_parameters=dict(rope_type="default", **THETA))),
    "gemma2": ("Gemma2", dict(head_dim=12, query_pre_attn_scalar=9, sliding_window=6, attn_logit_softcapping=2.0,
                              final_logit_softcapping=3.0, rope_parameters=dict(rope_type="default", **THETA))),
    "gemma3": ("Gemma3", dict(head_dim=12, query_pre_attn_scalar=9, sliding_window=6, layer_types=["sliding_attention", "full_attention"],
                              rope_parameters=dict(full_attention=dict(rope_type="linear", factor=4.0, rope_theta=1000.0),
                                                   sliding_attention=dict(rope_type="default", rope_theta=50.0)))),
    "phi3": ("Phi3", dict(partial_rotary_factor=0.5, head_dim=8, num_attention_heads=3, num_key_value_heads=1, sliding_window=11,
                          rope_parameters=dict(rope_type="default", partial_rotary_factor=0.5, **THETA))),
    "phi3-longrope": ("Phi3", dict(head_dim=8, num_attention_heads=3, num_key_value_heads=1, max_position_embeddings=48,
                                   original_max_position_embeddings=24,
                                   rope_parameters=dict(rope_type="longrope", short_factor=[1.0, 1.1, 1.3, 1.5],
                                                        long_factor=[1.0, 2.0, 3.5, 5.0], **THETA))),
}
CLASSES = dict(Gemma3=("Gemma3TextConfig", "Gemma3ForCausalLM"))


def build(kind, extra):
    config_name, class_name = CLASSES.get(kind, (kind + "Config", kind + "ForCausalLM"))
    config = getattr(transformers, config_name)(**{**COMMON, **extra})
    config._attn_implementation = "eager"  # the only one with softcaps
    return getattr(transformers, class_name)(config).eval(), class_name


def randomize(model, seed):
    gen = torch.Generator().manual_seed(seed)
    for name, p in model.named_parameters():
        noise = torch.randn(p.shape, generator=gen)
        centre = 0.0
        if "norm" in name and "Gemma" not in type(model).__name__:
            centre = 1.0
        scale = 0.2 if p.ndim == 1 else (1.0 if "embed" in name else 1.3) / p.shape[1] ** 0.5
        p.data = (centre + scale * noise).to(torch.bfloat16).float()


@torch.no_grad()
def main():
    out, done = {}, set()
    for seed, (case, (kind, extra)) in enumerate(CASES.items()):
        weights = case.split("-")[0]
        if case != weights:  # the same weights need the same parameters
            extra = {**{k: v for k, v in CASES[weights][1].items() if k in ("attention_bias", "mlp_bias", "tie_word_embeddings")}, **extra}
        gen = torch.Generator().manual_seed(1000 + seed)
        tokens = [torch.randint(0, COMMON["vocab_size"], (n,), generator=gen) for n in LENGTHS]
        logits = []
        for ids in tokens:
            model, class_name = build(kind, extra)
            randomize(model, 7 + sum(map(ord, weights)))
            logits.append(model(ids[None]).logits[0].float())
        config = {**json.loads(model.config.to_json_string()), "architectures": [class_name], "weights": weights}
        for key in ("_attn_implementation", "transformers_version", "dtype", "id2label", "label2id"):
            config.pop(key, None)
        (HERE / f"{case}.json").write_text(json.dumps(config, indent=1) + "\n")
        if weights not in done:
            done.add(weights)
            state = {k: v.to(torch.bfloat16).contiguous() for k, v in model.state_dict().items()}
            if config.get("tie_word_embeddings"):
                state.pop("lm_head.weight", None)
            save_file(state, HERE / f"{weights}.safetensors")
        out[f"{case}.tokens"] = torch.cat(tokens).to(torch.int32)
        out[f"{case}.logits"] = torch.cat(logits).contiguous()
        print(f"{case:20} largest {out[f'{case}.logits'].abs().max():.2f}")
    save_file(out, HERE / "cases.safetensors")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
