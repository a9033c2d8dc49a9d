#!/usr/bin/env python3
"""Does a worker grow? Many short requests of every kind through one: `make bench-steady`.

    REQUESTS=1000000 MODEL=models/novel-7m KV_BYTES=16M THREADS=2 python3 bench/steady.py

64 are under way at any time. What is resident after the first 10,000 (or the first half, if that is
less) must be what is resident at the end, within 2 %: the exit status says whether it is. Both are
looked up a second later, when the worker has given back what the last large ones took. The KV
pool is small enough for the prefix cache to have filled it by then.
"""
import json
import os
import random
import sys
import time

from bench import MODELS, WORKER, Pipe, machine

REQUESTS = int(os.environ.get("REQUESTS", "20000"))
MODEL = os.environ.get("MODEL", MODELS["novel-7m"])
THREADS = os.environ.get("THREADS", str(os.cpu_count()))
KV_BYTES = os.environ.get("KV_BYTES", "16M")
UNDER_WAY = 64
FIRST = min(10000, REQUESTS // 2)
RANDOM = random.Random(1)
WORDS = "the old house stood at end of a lane where nobody went after dark but she had seen light there twice".split()


def text(most):
    """Rarely one that was there before."""
    return " ".join(RANDOM.choice(WORDS) + str(RANDOM.randrange(100)) * (RANDOM.random() < 0.2)
                    for _ in range(RANDOM.randrange(1, most)))


def whole(_):
    return "generate", {"prompt": text(24), "max_tokens": RANDOM.randrange(1, 4), "stream": False,
                        "temperature": RANDOM.choice([0, 0.8])}


def streamed(n):
    return "generate", {"prompt": text(24), "max_tokens": RANDOM.randrange(1, 4), "stream_id": f"s{n}",
                        "logprobs": RANDOM.random() < 0.5, "n": RANDOM.choice([1, 1, 1, 2])}


def drafted(_):
    return "generate", {"prompt": text(8) * 2, "max_tokens": 4, "stream": False, "speculative": {"mode": "ngram"}}


def tokenize(_):
    return "tokenize", {"text": text(30)}


def detokenize(_):
    return "detokenize", {"tokens": [RANDOM.randrange(300, 4000) for _ in range(8)]}


def check_draft(_):
    return "check_draft", {"prompt_tokens": [RANDOM.randrange(300, 4000) for _ in range(6)],
                           "draft_tokens": [RANDOM.randrange(300, 4000) for _ in range(3)]}


def embed(_):
    return "embed", {"input": text(10)}


def wrong(_):
    return "generate", {"prompt": "x", "max_tokens": -1}


def too_long(n):
    return "generate", {"prompt_tokens": [300] * 100000, "max_tokens": 1} if n % 50 == 0 else {"prompt": 7}


KINDS = [whole] * 6 + [streamed] * 4 + [tokenize] * 5 + [drafted, detokenize, check_draft, embed, wrong, too_long]


class Steady(Pipe):
    def __init__(self):
        super().__init__(WORKER, f"--threads={THREADS}", f"--kv-bytes={KV_BYTES}")
        self.unread, self.pending = b"", {}  # the stream of each request's id, or None
        self.n_sent = self.n_over = self.n_refused = 0
        self.call("load_model", model_id="m", local_path=os.path.abspath(MODEL))

    def ask(self):
        method, params = RANDOM.choice(KINDS)(self.n_sent)
        self.n_sent += 1
        stream = params.get("stream_id")
        self.pending[self.send(method, {"model_id": "m", **params})] = stream
        if stream and RANDOM.random() < 0.1:
            self.send("cancel", {"stream_id": stream})

    def hear(self, line):
        """One message, which may end a request."""
        message = json.loads(line)
        if message.get("method") == "stream.event":
            self.n_over += 1
        elif message.get("id") in self.pending:
            stream = self.pending.pop(message["id"])
            self.n_over += not stream or "error" in message
            self.n_refused += "error" in message

    def hear_some(self):
        data = os.read(self.process.stdout.fileno(), 1 << 18)
        if not data:
            raise SystemExit("the worker ended")
        *lines, self.unread = (self.unread + data).split(b"\n")
        for line in lines:
            if b'"stream.chunk"' not in line and b'"stream.stats"' not in line:
                self.hear(line)

    def run_until(self, n):
        while self.n_over < n:
            while self.n_sent < n and self.n_sent - self.n_over < UNDER_WAY:
                self.ask()
            self.hear_some()

    def resident(self):
        with open(f"/proc/{self.process.pid}/status") as f:
            return next(int(line.split()[1]) for line in f if line.startswith("VmRSS:"))


def main():
    worker, began = Steady(), time.perf_counter()
    print(f"### {time.strftime('%Y-%m-%d')}, {REQUESTS} requests, {os.path.basename(MODEL)}, {THREADS} threads\n\n"
          f"{machine()}\n\n| requests | seconds | resident, KB | of the first |\n|---|---|---|---|")
    points = sorted({FIRST} | {max(FIRST, REQUESTS * tenth // 10) for tenth in range(1, 11)})
    sizes = []
    for n in points:
        worker.run_until(n)
        time.sleep(1)
        sizes.append(worker.resident())
        print(f"| {n} | {time.perf_counter() - began:.0f} | {sizes[-1]} | {sizes[-1] / sizes[0]:.4f} |", flush=True)
    print(f"\n{worker.n_refused} of them were refused, as they should be.")
    worker.close()
    return 0 if sizes[-1] <= 1.02 * sizes[0] else 1


if __name__ == "__main__":
    sys.exit(main())
