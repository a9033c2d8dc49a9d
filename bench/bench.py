#!/usr/bin/env python3
"""Measures tandem as a host sees it and prints the block of Markdown that SPEED.md logs.

Each figure is the median of several runs; through-the-controller and direct runs alternate,
so that a busy moment of the machine meets both. `bench.py wire` or `bench.py model` runs half.
"""
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TANDEM = os.environ.get("TANDEM", os.path.join(ROOT, "build/tandem"))
WORKER = os.environ.get("TANDEM_WORKER", os.path.join(ROOT, "build/tandem-worker"))
SHARED = os.environ.get("SHARED", os.path.join(ROOT, "../shared"))
MODELS = {"novel-7m": os.path.join(ROOT, "models/novel-7m"), "novel-30m": os.path.join(SHARED, "models/novel-30m")}
RUNS = 5
TWENTY_TOKENS = "It was a cold evening in November when the old man came home to his wife."


class Pipe:
    """The least a host can be: one thread, write a line, read lines."""

    def __init__(self, *argv):
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL)
        self.last_id = 0

    def send(self, method, params):
        self.last_id += 1
        line = json.dumps({"jsonrpc": "2.0", "id": self.last_id, "method": method, "params": params}) + "\n"
        os.write(self.process.stdin.fileno(), line.encode())
        return self.last_id

    def read(self):
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("the process ended")
        return line

    def call(self, method, **params):
        request_id = self.send(method, params)
        while True:
            message = json.loads(self.read())
            if message.get("id") == request_id:
                if "error" in message:
                    raise SystemExit(f"{method}: {message['error']}")
                return message["result"]

    def until_ended(self, n):
        """Read n streams to their ends: (bytes, tokens, time) of each chunk."""
        chunks = []
        while n:
            line = self.read()
            if b'"stream.chunk"' in line:
                params = json.loads(line)["params"]
                chunks.append((len(line), len(params.get("tokens", [0])), time.perf_counter()))
            elif b'"stream.event"' in line:
                n -= 1
        return chunks

    def close(self):
        self.process.stdin.close()
        self.process.wait(60)


def percentile(values, q):
    return sorted(values)[min(len(values) - 1, int(q * len(values)))]


def median_of(runs):
    return statistics.median(runs)


def tokenize_latency(pipe, n=1000):
    params = {"model_id": "m", "text": TWENTY_TOKENS}
    times = []
    for i in range(n + 100):
        began = time.perf_counter()
        pipe.send("tokenize", params)
        pipe.read()
        if i >= 100:
            times.append(1e6 * (time.perf_counter() - began))
    return times


def handshake_latency(pipe, n=300):
    times = []
    for i in range(n + 20):
        params = {"model_id": "m", "prompt": "The old house", "max_tokens": 1, "stream_id": f"h{i}"}
        began = time.perf_counter()
        pipe.send("generate", params)
        pipe.read()
        if i >= 20:
            times.append(1e6 * (time.perf_counter() - began))
        pipe.until_ended(1)
    return times


def lone_calls(through, direct):
    rows = []
    for name, measure in (("tokenize, 20 tokens", tokenize_latency), ("generate handshake", handshake_latency)):
        runs = [(measure(through), measure(direct)) for _ in range(RUNS)]
        cells = []
        for q in (0.5, 0.99):
            a, b = (median_of([percentile(run[side], q) for run in runs]) for side in (0, 1))
            cells += [a, b, a - b]
        rows.append(f"| {name} | " + " | ".join(f"{c:.0f}" for c in cells) + " |")
    print("| lone call, µs | p50 via tandem | direct | difference | p99 via tandem | direct | difference |")
    print("|---|---|---|---|---|---|---|", *rows, sep="\n")


def burst(pipe):
    def frames():
        return pipe.call("runtime/telemetry")["frames_out"]

    times, counts = [], []
    for _ in range(RUNS):
        before = frames()
        lines = [json.dumps({"jsonrpc": "2.0", "id": f"b{i}", "method": "tokenize",
                             "params": {"model_id": "m", "text": TWENTY_TOKENS}}) for i in range(1000)]
        data = ("\n".join(lines) + "\n").encode()
        began = time.perf_counter()
        pipe.process.stdin.write(data)
        pipe.process.stdin.flush()
        for _ in range(1000):
            pipe.read()
        times.append(1e3 * (time.perf_counter() - began))
        counts.append(frames() - before)
    print(f"| 1000 tokenize at once | {median_of(times):.1f} ms in {median_of(counts):.0f} frames |")


