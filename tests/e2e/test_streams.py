"""Many streams at once, each the same as alone; what a stream says and in which order."""
import os
import signal
import unittest

from host import tandem, worker

PROMPTS = ["It was a cold evening in November when", "The old house stood", "Once upon a time",
           "\"You are mistaken, sir,\" said she,", "He had not been in London", "Naïve — “café” déjà vu:",
           "a", "the road to the village " * 20]


def requests(n):
    """n different requests, half greedy and half sampled."""
    return [{"prompt": PROMPTS[i % len(PROMPTS)], "max_tokens": 12 + 3 * (i % 9), "seed": 1000 + i,
             "temperature": 0 if i % 2 else 0.8, "ignore_eos": True, "logprobs": True} for i in range(n)]


def heard(stream):
    return stream.text, [(t["token_id"], t["logprob"]) for t in stream.generated()], stream.finish_reason


class TwoWorkers(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.host = tandem("--workers=2")
        cls.addClassCleanup(cls.host.kill)
        cls.host.load()

    @classmethod
    def tearDownClass(cls):
        cls.host.close()

    def test_32_concurrent_streams_equal_the_same_requests_alone(self):
        wanted = [heard(self.host.stream(**r)) for r in requests(32)]
        together = [self.host.start(**r) for r in requests(32)]
        for want, stream in zip(wanted, together):
            self.assertEqual(heard(stream.wait()), want)
        busy = [w["pid"] for w in self.host.call("runtime/state")["workers"]]
        self.assertEqual(len(set(busy)), 2)

    def test_both_workers_take_part(self):
        workers = [w["pid"] for w in self.host.call("runtime/state")["workers"]]
        for pid in workers:  # so that nobody is done before it is asked
            os.kill(pid, signal.SIGSTOP)
        try:
            streams = [self.host.start(prompt="a", max_tokens=8, seed=i) for i in range(8)]
            self.host.ask_until("runtime/state", lambda r: all(w["inflight"] for w in r["workers"]))
        finally:
            for pid in workers:
                os.kill(pid, signal.SIGCONT)
        for stream in streams:
            stream.wait()


class Streaming:
    @classmethod
    def setUpClass(cls):
        cls.host = cls.spawn()
        cls.addClassCleanup(cls.host.kill)
        cls.host.load()

    @classmethod
    def tearDownClass(cls):
        cls.host.close()

    def test_the_handshake_comes_first_then_chunks_one_stats_one_event(self):
        n = len(self.host.messages)
        stream = self.host.stream(prompt="The old house stood", max_tokens=20, temperature=0)
        ours = self.host.messages[n:]
        self.assertEqual(ours[0].body["id"], stream.request_id)
        self.assertEqual(ours[0].body["result"]["stream_id"], stream.stream_id)
        self.assertGreater(ours[0].body["result"]["started_at"], 1_600_000_000)
        methods = [m.body["method"] for m in ours[1:]]
        self.assertEqual(methods[-2:], ["stream.stats", "stream.event"])
        self.assertEqual(set(methods[:-2]), {"stream.chunk"})

    def test_the_concatenated_tokens_are_the_final_text(self):
        for seed in range(4):
            params = {"prompt": "Once upon a time", "max_tokens": 40, "temperature": 0.9, "seed": seed}
            stream = self.host.stream(**params)
            whole = self.host.call("generate", model_id="m", stream=False, **params)
            self.assertEqual(stream.text, whole["text"])
            self.assertEqual(stream.ids, whole["tokens"])
            self.assertEqual(whole["seed"], seed)
            self.assertEqual(whole["finish_reason"], stream.finish_reason)

    def test_stats_count_what_was_streamed(self):
        stream = self.host.stream(prompt="The old house stood", max_tokens=20, temperature=0)
        self.assertEqual(stream.stats["tokens_generated"], 20)
        self.assertEqual(stream.stats["usage"]["prompt_tokens"], 5)
        self.assertEqual(stream.stats["usage"]["completion_tokens"], 20)
        self.assertGreaterEqual(stream.stats["total_time"], stream.stats["time_to_first_token"])
        for part in ("queue_ms", "prefill_ms", "decode_ms"):
            self.assertGreaterEqual(stream.stats["timings"][part], 0)

    def test_text_is_never_split_inside_a_character(self):
        """Random tokens of a byte-level vocabulary are full of broken characters."""
        for seed in range(6):
            params = {"prompt": "Ünïcödé 漢字 🙂", "max_tokens": 120, "temperature": 2.0, "seed": seed,
                      "ignore_eos": True}
            stream = self.host.stream(**params)
            decoded = self.host.call("detokenize", model_id="m", tokens=stream.ids, skip_special_tokens=True)
            self.assertEqual(stream.text, decoded["text"])

    def test_a_multibyte_character_of_several_tokens_arrives_whole(self):
        text = "🙂漢字é"
        ids = self.host.call("tokenize", model_id="m", text=text, add_special_tokens=False)["tokens"]
        self.assertGreater(len(ids), len(text))
        pieces = []
        for wanted in ids:  # let the model "say" the text, one forced token after the other
            prompt = self.host.call("tokenize", model_id="m", text="The")["tokens"] + ids[:len(pieces)]
            stream = self.host.stream(prompt_tokens=prompt, max_tokens=1, logit_bias={str(wanted): 100},
                                      temperature=0)
            pieces.append(stream.ids[0])
        self.assertEqual(pieces, ids)
        self.assertEqual(self.host.call("detokenize", model_id="m", tokens=ids)["text"], text)

    def test_the_wire_is_served_while_the_model_decodes(self):
        with self.spawn(worker_options=["--dev-stall-ms=20"]) as host:
            host.load()
            stream = host.start(prompt="Once upon a time", max_tokens=400, ignore_eos=True, temperature=0)
            stream.wait_tokens()
            for i in range(20):
                self.assertTrue(host.call("tokenize", model_id="m", text=f"while it decodes {i}")["tokens"])
                host.call("runtime/info")
                host.call("check_draft", primary_id="m", draft_id="m")
            self.assertIsNone(stream.event, "60 calls took longer than 400 stalled tokens")
            host.call("cancel", stream_id=stream.stream_id)

    def test_a_request_past_its_timeout_ends_with_timeout(self):
        stream = self.host.start(prompt="Once upon a time", max_tokens=490, ignore_eos=True, timeout_ms=30)
        answer = self.host.answer(stream.request_id).body
        if "error" in answer:
            self.assertEqual(answer["error"]["code"], -32008)
            return
        stream.wait()
        if stream.event["event"] == "error":
            self.assertEqual(stream.event["code"], -32008)
        else:
            self.assertEqual(stream.finish_reason, "timeout")
        self.assertLess(len(stream.ids), 490)

    def test_cumulative_text_comes_only_on_request(self):
        plain = self.host.stream(prompt="The old house stood", max_tokens=5, temperature=0)
        self.assertNotIn(b"cumulative_text", b"".join(m.raw for m in plain.messages))
        full = self.host.stream(prompt="The old house stood", max_tokens=5, temperature=0,
                                stream_options={"cumulative_text": True})
        last = full.params("stream.chunk")[-1]
        last = last["tokens"][-1] if "tokens" in last else last
        self.assertEqual(last.get("cumulative_text", full.params("stream.chunk")[-1].get("cumulative_text")),
                         plain.text)

    def test_a_stream_id_is_made_up_when_none_is_given(self):
        result = self.host.call("generate", model_id="m", prompt="a", max_tokens=1)
        self.host.wait(lambda: self.host.streams.get(result["stream_id"]), "its stream")
        self.host.streams[result["stream_id"]].wait()


class OnTandem(Streaming, unittest.TestCase):
    spawn = staticmethod(tandem)


class OnWorker(Streaming, unittest.TestCase):
    spawn = staticmethod(worker)


if __name__ == "__main__":
    unittest.main()
