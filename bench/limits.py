#!/usr/bin/env python3
"""What the machine can do, and which part of it kernels and whole steps use: `make bench-limits`.

    TYPES="Q4_0" THREADS="1 2"

The C half measures the limits and the kernels; then the real binary reads a prompt of 512 tokens and
decodes 64 on the files of bench-compare. Prefill is set against the arithmetic (multiplications and
additions of the matrices, the embedding's left out, against the int8 peak, for BF16 files against the
bf16 peak), decode against the read bandwidth (the file and the f16 K and V of each token). Attention's
arithmetic and the sampler count as time and not as work.
"""
import os
import re
import statistics
import subprocess

from bench import ROOT, machine
from compare import Ours, model_file

LIMITS = os.path.join(ROOT, "build/release/bin/bench_limits")
TYPES = os.environ.get("TYPES", "Q4_0").split()
THREADS = [int(t) for t in os.environ.get("THREADS", "1 2").split()]
OPERATIONS = 1.946  # giga, per token: two for each weight of the layers
KV_BYTES = 2 * 16 * 512 * 2  # per position
RUNS = 3
DEPTH = 128


def steps(file_type, threads, limits):
    path = model_file(file_type)
    side = Ours(threads)
    side.load(path)
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


def main():
    text = subprocess.run([LIMITS, str(max(THREADS))], check=True, capture_output=True, text=True).stdout
    print(f"{machine()}\n\n{text}")
    limits = {(int(t), name): float(value) for t, name, value in
              re.findall(r"^\| (\d+) \| (.*?) \| ([\d.]+) \|$", text, re.M)}
    print("| whole step | threads | tokens/s | bound by | reached | of the limit |\n|---|---|---|---|---|---|")
    for file_type in TYPES:
        for threads in THREADS:
            steps(file_type, threads, limits)


if __name__ == "__main__":
    main()
