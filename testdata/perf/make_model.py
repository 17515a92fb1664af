#!/usr/bin/env python3
"""Makes a checkpoint shaped like Llama 7B, but of few layers, and an adapter for all its linear layers.

Usage: python make_model.py DIR [LAYERS]

Writes DIR/base (NF4, double quantization, bfloat16) and DIR/adapter (rank 16). Four layers have 809 M quantized
weights. Quantized by bitsandbytes itself, tensor by tensor, so that memory stays small. Needs torch, bitsandbytes and
safetensors.
"""
import json
import sys
from pathlib import Path

import bitsandbytes.functional as F
import torch
from safetensors.torch import save_file

HIDDEN, INNER, VOCAB, RANK = 4096, 11008, 1024, 16
LINEAR = {
    "self_attn.q_proj": (HIDDEN, HIDDEN), "self_attn.k_proj": (HIDDEN, HIDDEN), "self_attn.v_proj": (HIDDEN, HIDDEN),
    "self_attn.o_proj": (HIDDEN, HIDDEN), "mlp.gate_proj": (INNER, HIDDEN), "mlp.up_proj": (INNER, HIDDEN),
    "mlp.down_proj": (HIDDEN, INNER),
}
QUANT = {
    "_load_in_4bit": True, "_load_in_8bit": False, "bnb_4bit_compute_dtype": "bfloat16", "bnb_4bit_quant_storage": "uint8",
    "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True, "llm_int8_enable_fp32_cpu_offload": False,
    "llm_int8_has_fp16_weight": False, "llm_int8_skip_modules": None, "llm_int8_threshold": 6.0, "load_in_4bit": True,
    "load_in_8bit": False, "quant_method": "bitsandbytes",
}


def config(layers):
    return {
        "architectures": ["LlamaForCausalLM"], "attention_bias": False, "dtype": "bfloat16", "bos_token_id": 1,
        "eos_token_id": 2, "hidden_act": "silu", "hidden_size": HIDDEN, "intermediate_size": INNER,
        "max_position_embeddings": 512, "model_type": "llama", "num_attention_heads": 32, "num_hidden_layers": layers,
        "num_key_value_heads": 32, "rms_norm_eps": 1e-6, "tie_word_embeddings": False, "vocab_size": VOCAB,
        "quantization_config": QUANT,
    }


def quantized(name, shape, generator):
    w = (torch.randn(shape, generator=generator) * 0.02).to(torch.bfloat16)
    codes, state = F.quantize_4bit(w, blocksize=64, compress_statistics=True, quant_type="nf4")
    return {name: codes, **{f"{name}.{k}": v for k, v in state.as_dict(packed=True).items()}}


def main():
    out, layers = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 4
    base, adapter = out / "base", out / "adapter"
    base.mkdir(parents=True, exist_ok=True)
    adapter.mkdir(exist_ok=True)
    g = torch.Generator().manual_seed(1)
    half = torch.bfloat16
    tensors = {"model.norm.weight": torch.ones(HIDDEN, dtype=half)}
    for name in ("model.embed_tokens", "lm_head"):
        tensors[f"{name}.weight"] = (torch.randn((VOCAB, HIDDEN), generator=g) * 0.02).to(half)
    lora = {}
    for i in range(layers):
        for norm in ("input_layernorm", "post_attention_layernorm"):
            tensors[f"model.layers.{i}.{norm}.weight"] = torch.ones(HIDDEN, dtype=half)
        for name, (rows, cols) in LINEAR.items():
            path = f"model.layers.{i}.{name}"
            tensors |= quantized(f"{path}.weight", (rows, cols), g)
            lora[f"base_model.model.{path}.lora_A.weight"] = torch.randn((RANK, cols), generator=g) * 0.02
            lora[f"base_model.model.{path}.lora_B.weight"] = torch.randn((rows, RANK), generator=g) * 0.02
    save_file(tensors, base / "model.safetensors", metadata={"format": "pt"})
    save_file(lora, adapter / "adapter_model.safetensors", metadata={"format": "pt"})
    (base / "config.json").write_text(json.dumps(config(layers), indent=1))
    (adapter / "adapter_config.json").write_text(json.dumps({
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "r": RANK, "lora_alpha": 32, "lora_dropout": 0.0, "bias": "none",
        "target_modules": sorted(n.split(".")[1] for n in LINEAR)}, indent=1))


main()