def bytes_per_token(pipe):
    pipe.send("generate", {"model_id": "m", "prompt": "Once upon a time", "max_tokens": 400, "ignore_eos": True,
                           "seed": 1})
    chunks = pipe.until_ended(1)
    total, tokens = sum(c[0] for c in chunks), sum(c[1] for c in chunks)
    print(f"| bytes per streamed token | {total / tokens:.0f} ({tokens} tokens in {len(chunks)} chunks) |")


def load_times(pipe, path):
    times = []
    for _ in range(RUNS):
        pipe.call("unload_model", model_id="m")
        began = time.perf_counter()
        pipe.call("load_model", model_id="m", local_path=path)
        times.append(1e3 * (time.perf_counter() - began))
    return median_of(times)


def prefill_rate(pipe, batch, n_tokens=448):
    """Prompt tokens per second of `batch` prompts that arrive together; each is new to any cache."""
    rng = random.Random(batch)
    rates = []
    for _ in range(RUNS):
        prompts = [[1] + [rng.randrange(300, 4000) for _ in range(n_tokens - 1)] for _ in range(batch)]
        began = time.perf_counter()
        for p in prompts:
            pipe.send("generate", {"model_id": "m", "prompt_tokens": p, "max_tokens": 1, "temperature": 0})
        ended = max(t for _, _, t in pipe.until_ended(batch))
        rates.append(batch * n_tokens / (ended - began))
    return median_of(rates)


def decode_rate(pipe, batch, n_tokens=256):
    """Tokens per second of all streams together, between the moment all run and the first end."""
    rates = []
    for run in range(RUNS):
        for i in range(batch):
            pipe.send("generate", {"model_id": "m", "prompt": f"{run} {i} Once upon a time", "ignore_eos": True,
                                   "max_tokens": n_tokens, "temperature": 0})
        chunks = pipe.until_ended(batch)
        tail = chunks[len(chunks) // 10:len(chunks) * 9 // 10]
        rates.append(sum(n for _, n, _ in tail[1:]) / (tail[-1][2] - tail[0][2]))
    return median_of(rates)


def models():
    print("\n| model | load, ms | prefill 448, tok/s, batch 1 | batch 8 | decode 256, tok/s, batch 1 | batch 8 |")
    print("|---|---|---|---|---|---|")
    for name, path in MODELS.items():
        if not os.path.exists(path):
            print(f"| {name} | skipped: {path} is not here |")
            continue
        pipe = Pipe(TANDEM, "--worker", WORKER)
        pipe.call("load_model", model_id="m", local_path=path)
        cells = [load_times(pipe, path), prefill_rate(pipe, 1), prefill_rate(pipe, 8), decode_rate(pipe, 1),
                 decode_rate(pipe, 8)]
        print(f"| {name} | " + " | ".join(f"{c:.0f}" for c in cells) + " |")
        pipe.close()


def wire():
    through, direct = Pipe(TANDEM, "--worker", WORKER), Pipe(WORKER)
    for pipe in (through, direct):
        pipe.call("load_model", model_id="m", local_path=MODELS["novel-7m"])
    lone_calls(through, direct)
    print("\n| | |\n|---|---|")
    burst(through)
    bytes_per_token(through)
    through.close()
    direct.close()


def machine():
    with open("/proc/cpuinfo") as f:
        model = next((line.split(":")[1].strip() for line in f if line.startswith("model name")), platform.machine())
    return f"{os.cpu_count()} × {model}, {platform.system()} {platform.release()}"


def main():
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    print(f"### {time.strftime('%Y-%m-%d')}, commit {commit.stdout.strip() or '?'}\n\n{machine()}; "
          f"medians of {RUNS} runs.\n")
    if "model" not in sys.argv[1:]:
        wire()
    if "wire" not in sys.argv[1:]:
        models()


if __name__ == "__main__":
    main()
