#!/usr/bin/env python3
"""The reference system's own scenarios, each with its feature off and on in the same run: `make bench-scenarios`.

    RUNS=3 CASES="tokenize switches mixed questions" MODEL=FILE.gguf python3 bench/scenarios.py

tokenize: 1000 calls, each after the answer to the one before (off), and all at once (on).
switches: among five models; each switch unloads one and loads the next without the cache of packed weights
(off), or names the next, with room for three of the five (--model-bytes) or for all (on).
mixed: 16 clients, of whose calls 40 % generate, 40 % tokenize and 20 % switch; one call at a time and each
switch a load (off), or every client for itself with all models resident (on).
questions: 50 on one model; one after the other, and all at once; beside llama.cpp through node-llama-cpp where
build/peer has it (`make bench-compare` puts it there), one after the other. Figures are medians of RUNS turns.
"""
import fcntl
import json
import os
import random
import statistics
import subprocess
import time

from bench import MODELS, ROOT, SHARED, TANDEM, TWENTY_TOKENS, WORKER, Pipe, machine

PEER = os.path.join(ROOT, "build/peer/node_modules/node-llama-cpp/dist/index.js")
os.environ["XDG_CACHE_HOME"] = os.path.join(ROOT, "build/bench/cache")  # packed weights; not the user's
RUNS = int(os.environ.get("RUNS", "3"))
CASES = os.environ.get("CASES", "tokenize switches mixed questions").split()
GGUF = os.path.join(SHARED, "models/gguf")
QUESTION_MODEL = os.environ.get("MODEL", os.path.join(GGUF, "novel-7m-q4_0.gguf"))
F_SETPIPE_SZ, PIPE_BYTES = 1031, 1 << 20
QUESTIONS, QUESTION_TOKENS, ANSWER_TOKENS = 50, 48, 64


def five_models():
    """Five different ones where the reference models are here, else one under five names."""
    files = [os.path.join(GGUF, f"novel-7m-{t}.gguf") for t in ("f16", "q8_0", "q4_0", "q4_k_m")]
    files = [f for f in files if os.path.exists(f)]
    files += [MODELS["novel-7m"]] * (5 - len(files))
    return {f"m{i}": f for i, f in enumerate(files)}


def timed(work):
    began = time.perf_counter()
    work()
    return 1e3 * (time.perf_counter() - began)


def row(name, off, on):
    """off and on: milliseconds of neighbouring turns."""
    ratios = [a / b for a, b in zip(off, on)]
    print(f"| {name} | {statistics.median(off):.1f} | {statistics.median(on):.1f} | {statistics.median(ratios):.2f} |",
          flush=True)


def together(pipe, calls):
    """Send all calls at once; {number: result} when all are answered."""
    waiting, results = {}, {}
    lines = []
    for i, (method, params) in enumerate(calls):
        pipe.last_id += 1
        waiting[pipe.last_id] = i
        lines.append(json.dumps({"jsonrpc": "2.0", "id": pipe.last_id, "method": method, "params": params}))
    pipe.process.stdin.write(("\n".join(lines) + "\n").encode())
    pipe.process.stdin.flush()
    while waiting:
        message = json.loads(pipe.read())
        if message.get("id") in waiting:
            if "error" in message:
                raise SystemExit(message["error"])
            results[waiting.pop(message["id"])] = message["result"]
    return results


def generate(model_id, n, **more):
    return ("generate", {"model_id": model_id, "prompt": "It was a cold evening", "max_tokens": n, "temperature": 0,
                         "ignore_eos": True, "stream": False, **more})


# -- tokenize ------------------------------------------------------------------------------


