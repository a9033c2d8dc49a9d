#!/usr/bin/env python3
"""What the requests of one worker cost each other: `make bench-engine`.

    MODEL=FILE PARTS="streams long prefix tokenize" THREADS=2 RUNS=3 python3 bench/engine.py

streams   tokens/s of 16 streams together against one alone, and against llama.cpp with 16
          sequences where make bench-compare has installed it, all in turns
long      time between the tokens of 4 running streams, alone and while a prompt of 2048 is read
prefix    50 questions over one document of 1500 tokens: time to first token, cold and after
tokenize  lone calls at random moments, with nothing else to do and while 16 streams decode

MODEL is the shape of Llama-3.2-1B in Q4_0 unless given. No part depends on what the tokens are.
"""
import json
import os
import random
import select
import statistics
import time

from bench import TWENTY_TOKENS, WORKER, Pipe, machine, percentile
from compare import PEER, THREADS, Peer, model_file

MODEL = os.environ.get("MODEL")
PARTS = os.environ.get("PARTS", "streams long prefix tokenize").split()
N_THREADS = THREADS[-1]
RUNS = int(os.environ.get("RUNS", "3"))
TOGETHER, PROMPT, TOKENS = 16, 16, 64
LONG = 1024  # tokens of a stream that is there to compute; 16 of them have room in the default pool
RANDOM = random.Random(1)


class Streams(Pipe):
    """A worker, and what its streams were seen to do."""

    def __init__(self, model):
        super().__init__(WORKER, f"--threads={N_THREADS}")
        self.file, self.unread = model, b""
        info = self.call("load_model", model_id="m", local_path=os.path.abspath(model), kv_cache_dtype="f16")
        self.vocab, self.context = info["vocab_size"], min(info["context_length"], 4096)
        self.times, self.stats, self.answers = {}, {}, {}

    def read(self):
        while b"\n" not in self.unread:
            data = os.read(self.process.stdout.fileno(), 65536)
            if not data:
                raise SystemExit("the worker ended")
            self.unread += data
        line, _, self.unread = self.unread.partition(b"\n")
        return line

    def is_readable(self, seconds):
        return b"\n" in self.unread or select.select([self.process.stdout], [], [], seconds)[0]

    def resident(self):
        """Kilobytes of its own, without files that it maps."""
        with open(f"/proc/{self.process.pid}/status") as f:
            return next(int(line.split()[1]) for line in f if line.startswith("RssAnon:"))

    def ids(self, n):
        return [RANDOM.randrange(10, self.vocab - 300) for _ in range(n)]

    def start(self, prompt, max_tokens, **more):
        name = f"s{len(self.times)}"
        self.times[name] = []
        self.send("generate", {"model_id": "m", "prompt_tokens": prompt, "max_tokens": max_tokens, "stream_id": name,
                               "ignore_eos": True, "temperature": 0, "stream_options": {"max_delay_ms": 0}, **more})
        return name

    def take(self):
        """One message; the name of the stream that it ends, if any."""
        message = json.loads(self.read())
        params = message.get("params", {})
        if "error" in message:
            raise SystemExit(f"tandem: {message['error']}")
        if "id" in message:
            self.answers[message["id"]] = time.perf_counter()
        if message.get("method") == "stream.chunk":
            self.times[params["stream_id"]] += [time.perf_counter()] * len(params.get("tokens", [0]))
        elif message.get("method") == "stream.stats":
            self.stats[params["stream_id"]] = params
        elif message.get("method") == "stream.event":
            return params["stream_id"]
        return None

    def finish(self, names):
        left = set(names)
        while left:
            left.discard(self.take())

    def cancel(self, names):
        for name in names:
            self.send("cancel", {"stream_id": name})
        self.finish(set(names) - set(self.stats))

    def begin(self, n, max_tokens, n_seen):
        """n streams, all of which have said n_seen tokens."""
        names = [self.start(self.ids(PROMPT), min(max_tokens, self.context - 2 * PROMPT)) for _ in range(n)]
        while min(len(self.times[name]) for name in names) < n_seen:
            self.take()
        return names

    def gaps(self, names, since=0.0, until=float("inf")):
        return [1e3 * (b - a) for name in names for a, b in zip(self.times[name], self.times[name][1:])
                if since <= a and b <= until]

    def rate(self, n):
        """Tokens per second of n streams, from when all have begun until the first has ended."""
        names = [self.start(self.ids(PROMPT), TOKENS) for _ in range(n)]
        self.finish(names)
        began, ended = (edge(self.times[name][at] for name in names) for edge, at in ((max, 0), (min, -1)))
        return sum(began < t <= ended for name in names for t in self.times[name]) / (ended - began)


