#!/usr/bin/env python3
"""What the machine can do, and which part of it kernels and whole steps use: `make bench-limits`.

    TYPES="Q4_0" THREADS="1 2" PARTS="steps depth"

The C half measures the limits and the kernels; then the real binary reads a prompt of 512 tokens and
decodes 64 on the files of bench-compare. Prefill is set against the arithmetic (multiplications and
additions of the matrices, the embedding's left out, against the int8 peak, for BF16 files against the
bf16 peak), decode against the read bandwidth (the file and the f16 K and V of each token). Attention's
arithmetic and the sampler count as time and not as work. Part "depth" decodes 64 after 4096 with K and V in
f16 and in int8, in turns on one prompt, which is read once by each.
"""
import os
import re
import statistics
import subprocess

from bench import ROOT, machine
from compare import Ours, model_file, random_tokens

LIMITS = os.path.join(ROOT, "build/release/bin/bench_limits")
TYPES = os.environ.get("TYPES", "Q4_0").split()
THREADS = [int(t) for t in os.environ.get("THREADS", "1 2").split()]
OPERATIONS = 1.946  # giga, per token: two for each weight of the layers
KV_BYTES = 2 * 16 * 512 * 2  # per position
PARTS = os.environ.get("PARTS", "steps depth").split()
RUNS = 3
DEPTH = 128
DEEP = 4096


def steps(file_type, threads, limits):
    path = model_file(file_type)
    side = Ours(threads)
    side.load(path, warmup=True)
    side.prefill(64)
    prefill = statistics.median(side.prefill(512) for _ in range(RUNS))
    decode = statistics.median(side.decode(64, DEPTH) for _ in range(RUNS))
    side.close()
    peak = "bf16, GFLOP/s" if file_type == "BF16" else "int8, GOP/s"
    arithmetic, read = prefill * OPERATIONS, decode * (os.path.getsize(path) + (DEPTH + 32) * KV_BYTES) * 1e-9
    for name, rate, reached, limit in (("prefill 512", prefill, arithmetic, peak), ("decode 64", decode, read, "read, GB/s")):
        of = limits.get((threads, limit))
        print(f"| {name}, {file_type} | {threads} | {rate:.1f} | {limit} | {reached:.1f} | "
              f"{f'{100 * reached / of:.0f} %' if of else '–'} |", flush=True)


def depth(file_type, threads):
    """int8 against f16, neighbouring runs."""
    path, prompt = model_file(file_type), random_tokens(DEEP)
    sides = {kind: Ours(threads) for kind in ("f16", "int8")}
    for kind, side in sides.items():
        side.load(path, context_length=DEEP + 128, kv_cache_dtype=kind, warmup=True)
        side.decode_after([prompt], 8)
    runs = [[side.decode_after([prompt], 64) for side in sides.values()] for _ in range(2 * RUNS + 1)]
    f16, int8 = (statistics.median(column) for column in zip(*runs))
    ratio = statistics.median(b / a for a, b in runs)
    print(f"| {file_type} | {threads} | {f16:.1f} | {int8:.1f} | {ratio:.2f} |", flush=True)
    for side in sides.values():
        side.close()


def main():
    text = subprocess.run([LIMITS, str(max(THREADS))], check=True, capture_output=True, text=True).stdout
    print(f"{machine()}\n\n{text}", flush=True)
    limits = {(int(t), name): float(value) for t, name, value in
              re.findall(r"^\| (\d+) \| (.*?) \| ([\d.]+) \|$", text, re.M)}
    cases = [(file_type, threads) for file_type in TYPES for threads in THREADS]
    if "steps" in PARTS:
        print("| whole step | threads | tokens/s | bound by | reached | of the limit |\n|---|---|---|---|---|---|")
        for case in cases:
            steps(*case, limits)
    if "depth" in PARTS:
        print(f"\n| decode at {DEEP}, tokens/s | threads | f16 | int8 | int8 / f16 |\n|---|---|---|---|---|")
        for case in cases:
            depth(*case)


if __name__ == "__main__":
    main()
