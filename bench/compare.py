#!/usr/bin/env python3
"""tandem and llama.cpp on the same files, in turns within one run: `make bench-compare`.

    TYPES="Q4_0 BF16" TESTS="pp512 tg128 tg128@2048 par8 load rss" THREADS="1 2" RUNS=3

pp512 is a prompt of 512 tokens, tg128@2048 the decoding of 128 after 2048, par8 eight sequences
decoding together (all their tokens per second), load and rss what a process of its own takes. Without
TESTS, Q4_0 meets all of them and the other types only pp512 and tg128. Ours is the real binary over
JSON-RPC, its sampler and its pipes included. A test is repeated RUNS times, alternating, but begun
again only while SECONDS (15) have not passed on it; figures are medians, and the ratio is the median
of the ratios of neighbouring runs. What counts is the ratio: the machine's other work meets both.
"""
import json
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import time

from bench import ROOT, TANDEM, WORKER, Pipe, machine

PEER = os.path.join(ROOT, "build/peer/node_modules/node-llama-cpp/dist/index.js")
FILES = os.path.join(ROOT, "build/bench")
CACHE = os.path.join(FILES, "cache")  # packed weights; not the user's
os.environ["XDG_CACHE_HOME"] = CACHE
WRITER = os.path.join(ROOT, "build/release/bin/bench_gguf")
ALL = "pp128 pp512 pp2048 tg128 tg128@2048 par2 par4 par8 load rss"
FEW = "pp512 tg128"
TYPES = os.environ.get("TYPES", "Q4_0 Q8_0 Q4_K_M BF16").split()
THREADS = [int(t) for t in os.environ.get("THREADS", "1 2").split()]
RUNS = int(os.environ.get("RUNS", "3"))
SECONDS = float(os.environ.get("SECONDS", "15"))
TOGETHER = {"n": 64, "at": 128}  # tokens decoded by each of several sequences, and their prompts


def random_tokens(n):
    return [random.randrange(256, 100256) for _ in range(n)]


