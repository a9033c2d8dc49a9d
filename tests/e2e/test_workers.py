"""The last columns of the determinism matrix (tests/worker/test_determinism.c): one worker and two."""
import random
import unittest

from host import PATIENCE, tandem

# Sanitizer builds are given more patience, and less to do.
PROMPTS = 200 if PATIENCE <= 60 else 20


def requests(**more):
    """Each prompt greedy and sampled; those of one kind begin alike, for more than a block."""
    calls = []
    for i in range(PROMPTS):
        chance = random.Random(i)
        beginning = [1] + [40 + i % 7] * (37 if i % 3 else 0)
        prompt = beginning + [chance.randrange(10, 4000) for _ in range(1 + i * 37 % 41)]
        for temperature in (0, 0.8):
            calls.append(("generate", {
                "model_id": "m", "prompt_tokens": prompt, "temperature": temperature, "seed": i, "logprobs": True,
                "max_tokens": 4 + i % 5, "ignore_eos": True, "stream": False, **more}))
    return calls


def all_have_worked(telemetry):
    return all(w["telemetry"]["counters"]["completion_tokens"] > 0 for w in telemetry["workers"])


def answers(n_workers, *worker_options, **more):
    """What each request came to; every worker has a part in it."""
    with tandem(f"--workers={n_workers}", worker_options=worker_options) as host:
        host.load()
        results = [host.result(i) for i in host.requests(requests(**more))]
        host.ask_until("runtime/telemetry", all_have_worked)
    return [[(t["token_id"], t["logprob"]) for t in r["logprobs"]] for r in results]


class Workers(unittest.TestCase):
    def test_200_prompts_say_the_same_alone_in_one_of_two_workers_and_all_together_in_one(self):
        alone = answers(2, "--max-running=1", "--threads=1", cache_prompt=False)
        together = answers(1, "--threads=2")
        self.assertEqual(len(alone), 2 * PROMPTS)
        for k, (a, b) in enumerate(zip(alone, together)):
            self.assertEqual(a, b, f"request {k}")


if __name__ == "__main__":
    unittest.main()
