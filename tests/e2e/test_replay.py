"""A worker killed at any moment of a stream: the host reads the text of the undisturbed run."""
import os
import signal
import unittest

from host import tandem, worker

STALLED = ["--dev-stall-ms=3"]
TOKENS = 24
LONG = os.environ.get("REPLAY") == "long"  # all of 200 streams at every phase instead of a choice
STREAMS = 200 if LONG else 32
PHASES = range(TOKENS + 1) if LONG else (0, 1, 2, 5, 11, 17, TOKENS - 1, TOKENS)


# How streams are asked for differs from seed to seed; each way meets every phase.
WAYS = ({}, {"stream_options": {"cumulative_text": True}, "echo": True}, {"n": 3, "max_tokens": TOKENS // 3},
        {"n": 3, "max_tokens": TOKENS // 3, "stream_options": {"cumulative_text": True}})


def params(seed):
    return {"prompt": f"On day {seed} the old house stood", "max_tokens": TOKENS, "seed": seed,
            "temperature": 0.9, "ignore_eos": True, "logprobs": True, "top_logprobs": 2,
            **({"resume": "replay"} if seed % 2 else {}), **WAYS[seed // 8 % 4]}


def told(tokens):
    """All that must not change: text, ids and log-probabilities to the last bit, of each choice in order
    (how they come between each other is left to time)."""
    return [(t.get("choice"), t["token"], t["token_id"], t["index"], t["logprob"], t["top_logprobs"],
             t.get("cumulative_text")) for t in sorted(tokens, key=lambda t: t.get("choice", 0))]


def said(stream):
    return told(stream.tokens()), stream.finish_reason


def kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass  # it died a moment ago


class Replay:
    def setUp(self):
        self.retries = 0
        self.open()

    def open(self):
        self.host = tandem(f"--workers={self.WORKERS}", "--restarts=256", worker_options=STALLED)
        self.addCleanup(self.host.kill)
        self.host.load()

    def workers(self):
        return self.host.call("runtime/state")["workers"]

    def test_kill_9_at_every_phase_of_seeded_streams(self):
        """For each phase, streams run until one has so many tokens; then a worker dies."""
        started = {seed: self.host.start(**params(seed)) for seed in range(STREAMS)}
        self.wanted = {seed: said(stream.wait()) for seed, stream in started.items()}
        for i, phase in enumerate(PHASES):
            if i % 4 == 0:  # or the delays before restarts, which double, would be most of the time
                self.close()
                self.open()
            self.kill_at(phase, range(STREAMS) if LONG else range(i, STREAMS, len(PHASES)))
        self.close()
        self.assertGreater(self.retries, 0)

    def close(self):
        counters = self.host.call("runtime/telemetry")
        self.assertEqual(counters["streams_failed"], 0)
        self.retries += counters["retries"]
        self.host.close()

    def kill_at(self, phase, seeds):
        streams = {seed: self.host.start(**params(seed), stream_id=f"{phase}-{seed}") for seed in seeds}
        if phase:
            next(iter(streams.values())).wait_tokens(phase)
        kill(max(self.workers(), key=lambda w: w["inflight"])["pid"])
        for seed, stream in streams.items():
            with self.subTest(phase=phase, seed=seed):
                self.assertEqual(said(stream.wait()), self.wanted[seed])
                self.assertEqual(len(stream.params("stream.event")), 1)
                self.assertEqual(len(stream.params("stream.stats")), 1)
                self.assertEqual(stream.stats["tokens_generated"], TOKENS)
        self.host.ask_until("runtime/state", lambda s: all(w["state"] == "ready" for w in s["workers"]))

    def test_stop_strings_and_whole_answers_survive_too(self):
        asked = {"prompt": "The old house stood", "max_tokens": 60, "temperature": 0, "stop_sequences": [" and the"],
                 "resume": "replay"}
        plain = self.host.stream(**asked)
        whole = self.host.call("generate", model_id="m", stream=False, **asked)
        stream = self.host.start(**asked).wait_tokens(max(1, len(plain.ids) // 2))
        answer = self.host.request("generate", model_id="m", stream=False, **asked, _meta={"progressToken": "p"})
        kill(max(self.workers(), key=lambda w: w["inflight"])["pid"])
        self.assertEqual(stream.wait().text, plain.text)
        self.assertEqual(stream.event["stop_detail"], plain.event["stop_detail"])
        again = self.host.result(answer)
        self.assertEqual((again["text"], again["tokens"]), (whole["text"], whole["tokens"]))
        steps = [m.body["params"]["progress"] for m in self.host.messages if "notifications/progress" in str(m.body)]
        self.assertEqual(steps, sorted(set(steps)), "no step is told again")
        self.assertEqual(steps[-1], 1)
        self.host.close()


class OneWorker(Replay, unittest.TestCase):
    WORKERS = 1


class TwoWorkers(Replay, unittest.TestCase):
    WORKERS = 2


class ByHand(unittest.TestCase):
    """`resume_tokens`, which the controller uses, asked of a worker directly."""

    def test_from_every_token_on_the_rest_is_the_same(self):
        with worker() as host:
            host.load()
            for seed in range(0, 32, 8):
                whole = host.stream(**params(seed))
                for k in range(0, TOKENS + 1, 1 if seed == 0 else 5):
                    with self.subTest(seed=seed, k=k):
                        self.resume(host, seed, whole, k)

    def resume(self, host, seed, whole, k):
        before, after = whole.tokens()[:k], whole.tokens()[k:]
        of = {"resume_choices": [t["choice"] for t in before]} if "n" in params(seed) else {}
        rest = host.stream(**params(seed), resume_tokens=[t["token_id"] for t in before], **of)
        self.assertEqual(bool(rest.params("stream.chunk")), k < TOKENS)
        self.assertEqual(said(rest), (told(after), whole.finish_reason))
        self.assertEqual(rest.stats["tokens_generated"], TOKENS)
        rest.messages.clear()  # its indexes begin at k, which the transcript's check forbids

    def test_what_cannot_be_resumed_is_refused(self):
        with worker() as host:
            host.load()
            for path, more in (
                    ("resume_choices", {"n": 2}), ("resume_choices", {"n": 2, "resume_choices": [0]}),
                    ("resume_choices", {"n": 2, "resume_choices": [0, 2]}), ("resume_choices", {"resume_choices": [0]}),
                    ("resume_tokens", {"n": 2, "resume_choices": [1, 1], "max_tokens": 1}),
                    ("resume_tokens", {"max_tokens": 1}), ("resume_tokens[0]", {"resume_tokens": [1 << 19]})):
                with self.subTest(more):
                    asked = {"model_id": "m", "prompt": "x", "resume_tokens": [5, 6], **more}
                    error = host.error("generate", **asked)
                    self.assertEqual((error.code, error.data["path"]), (-32602, path))


if __name__ == "__main__":
    unittest.main()