def streams(pipe):
    peer = Peer(N_THREADS) if os.path.exists(PEER) and pipe.file.endswith(".gguf") else None
    if peer:
        peer.load(pipe.file)
        peer.open(PROMPT + TOKENS + 16, TOGETHER)
    pipe.rate(1)
    one, many, theirs = [], [], []
    for _ in range(RUNS):
        one.append(pipe.rate(1))
        many.append(pipe.rate(TOGETHER))
        if peer:
            theirs.append(peer.together(TOGETHER, TOKENS, PROMPT))
    print(f"streams: one {statistics.median(one):.1f} tokens/s, {TOGETHER} together {statistics.median(many):.1f}: "
          f"{statistics.median(b / a for a, b in zip(one, many)):.2f} times")
    if peer:
        print(f"streams: llama.cpp with {TOGETHER} sequences {statistics.median(theirs):.1f}: tandem has "
              f"{statistics.median(b / a for a, b in zip(theirs, many)):.2f} times that")
        peer.close()


def long(pipe):
    n_prompt = min(2048, pipe.context - 4 * PROMPT)
    names = pipe.begin(4, 1000, 60)
    idle = pipe.gaps(names)[16:]
    began = time.perf_counter()
    reader = pipe.start(pipe.ids(n_prompt), 1, cache_prompt=False)
    while pipe.take() != reader:
        pass
    ended = time.perf_counter()
    busy = pipe.gaps(names, began, ended)
    pipe.cancel(names)
    base, late = statistics.median(idle), percentile(busy, 0.99)
    print(f"long: median {base:.1f} ms between tokens, p99 {percentile(idle, 0.99):.1f}; while {n_prompt} tokens were "
          f"read in {ended - began:.1f} s median {statistics.median(busy):.1f}, p99 {late:.1f} ms: "
          f"{late / base:.2f} times the first ({len(busy)} gaps)")


def prefix(pipe):
    document = pipe.ids(min(1500, pipe.context - 4 * PROMPT))

    def first(scope):
        began = time.perf_counter()
        name = pipe.start(document + pipe.ids(12), 1, cache_scope=scope)
        pipe.finish([name])
        return 1e3 * (pipe.times[name][0] - began), pipe.stats[name]["usage"]["cached_tokens"]
    cold, _ = first("a")
    resident = pipe.resident()
    after = [first("a") for _ in range(50)]
    grown = pipe.resident() - resident
    other, n_other = first("b")
    warm = statistics.median(t for t, _ in after)
    print(f"prefix: {len(document)} tokens cold {cold:.0f} ms; 50 questions after it median {warm:.1f} ms "
          f"({100 * warm / cold:.1f} %), worst {max(t for t, _ in after):.1f} ms, {after[0][1]} tokens cached, "
          f"{grown / 1024:.1f} MB more resident; in another scope {other:.0f} ms, {n_other} cached")


def lone_tokenize(pipe, seconds, names):
    """Each call finds both sides asleep, so it has to get a core first. Streams that end begin anew."""
    times, names = [], set(names)
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        until = time.perf_counter() + RANDOM.uniform(0.001, 0.01)
        wanted = None
        while wanted not in pipe.answers:
            left = until - time.perf_counter()
            if wanted is None and left <= 0:
                began = time.perf_counter()
                wanted = pipe.send("tokenize", {"model_id": "m", "text": TWENTY_TOKENS})
            if (wanted or pipe.is_readable(left)) and (over := pipe.take()) in names:
                names.remove(over)
                names.add(pipe.start(pipe.ids(PROMPT), LONG))
        times.append(1e3 * (pipe.answers[wanted] - began))
    pipe.cancel(names)
    return times


def tokenize(pipe):
    for what, n in (("with nothing else to do", 0), (f"while {TOGETHER} streams decode", TOGETHER)):
        times = lone_tokenize(pipe, 2 + n / 2, pipe.begin(n, LONG, 4) if n else [])
        print(f"tokenize {what}: median {statistics.median(times):.3f} ms, p99 {percentile(times, 0.99):.3f}, "
              f"worst {max(times):.3f} of {len(times)}")


def main():
    file = MODEL or model_file("Q4_0")
    print(f"### {time.strftime('%Y-%m-%d')}, {os.path.basename(file)}, {N_THREADS} threads\n\n{machine()}\n", flush=True)
    pipe = Streams(file)
    for part in PARTS:
        {"streams": streams, "long": long, "prefix": prefix, "tokenize": tokenize}[part](pipe)
    pipe.close()


if __name__ == "__main__":
    main()
