#!/usr/bin/env python3
"""Merges models of 1 to 8 layers, and shows how time and memory grow with the number of weights.

Usage: python growth.py DIR [ROUNDS]; MERGESCOPE names the binary.

DIR is that of make_model.py: the first layer of DIR/base and DIR/adapter is repeated under other names in DIR/growth.
Prints for `merge` and `report` the best time of each size, the peak memory of all rounds, and the straight line through
the times with its R^2. Needs nothing but Python and GNU time's equivalent in the kernel (wait4).
"""
import json
import os
import re
import shutil
import struct
import sys
import time
from pathlib import Path

SIZES = (1, 2, 4, 6, 8)
LAYER = re.compile(r"\blayers\.(\d+)\.")


def header(path):
    with open(path, "rb") as f:
        (n,) = struct.unpack("<Q", f.read(8))
        return json.loads(f.read(n)), 8 + n


def repeat(source, target, layers):
    """Writes source with its first layer as often as asked for, and returns the number of quantized weights."""
    entries, start = header(source)
    metadata = entries.pop("__metadata__", {})
    parts, weights = [], 0
    for name, entry in entries.items():
        found = LAYER.search(name)
        if found is None:
            parts.append((name, entry))
        elif found[1] == "0":
            parts += [(LAYER.sub(f"layers.{i}.", name), entry) for i in range(layers)]
            if entry["dtype"] == "U8" and name.endswith(".weight"):
                weights += 2 * layers * entry["shape"][0]
    out, at = {"__metadata__": metadata}, 0
    for name, entry in parts:
        lo, hi = entry["data_offsets"]
        out[name] = {**entry, "data_offsets": [at, at + hi - lo]}
        at += hi - lo
    text = json.dumps(out).encode()
    text += b" " * (-len(text) % 8)
    with open(source, "rb") as f, open(target, "wb") as g:
        g.write(struct.pack("<Q", len(text)) + text)
        for _, entry in parts:
            lo, hi = entry["data_offsets"]
            f.seek(start + lo)
            g.write(f.read(hi - lo))
    return weights


def make(top, layers):
    place = top / "growth" / str(layers)
    for part, file, config in (("base", "model", "config.json"), ("adapter", "adapter_model", "adapter_config.json")):
        (place / part).mkdir(parents=True, exist_ok=True)
        n = repeat(top / part / f"{file}.safetensors", place / part / f"{file}.safetensors", layers)
        weights = n or weights
        text = json.loads((top / part / config).read_text())
        if "num_hidden_layers" in text:
            text["num_hidden_layers"] = layers
        (place / part / config).write_text(json.dumps(text, indent=1))
    return place, weights


def timed(*command):
    """Returns seconds by the clock, of processor time, and the peak memory in MB."""
    start = time.monotonic()
    pid = os.posix_spawnp(command[0], command, os.environ, file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)])
    _, status, used = os.wait4(pid, 0)
    if os.waitstatus_to_exitcode(status) not in (0, 3):
        sys.exit(f"{' '.join(command)} failed")
    return time.monotonic() - start, used.ru_utime + used.ru_stime, used.ru_maxrss / 1e3


def line(x, y):
    """Fits y = a + b x and returns a, b, R^2."""
    mx, my = sum(x) / len(x), sum(y) / len(y)
    b = sum((p - mx) * (q - my) for p, q in zip(x, y)) / sum((p - mx) ** 2 for p in x)
    a = my - b * mx
    return a, b, 1 - sum((q - a - b * p) ** 2 for p, q in zip(x, y)) / sum((q - my) ** 2 for q in y)


def main():
    top, rounds = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 3
    program = os.environ.get("MERGESCOPE", "mergescope")
    models = [make(top, n) for n in SIZES]
    best = {}
    for _ in range(rounds):
        for place, weights in models:
            out = place / "out"
            options = (str(place / "base"), "-a", str(place / "adapter"), "--json", "--progress", "none")
            for kind, extra in (("report", ()), ("merge", ("-o", str(out)))):
                shutil.rmtree(out, ignore_errors=True)
                got = timed(program, kind, *options, *extra)
                old = best.get((kind, weights), (1e9, 1e9, 0))
                best[kind, weights] = (min(got[0], old[0]), min(got[1], old[1]), max(got[2], old[2]))
            shutil.rmtree(out, ignore_errors=True)
    for kind in ("report", "merge"):
        sizes = [weights / 1e6 for _, weights in models]
        for weights, (_, n) in zip(sizes, models):
            clock, used, peak = best[kind, n]
            print(f"{kind} {weights:.0f} M weights: {clock:.3f} s, {used:.3f} s of processor time, {peak:.0f} MB")
        for what, i in (("clock", 0), ("processor time", 1)):
            a, b, r2 = line(sizes, [best[kind, n][i] for _, n in models])
            print(f"{kind} {what}: {1e3 * a:.0f} ms + {1e6 * b:.0f} ms for 1e9 weights, R^2 {r2:.4f}")
    shutil.rmtree(top / "growth")


main()
