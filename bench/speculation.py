#!/usr/bin/env python3
"""What drafts are worth, in turns with going without, within one run: `make bench-speculation`.

    RUNS=5 QUICK=8 TOKENS=160 THREADS=2 CASES="novel-30m 1B prediction bad" python3 bench/speculation.py

Every text is generated twice, drafted and plain, in alternating order; the ratio is the median of
the ratios of neighbouring runs, of which small models have QUICK (8) times as many, and every text
is compared. novel-30m is drafted by novel-1m; a chain (bench_gguf.c) in the shape of Llama-3.2-1B
in Q4_0 by one of a tenth its size that knows 70, 90 or 0 % of its successors; `prediction` is given
the answer, or a wrong one.
"""
import os
import statistics
import subprocess
import time

from bench import MODELS, ROOT, SHARED, WORKER, Pipe, machine

FILES = os.path.join(ROOT, "build/bench")
WRITER = os.path.join(ROOT, "build/release/bin/bench_gguf")
os.environ["XDG_CACHE_HOME"] = os.path.join(FILES, "cache")
RUNS = int(os.environ.get("RUNS", "5"))
QUICK = int(os.environ.get("QUICK", "8"))
TOKENS = int(os.environ.get("TOKENS", "160"))
THREADS = os.environ.get("THREADS", str(os.cpu_count()))
CASES = os.environ.get("CASES", "novel-30m 1B prediction bad").split()
PROMPTS = ["It was a cold evening in November when", "The old man looked at her and", "She had never seen",
           "In the morning they", "He wrote to his brother that"]


def chain(percent=None):
    """A chain of the whole size, or a draft for it."""
    name = "chain.gguf" if percent is None else f"draft-{percent}.gguf"
    path = os.path.join(FILES, name)
    if not os.path.exists(path):
        os.makedirs(FILES, exist_ok=True)
        what = ["chain"] if percent is None else ["draft", str(percent)]
        subprocess.run([WRITER, "Q4_0", path] + what, check=True)
    return path


class Bench:
    def __init__(self, runs, **models):
        self.runs = runs
        self.pipe = Pipe(WORKER, f"--threads={THREADS}")
        for model_id, path in models.items():
            self.pipe.call("load_model", model_id=model_id, local_path=path, context_length=512)

    def generate(self, prompt, temperature, **more):
        return self.pipe.call("generate", model_id="target", stream=False, ignore_eos=True, seed=1, prompt=prompt,
                              max_tokens=TOKENS, temperature=temperature, cache_prompt=False, **more)

    def compare(self, name, temperature=0, drafts=lambda plain: {"draft_model": "draft"}):
        """One row: plain tokens/s, the ratio, and how many drafted tokens held."""
        ratios, rates, drafted, held = [], [], 0, 0
        for run in range(self.runs):
            prompt = PROMPTS[run % len(PROMPTS)]
            expected = self.generate(prompt, temperature)
            results = {}
            for side in ((0, 1) if run % 2 else (1, 0)):
                results[side] = self.generate(prompt, temperature, **(drafts(expected) if side else {}))
                if results[side]["tokens"] != expected["tokens"]:
                    raise SystemExit(f"{name}: drafts changed the text")
            times = {side: r["timings"]["prefill_ms"] + r["timings"]["decode_ms"] for side, r in results.items()}
            ratios.append(times[0] / times[1])
            rates.append(1e3 * TOKENS / times[0])
            drafted += results[1]["usage"]["draft_tokens"]
            held += results[1]["usage"]["accepted_draft_tokens"]
        share = f"{100 * held / drafted:.0f} % of {drafted}" if drafted else "none drafted"
        print(f"| {name} | {statistics.median(rates):.1f} | {statistics.median(ratios):.2f} | {min(ratios):.2f} | "
              f"{share} |", flush=True)

    def close(self):
        self.pipe.close()


def novel():
    if not os.path.exists(MODELS["novel-30m"]):
        print("| novel-30m | skipped: the reference models are not here | | | |")
        return
    b = Bench(QUICK * RUNS, target=MODELS["novel-30m"], draft=os.path.join(SHARED, "models/novel-1m"))
    b.compare("novel-30m by novel-1m, greedy")
    b.compare("novel-30m by novel-1m, temperature 0.8", 0.8)
    b.compare("novel-30m, look-up, greedy", 0, lambda plain: {"speculative": {}})
    b.close()


def shape(percent, name):
    b = Bench(RUNS, target=chain(), draft=chain(percent))
    b.compare(name)
    b.close()


def prediction():
    for name, path in MODELS.items():
        if not os.path.exists(path):
            continue
        b = Bench(QUICK * RUNS, target=path)
        b.compare(f"{name}, prediction is the answer", 0,
                  lambda plain: {"prediction": {"content": plain["text"]}})
        b.compare(f"{name}, prediction is another text", 0,
                  lambda plain: {"prediction": {"content": plain["text"][::-1]}})
        b.close()


def main():
    print(f"### {time.strftime('%Y-%m-%d')}\n\n{machine()}; {THREADS} threads, {TOKENS} tokens, {RUNS} runs.\n")
    print("| target, drafts | plain tok/s | drafted / plain, median | least | held |\n|---|---|---|---|---|")
    if "novel-30m" in CASES:
        novel()
    if "1B" in CASES:
        shape(70, "1B chain, Q4_0, by a tenth that knows 70 %")
        shape(90, "1B chain, Q4_0, by a tenth that knows 90 %")
    if "bad" in CASES:
        shape(0, "1B chain, Q4_0, by a tenth that knows nothing")
    if "prediction" in CASES:
        prediction()


if __name__ == "__main__":
    main()