def tokenize():
    """The host's own work is left out: lines are made before, answers are counted and not parsed, pipes hold
    all that is on its way, so that the host is woken no more often than it has to be."""
    pipe = Pipe(TANDEM, "--worker", WORKER)
    stdin, stdout = pipe.process.stdin.fileno(), pipe.process.stdout.fileno()
    for fd in (stdin, stdout):
        fcntl.fcntl(fd, F_SETPIPE_SZ, PIPE_BYTES)
    pipe.call("load_model", model_id="m", local_path=MODELS["novel-7m"])
    lines = [(json.dumps({"jsonrpc": "2.0", "id": i, "method": "tokenize",
                          "params": {"model_id": "m", "text": TWENTY_TOKENS}}) + "\n").encode() for i in range(1000)]

    whole = b"".join(lines)

    def ask(text, n):
        while text:
            text = text[os.write(stdin, text):]
        while n:
            answers = os.read(stdout, PIPE_BYTES)
            if not answers:
                raise SystemExit("the process ended")
            n -= answers.count(b"\n")

    def one_by_one():
        for line in lines:
            ask(line, 1)

    def at_once():
        ask(whole, len(lines))
    off, on = [], []
    for _ in range(RUNS):
        off.append(timed(one_by_one))
        on.append(timed(at_once))
    row("1000 tokenize calls: one by one, at once", off, on)
    pipe.close()


# -- switches ------------------------------------------------------------------------------


def order_of(n, models):
    rng, order = random.Random(n), []
    while len(order) < n:
        order.append(rng.choice([m for m in models if not order or m != order[-1]]))
    return order


def switch_cold(pipe, models, order):
    for model_id in order:
        pipe.call("load_model", model_id=model_id, local_path=models[model_id])
        method, params = generate(model_id, 1)
        pipe.call(method, **params)
        pipe.call("unload_model", model_id=model_id)


def switch_warm(pipe, order):
    for model_id in order:
        method, params = generate(model_id, 1)
        pipe.call(method, **params)


def resident(models, *options):
    pipe = Pipe(TANDEM, "--worker", WORKER, *options)
    sizes = [pipe.call("load_model", model_id=m, local_path=path)["memory_usage"] for m, path in models.items()]
    return pipe, sizes


def switches():
    models = five_models()
    all_in, sizes = resident(models)
    three_in, _ = resident(models, f"--model-bytes={sum(sorted(sizes)[-3:])}")
    for n in (10, 100):
        order, off, on, tight = order_of(n, list(models)), [], [], []
        for _ in range(RUNS):
            cold = Pipe(WORKER, "--no-cache")
            off.append(timed(lambda: switch_cold(cold, models, order)))
            cold.close()
            on.append(timed(lambda: switch_warm(all_in, order)))
            tight.append(timed(lambda: switch_warm(three_in, order)))
        row(f"{n} switches among 5 models: loads, all resident", off, on)
        row(f"{n} switches among 5 models: loads, room for three", off, tight)
    all_in.close()
    three_in.close()


# -- mixed ---------------------------------------------------------------------------------


def client_calls(number, models, n=10):
    """What one client does, in order: (kind, model)."""
    rng, model = random.Random(number), number % len(models)
    calls = []
    for i in range(n):
        kind = rng.choice(["generate"] * 4 + ["tokenize"] * 4 + ["switch"] * 2)
        if kind == "switch":
            model = (model + 1 + rng.randrange(len(models) - 1)) % len(models)
        calls.append((kind, list(models)[model]))
    return calls


def as_call(kind, model_id):
    if kind == "tokenize":
        return "tokenize", {"model_id": model_id, "text": TWENTY_TOKENS}
    return generate(model_id, 24 if kind == "generate" else 1)


def mixed_off(models):
    """Round robin, one call at a time; whatever model is not the loaded one is loaded in its place."""
    pipe, loaded = Pipe(WORKER, "--no-cache"), None
    clients = [client_calls(i, models) for i in range(16)]

    def work():
        nonlocal loaded
        for step in zip(*clients):
            for kind, model_id in step:
                if model_id != loaded:
                    if loaded:
                        pipe.call("unload_model", model_id=loaded)
                    pipe.call("load_model", model_id=model_id, local_path=models[model_id])
                    loaded = model_id
                method, params = as_call(kind, model_id)
                pipe.call(method, **params)
    took = timed(work)
    pipe.close()
    return took


