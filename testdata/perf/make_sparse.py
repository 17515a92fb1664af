#!/usr/bin/env python3
"""Makes a checkpoint with the tensors of Llama 70B or 7B in NF4, as sparse files: headers, maps and quant states are
there, codes and scales are holes that read as zeros.

Usage: python make_sparse.py [--shape 70b|7b] DIR [LAYERS] [LAYERS_A_SHARD]

Writes DIR/base (double quantization, bfloat16) and DIR/adapter (rank 8, bfloat16, all linear layers). 80 layers of 70B
are 39 GB that take a few MB of disk, 38 layers 20 GB. The model runs: every token is as likely as any other. Needs the
standard library only and a file system with sparse files.
"""
import argparse
import json
import random
import struct
from pathlib import Path

SHAPES = {"70b": (8192, 28672, 1024, 128256), "7b": (4096, 11008, 4096, 32000)}
RANK, HEAD = 8, 128

parser = argparse.ArgumentParser()
parser.add_argument("--shape", choices=SHAPES, default="70b")
parser.add_argument("out", type=Path)
parser.add_argument("layers", type=int, nargs="?", default=80)
parser.add_argument("each", type=int, nargs="?", default=5)
args = parser.parse_args()

HIDDEN, INNER, KV, VOCAB = SHAPES[args.shape]
LINEAR = {
    "self_attn.q_proj": (HIDDEN, HIDDEN), "self_attn.k_proj": (KV, HIDDEN), "self_attn.v_proj": (KV, HIDDEN),
    "self_attn.o_proj": (HIDDEN, HIDDEN), "mlp.gate_proj": (INNER, HIDDEN), "mlp.up_proj": (INNER, HIDDEN),
    "mlp.down_proj": (HIDDEN, INNER),
}
NF4 = [-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
       -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
       0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0]
WIDTH = {"F32": 4, "BF16": 2, "U8": 1}


def floats(values):
    return struct.pack(f"<{len(values)}f", *values)


def quantized(name, rows, cols):
    """Entries (name, dtype, shape, bytes or None for a hole) of one NF4 weight with double quantization."""
    blocks = rows * cols // 64
    state = json.dumps({"quant_type": "nf4", "blocksize": 64, "dtype": "bfloat16", "shape": [rows, cols],
                        "nested_blocksize": 256, "nested_dtype": "float32", "nested_offset": 0.02}).encode()
    return [
        (name, "U8", [rows * cols // 2, 1], None),
        (f"{name}.absmax", "U8", [blocks], None),
        (f"{name}.nested_absmax", "F32", [-(-blocks // 256)], None),
        (f"{name}.nested_quant_map", "F32", [256], floats([i / 255 for i in range(256)])),
        (f"{name}.quant_map", "F32", [16], floats(NF4)),
        (f"{name}.quant_state.bitsandbytes__nf4", "U8", [len(state)], state),
    ]


def write(path, entries):
    """Writes a safetensors file, data by alignment and name as the library does. Returns the bytes of the data."""
    header, at, data = {"__metadata__": {"format": "pt"}}, 0, []
    for name, dtype, shape, given in sorted(entries, key=lambda e: (-WIDTH[e[1]], e[0])):
        size = WIDTH[dtype]
        for n in shape:
            size *= n
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + size]}
        if given is not None:
            data.append((at, given))
        at += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.truncate(8 + len(text) + at)
        f.write(struct.pack("<Q", len(text)) + text)
        for off, given in data:
            f.seek(8 + len(text) + off)
            f.write(given)
    return at


def base(out, layers, each):
    groups = [[("model.embed_tokens.weight", "BF16", [VOCAB, HIDDEN], None)]]
    for i in range(layers):
        if i % each == 0 and i > 0:
            groups.append([])
        for norm in ("input_layernorm", "post_attention_layernorm"):
            groups[-1].append((f"model.layers.{i}.{norm}.weight", "BF16", [HIDDEN], None))
        for name, (rows, cols) in LINEAR.items():
            groups[-1] += quantized(f"model.layers.{i}.{name}.weight", rows, cols)
    groups.append([("model.norm.weight", "BF16", [HIDDEN], None), ("lm_head.weight", "BF16", [VOCAB, HIDDEN], None)])
    out.mkdir(parents=True, exist_ok=True)
    total, where = 0, {}
    for i, group in enumerate(groups):
        file = f"model-{i + 1:05d}-of-{len(groups):05d}.safetensors"
        total += write(out / file, group)
        where |= {name: file for name, *_ in group}
    (out / "model.safetensors.index.json").write_text(json.dumps({"metadata": {"total_size": total}, "weight_map": where}))
    (out / "config.json").write_text(json.dumps({
        "architectures": ["LlamaForCausalLM"], "dtype": "bfloat16", "hidden_size": HIDDEN, "intermediate_size": INNER,
        "model_type": "llama", "num_attention_heads": HIDDEN // HEAD, "num_hidden_layers": layers,
        "num_key_value_heads": KV // HEAD, "max_position_embeddings": 4096, "rms_norm_eps": 1e-5, "tie_word_embeddings": False, "vocab_size": VOCAB,
        "quantization_config": {
            "quant_method": "bitsandbytes", "load_in_4bit": True, "load_in_8bit": False, "bnb_4bit_quant_type": "nf4",
            "bnb_4bit_use_double_quant": True, "bnb_4bit_compute_dtype": "bfloat16", "llm_int8_skip_modules": None}}))
    return total


def adapter(out, layers):
    rng = random.Random(1)
    # bfloat16 is the upper half of a float32. One block of values serves all factors.
    block = b"".join(struct.pack("<f", rng.gauss(0, 0.02))[2:] for _ in range(INNER * RANK))
    entries = []
    for i in range(layers):
        for name, (rows, cols) in LINEAR.items():
            path = f"base_model.model.model.layers.{i}.{name}"
            entries.append((f"{path}.lora_A.weight", "BF16", [RANK, cols], block[:2 * RANK * cols]))
            entries.append((f"{path}.lora_B.weight", "BF16", [rows, RANK], block[:2 * RANK * rows]))
    out.mkdir(parents=True, exist_ok=True)
    write(out / "adapter_model.safetensors", entries)
    (out / "adapter_config.json").write_text(json.dumps({
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "r": RANK, "lora_alpha": 16, "lora_dropout": 0.0, "bias": "none",
        "target_modules": sorted(n.split(".")[1] for n in LINEAR)}))


total = base(args.out / "base", args.layers, args.each)
adapter(args.out / "adapter", args.layers)
print(f"{args.out}: {total / 1e9:.1f} GB of tensors")
