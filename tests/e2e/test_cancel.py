"""Cancel in three dialects and at every moment: one terminal event, and the worker is free."""
import unittest

from host import NOVEL, RpcError, tandem, worker

LONG = {"prompt": "Once upon a time", "max_tokens": 400, "ignore_eos": True, "temperature": 0}
WIDE = {"prompt": "the old house " * 160, "max_tokens": 20, "ignore_eos": True, "temperature": 0}


class Dialect:
    """How one family of hosts cancels."""

    def __init__(self, name, send):
        self.name, self.send = name, send


DIALECTS = [
    Dialect("cancel by stream_id", lambda h, s: h.request("cancel", stream_id=s.stream_id)),
    Dialect("cancel by id", lambda h, s: h.request("cancel", id=s.request_id)),
    Dialect("LSP", lambda h, s: h.notify("$/cancelRequest", id=s.request_id)),
    Dialect("MCP", lambda h, s: h.notify("notifications/cancelled", requestId=s.request_id)),
]


class Cancelling:
    STALL = ["--dev-stall-ms=20"]  # a step takes this long, so that the moment can be hit

    def setUp(self):
        self.host = self.spawn(worker_options=self.STALL)
        self.addCleanup(self.host.kill)
        self.host.load()

    def assert_one_cancelled_end(self, stream):
        self.assertEqual(stream.wait().finish_reason, "cancelled")
        self.assertEqual(len(stream.params("stream.event")), 1)

    def assert_the_worker_is_free(self):
        alone = self.host.stream(prompt="The old house stood", max_tokens=2, temperature=0)
        self.assertEqual(len(alone.ids), 2)
        self.host.ask_until("runtime/state", lambda state: state["active_streams"] == 0)
        self.host.close()

    def test_cancelled_during_decode(self):
        for dialect in DIALECTS:
            with self.subTest(dialect.name):
                stream = self.host.start(**LONG).wait_tokens(2)
                dialect.send(self.host, stream)
                self.assert_one_cancelled_end(stream)
                self.assertLess(len(stream.ids), 400)
        self.assert_the_worker_is_free()

    def test_cancelled_during_prefill(self):
        for dialect in DIALECTS:
            with self.subTest(dialect.name):
                stream = self.host.start(**WIDE)
                self.host.answer(stream.request_id)  # the handshake; two chunks of prompt follow
                dialect.send(self.host, stream)
                self.assert_one_cancelled_end(stream)
                self.assertLess(len(stream.ids), 20)
        self.assert_the_worker_is_free()

    def test_cancelled_before_it_started(self):
        """Request and cancel at once: the handshake may have gone out, and then a stream ends; or
        not, and then the request is answered -32800, or in MCP's way not at all."""
        for dialect in DIALECTS:
            with self.subTest(dialect.name):
                busy = self.host.start(**LONG).wait_tokens()
                stream = self.host.start(**LONG)
                dialect.send(self.host, stream)
                if dialect.name != "MCP":
                    self.host.answer(stream.request_id)
                self.host.call("cancel", stream_id=busy.stream_id)
                busy.wait()
                self.host.ask_until("runtime/state", lambda state: state["active_streams"] == 0)
                self.assert_ended_once(stream)
        self.assert_the_worker_is_free()

    def assert_ended_once(self, stream):
        answers = [a.body for a in self.host.answers.get(str(stream.request_id), [])]
        if answers and "result" in answers[0]:
            self.assert_one_cancelled_end(stream)
        else:
            self.assertEqual([a["error"]["code"] for a in answers], [-32800] * len(answers))
            self.assertEqual(stream.messages, [])

    def test_cancel_says_true_once_nothing_more_can_come_and_false_for_what_is_over(self):
        stream = self.host.start(**LONG).wait_tokens()
        self.assertIs(self.host.call("cancel", stream_id=stream.stream_id)["cancelled"], True)
        stream.wait()
        n = len(stream.messages)
        self.assertIs(self.host.call("cancel", stream_id=stream.stream_id)["cancelled"], False)
        self.assertIs(self.host.call("cancel", stream_id="never heard of")["cancelled"], False)
        self.assertIs(self.host.call("cancel", id=4711)["cancelled"], False)
        self.assertEqual(len(stream.messages), n)
        self.assert_the_worker_is_free()

    def test_cancelling_one_stream_leaves_the_others_as_they_are(self):
        alone = self.host.stream(prompt="The old house stood", max_tokens=12, temperature=0)
        doomed = [self.host.start(**LONG) for _ in range(3)]
        kept = self.host.start(prompt="The old house stood", max_tokens=12, temperature=0)
        for stream in doomed:
            self.host.answer(stream.request_id)
            self.host.request("cancel", stream_id=stream.stream_id)
        self.assertEqual(kept.wait().ids, alone.ids)
        for stream in doomed:
            self.assert_one_cancelled_end(stream)
        self.assert_the_worker_is_free()

    def test_a_call_that_is_not_a_stream_is_cancelled_with_minus_32800(self):
        request = self.host.request("generate", model_id="m", stream=False, **LONG)
        self.host.notify("$/cancelRequest", id=request)
        self.assertEqual(self.host.answer(request).body["error"]["code"], -32800)
        self.assert_the_worker_is_free()

    def test_a_stream_id_can_be_used_again_once_its_stream_is_over_and_not_before(self):
        stream = self.host.start(stream_id="again", **LONG).wait_tokens()
        with self.assertRaises(RpcError) as refused:
            self.host.call("generate", model_id="m", stream_id="again", **LONG)
        self.assertEqual(refused.exception.code, -32602)
        self.host.call("cancel", stream_id="again")
        stream.wait()
        self.host.streams.pop("again")
        self.assertEqual(self.host.start(stream_id="again", **{**LONG, "max_tokens": 1}).wait().finish_reason, "length")
        self.assert_the_worker_is_free()

    def test_unloading_with_force_ends_the_streams_and_without_it_waits_for_them(self):
        stream = self.host.start(**LONG).wait_tokens()
        self.assertTrue(self.host.call("unload_model", model_id="m", force=True)["success"])
        self.assertIn(stream.wait().event["event"], ("completed", "error"))
        self.assertLess(len(stream.ids), 400)
        self.host.load("m", NOVEL)
        stream = self.host.start(**{**LONG, "max_tokens": 12})
        self.host.answer(stream.request_id)
        self.assertTrue(self.host.call("unload_model", model_id="m")["success"])
        self.assertEqual((stream.finish_reason, len(stream.ids)), ("length", 12))
        self.assertEqual(self.host.error("tokenize", model_id="m", text="x").code, -32005)
        self.host.close()


class OnTandem(Cancelling, unittest.TestCase):
    def spawn(self, **more):
        return tandem(**more)


class OnWorker(Cancelling, unittest.TestCase):
    def spawn(self, **more):
        return worker(**more)


if __name__ == "__main__":
    unittest.main()