def mixed_on(pipe, models):
    """Each client sends its next call when the last one is answered."""
    clients = [client_calls(i, models) for i in range(16)]
    owners = {}

    def send(client):
        if clients[client]:
            owners[pipe.send(*as_call(*clients[client].pop(0)))] = client

    def work():
        for client in range(16):
            send(client)
        while owners:
            message = json.loads(pipe.read())
            if "error" in message:
                raise SystemExit(message["error"])
            if message.get("id") in owners:
                send(owners.pop(message["id"]))
    return timed(work)


def mixed():
    models = five_models()
    pipe, _ = resident(models)
    off, on = [], []
    for _ in range(RUNS):
        off.append(mixed_off(models))
        on.append(mixed_on(pipe, models))
    row("16 clients, 160 calls mixed: serial with loads, together", off, on)
    pipe.close()


# -- questions -----------------------------------------------------------------------------


def questions(rng):
    return [[rng.randrange(300, 4000) for _ in range(QUESTION_TOKENS)] for _ in range(QUESTIONS)]


def ask(prompt):
    return "generate", {"model_id": "m", "prompt_tokens": prompt, "max_tokens": ANSWER_TOKENS, "temperature": 0,
                        "ignore_eos": True, "stream": False}


def ours(pipe, prompts, at_once):
    results = {}

    def work():
        if at_once:
            results.update(together(pipe, [ask(p) for p in prompts]))
        else:
            for i, p in enumerate(prompts):
                method, params = ask(p)
                results[i] = pipe.call(method, **params)
    took = timed(work)
    good = sum(len(r["tokens"]) == ANSWER_TOKENS for r in results.values())
    return took, statistics.median(r["timings"]["ttft_ms"] for r in results.values()), good


class Peer:
    def __init__(self, file):
        self.process = subprocess.Popen(["node", os.path.join(ROOT, "bench/peer_llama_cpp.mjs"), PEER],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.do(command="load", file=file, threads=os.cpu_count())
        self.do(command="open", context_size=512, sequences=1)

    def do(self, **command):
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("llama.cpp ended")
        return json.loads(line)

    def answer(self, prompts):
        firsts = []
        took = timed(lambda: firsts.extend(
            1e3 * self.do(command="ask", tokens=p, n=ANSWER_TOKENS)["first"] for p in prompts))
        return took, statistics.median(firsts)


def ask_questions():
    if not os.path.exists(QUESTION_MODEL):
        print(f"| 50 questions | skipped: {QUESTION_MODEL} is not here | | |")
        return
    pipe = Pipe(TANDEM, "--worker", WORKER)
    pipe.call("load_model", model_id="m", local_path=QUESTION_MODEL, context_length=512, warmup=True)
    peer = Peer(QUESTION_MODEL) if os.path.exists(PEER) else None
    rng, serial, at_once, theirs, good = random.Random(1), [], [], [], 0
    for _ in range(RUNS):
        prompts = questions(rng)
        serial.append(ours(pipe, prompts, False))
        at_once.append(ours(pipe, questions(rng), True))
        good += serial[-1][2] + at_once[-1][2]
        if peer:
            theirs.append(peer.answer(prompts))
    row("50 questions: one by one, at once", [s[0] for s in serial], [a[0] for a in at_once])
    if peer:
        row("50 questions: llama.cpp one by one, ours one by one", [t[0] for t in theirs], [s[0] for s in serial])
        row("50 questions: llama.cpp one by one, ours at once", [t[0] for t in theirs], [a[0] for a in at_once])
        row("time to first token: llama.cpp, ours, both one by one", [t[1] for t in theirs], [s[1] for s in serial])
        peer.process.stdin.close()
    else:
        print("| 50 questions beside llama.cpp | skipped: build/peer is not here | | |")
    print(f"| answers that came whole | | {good} of {2 * RUNS * QUESTIONS} | |")
    pipe.close()


def main():
    print(f"### {time.strftime('%Y-%m-%d')}\n\n{machine()}; medians of {RUNS} turns.\n")
    print("| scenario: off, on | off, ms | on, ms | off / on |\n|---|---|---|---|")
    for name, case in (("tokenize", tokenize), ("switches", switches), ("mixed", mixed), ("questions", ask_questions)):
        if name in CASES:
            case()


if __name__ == "__main__":
    main()