class Ours:
    """tandem with one worker. A rate is taken from the arrival of chunks at this host."""

    def __init__(self, threads):
        self.pipe = Pipe(TANDEM, f"--threads={threads}", "--worker", WORKER)
        self.pipe.call("runtime/info")  # the worker is up: its start is no model's load

    def load(self, file, context_length=4096, kv_cache_dtype="f16", warmup=False):
        began = time.perf_counter()
        self.pipe.call("load_model", model_id="m", local_path=file, context_length=context_length,
                       kv_cache_dtype=kv_cache_dtype, warmup=warmup)
        load = time.perf_counter() - began
        self.prefill(1)
        return {"load": load, "first_token": time.perf_counter() - began}

    def open(self, context_size, sequences):
        pass  # its cache is paged

    def start(self, prompt, n):
        self.pipe.send("generate", {"model_id": "m", "prompt_tokens": prompt, "max_tokens": n, "temperature": 0,
                                    "ignore_eos": True})

    def arrivals(self, n_streams):
        """Per stream its (time, tokens) of each chunk, once all have ended."""
        streams = {}
        while n_streams:
            message = json.loads(self.pipe.read())
            method, params = message.get("method"), message.get("params", {})
            if method == "stream.chunk":
                chunk = (time.perf_counter(), len(params.get("tokens", [0])))
                streams.setdefault(params["stream_id"], []).append(chunk)
            elif method == "stream.event":
                if params.get("finish_reason") != "length":
                    raise SystemExit(f"tandem: {params}")
                n_streams -= 1
            elif "error" in message:
                raise SystemExit(f"tandem: {message['error']}")
        return streams.values()

    def prefill(self, n):
        prompt = random_tokens(n)
        began = time.perf_counter()
        self.start(prompt, 1)
        self.arrivals(1)
        return n / (time.perf_counter() - began)

    def decode(self, n, at):
        return self.together(1, n, at)

    def together(self, sequences, n, at):
        return self.decode_after([random_tokens(max(at, 1)) for _ in range(sequences)], n)

    def decode_after(self, prompts, n):
        """Tokens that arrive while every stream runs: after all began, until the first ended."""
        for prompt in prompts:
            self.start(prompt, n + 1 + (len(prompts) > 1) * n // 2)
        streams = self.arrivals(len(prompts))
        began, ended = max(s[0][0] for s in streams), min(s[-1][0] for s in streams)
        return sum(k for s in streams for t, k in s if began < t <= ended) / (ended - began)

    def processes(self):
        with open(f"/proc/{self.pipe.process.pid}/task/{self.pipe.process.pid}/children") as f:
            return [self.pipe.process.pid] + [int(p) for p in f.read().split()]

    def close(self):
        self.pipe.close()


class Peer:
    def __init__(self, threads):
        self.threads = threads
        self.process = subprocess.Popen(["node", os.path.join(ROOT, "bench/peer_llama_cpp.mjs"), PEER],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, **command):
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("llama.cpp ended")
        return json.loads(line)

    def load(self, file):
        return self.ask(command="load", file=file, threads=self.threads)

    def open(self, context_size, sequences):
        self.ask(command="open", context_size=context_size, sequences=sequences)

    def prefill(self, n):
        return self.ask(command="prefill", n=n)["rate"]

    def decode(self, n, at):
        return self.ask(command="decode", n=n, at=at)["rate"]

    def together(self, sequences, n, at):
        return self.ask(command="together", sequences=sequences, n=n, at=at)["rate"]

    def processes(self):
        return [self.process.pid]

    def close(self):
        self.process.stdin.close()
        self.process.wait(60)


def plan(test):
    """What one run of `test` calls on either side, and the (context, sequences) it needs."""
    if m := re.fullmatch(r"pp(\d+)", test):
        n = int(m[1])
        return lambda side: side.prefill(n), (n + 16, 1)
    if m := re.fullmatch(r"tg(\d+)(?:@(\d+))?", test):
        n, at = int(m[1]), int(m[2] or 0)
        return lambda side: side.decode(n, at), (n + at + 16, 1)
    if m := re.fullmatch(r"par(\d+)", test):
        n = int(m[1])
        return lambda side: side.together(n, **TOGETHER), ((TOGETHER["n"] + TOGETHER["at"]) + 16, n)
    raise SystemExit(f"no such test: {test} (there are {ALL}, with any numbers)")


def row(file_type, threads, test, pairs, better="more"):
    ours, theirs = (statistics.median(p[i] for p in pairs) for i in (0, 1))
    ratio = statistics.median(p[0] / p[1] for p in pairs)
    digits = 1 if ours < 100 else 0
    print(f"| {file_type} | {threads} | {test} | {ours:.{digits}f} | {theirs:.{digits}f} | {ratio:.2f}"
          f"{'' if better == 'more' else ' (less is better)'} | {len(pairs)} |", flush=True)


def in_turns(run, sides):
    pairs, began = [], time.perf_counter()
    while len(pairs) < RUNS and (not pairs or time.perf_counter() - began < SECONDS):
        order = (0, 1) if len(pairs) % 2 == 0 else (1, 0)
        values = {i: run(sides[i]) for i in order}
        pairs.append((values[0], values[1]))
    return pairs


def proportional_mb(side):
    """Resident megabytes, pages shared with others counted in part."""
    total = 0
    for pid in side.processes():
        with open(f"/proc/{pid}/smaps_rollup") as f:
            total += next(int(line.split()[1]) for line in f if line.startswith("Pss:"))
    return total / 1e3


def loads(file, file_type, threads):
    for state in ("cold", "warm"):
        pairs = []
        for _ in range(RUNS):
            times = []
            if state == "cold":
                shutil.rmtree(CACHE, ignore_errors=True)  # and never packed before
            for make in (Ours, Peer):
                side = make(threads)
                if state == "cold":  # out of the page cache
                    fd = os.open(file, os.O_RDONLY)
                    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
                    os.close(fd)
                times.append(side.load(file))
                side.close()
            pairs.append(times)
        for key, name in (("load", "load"), ("first_token", "load and one token")):
            row(file_type, threads, f"{name}, {state}, ms", [(1e3 * a[key], 1e3 * b[key]) for a, b in pairs], "less")


def resident(file, file_type, threads):
    """One side after the other, so that neither shares the file's pages with the other."""
    sizes = []
    for make in (Ours, Peer):
        side = make(threads)
        side.load(file)
        side.prefill(512)
        sizes.append(proportional_mb(side))
        side.close()
    row(file_type, threads, "memory after 512 tokens, MB", [sizes], "less")


def rates(file, file_type, threads, tests):
    ours, peer = sides = [Ours(threads), Peer(threads)]
    ours.load(file, warmup=True)  # the peer, too, writes to all of its cache before the first prompt
    peer.load(file)
    needs = [plan(t)[1] for t in tests]
    last = None
    for test, need in zip(tests, needs):
        shape = (max(n for n, s in needs if s == need[1]), need[1])
        if shape != last:
            for side in sides:
                side.open(*shape)
        last = shape
        row(file_type, threads, test, in_turns(plan(test)[0], sides))
    for side in sides:
        side.close()


def model_file(file_type):
    path = os.path.join(FILES, f"llama-1b-{file_type}.gguf")
    if not os.path.exists(path):
        os.makedirs(FILES, exist_ok=True)
        subprocess.run([WRITER, file_type, path + ".new"], check=True)
        os.rename(path + ".new", path)
    with open(path, "rb") as f:  # into the page cache
        while f.read(1 << 24):
            pass
    return path


def main():
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    files = {t: model_file(t) for t in TYPES}
    print(f"### {time.strftime('%Y-%m-%d')}, commit {commit.stdout.strip() or '?'}, against llama.cpp\n\n{machine()}\n")
    print("| file | threads | test | tandem, tok/s | llama.cpp | ratio | runs |\n|---|---|---|---|---|---|---|")
    for i, file_type in enumerate(TYPES):
        tests = os.environ.get("TESTS", ALL if i == 0 else FEW).split()
        for threads in THREADS:
            timed = [t for t in tests if t not in ("load", "rss")]
            if timed:
                rates(files[file_type], file_type, threads, timed)
            if "load" in tests:
                loads(files[file_type], file_type, threads)
            if "rss" in tests:
                resident(files[file_type], file_type, threads)


if __name__ == "__main__":
    sys.exit(main())
