#!/usr/bin/env python3
"""Tokens per second of transformers' float32 forward pass, to compare with
BenchmarkForward of package model: the same sizes, random weights.

    python forward.py [ROUNDS]         best of some rounds, two threads
"""
import sys
import time

import torch
from transformers import LlamaConfig, LlamaForCausalLM

SIZES = {
    "demo": (dict(vocab_size=256, hidden_size=192, intermediate_size=448, num_hidden_layers=4, num_attention_heads=6,
                  num_key_value_heads=2, head_dim=32, max_position_embeddings=512), 8),
    "wide": (dict(vocab_size=32000, hidden_size=2048, intermediate_size=5632, num_hidden_layers=2, num_attention_heads=32,
                  num_key_value_heads=4, head_dim=64, max_position_embeddings=512), 2),
}

torch.set_num_threads(2)
rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 10
for name, (config, batch) in SIZES.items():
    model = LlamaForCausalLM(LlamaConfig(**config)).float().eval()
    ids = torch.randint(0, config["vocab_size"], (batch, 512))
    best = 0.0
    with torch.inference_mode():
        for _ in range(rounds):
            start = time.perf_counter()
            # What verification needs of the logits: a log-softmax and the target.
            torch.log_softmax(model(ids).logits, -1).gather(-1, ids[..., None]).mean()
            best = max(best, ids.numel() / (time.perf_counter() - start))
    print(f"{name}: {best:.0f} tokens/s")
