"""A host written for the reference system spawns tandem in its worker's place."""
import unittest

from host import NOVEL, Host, TANDEM, WORKER, tandem


class ReferenceHost(unittest.TestCase):
    def setUp(self):
        # That host starts `<python> <script>`: one positional argument it must tolerate.
        self.host = Host(TANDEM, "runtime.py", "--worker", WORKER)
        self.addCleanup(self.host.kill)

    def test_the_ready_line_comes_on_stderr_and_the_probe_is_answered(self):
        self.host.wait_stderr("MLX Runtime ready")
        self.host.send_text('{"jsonrpc":"2.0","id":"readiness-probe","method":"runtime/info"}')
        answer = self.host.answer("readiness-probe").body
        self.assertEqual(answer["jsonrpc"], "2.0")
        info = answer["result"]
        for member in ("version", "mlx_version", "mlx_lm_version", "protocol"):
            self.assertIsInstance(info[member], str)
        self.assertIsInstance(info["mlx_supported"], bool)
        self.assertIn("batch_generate", info["capabilities"])
        self.assertGreater(info["memory"]["rss"], 0)
        self.host.close()

    def test_load_generate_and_shutdown_have_the_shapes_its_validators_insist_on(self):
        loaded = self.host.load(draft=False, revision="main", context_length=256)
        self.assertIn(loaded["state"], ("ready", "loading", "error"))
        self.assertEqual(loaded["context_length"], 256)
        self.assertIs(loaded["is_vision_model"], False)
        self.assertEqual(loaded["cached_path"], NOVEL)
        results = self.host.call("batch_generate", requests=[
            {"model_id": "m", "prompt": "a", "stream_id": "r1", "max_tokens": 8, "temperature": 0.7, "top_p": 0.9,
             "presence_penalty": 0.0, "frequency_penalty": 0.0, "seed": 3, "streaming": True}])["results"]
        self.assertTrue(results[0]["success"])
        self.assertIsNone(results[0]["error"])
        self.assertEqual(results[0]["result"]["stream_id"], "r1")
        stream = self.host.wait(lambda: self.host.streams.get("r1"), "the stream").wait()
        for chunk in stream.params("stream.chunk"):
            self.assertTrue(chunk["stream_id"])
            self.assertTrue("tokens" not in chunk or chunk["tokens"])
            self.assertTrue("tokens" in chunk or chunk["is_final"] in (True, False))
        for token in stream.tokens():
            self.assertIsInstance(token["token"], str)
            self.assertGreaterEqual(token["token_id"], 0)
            self.assertIsInstance(token.get("logprob", 0.0), (int, float))
        self.assertIsInstance(stream.stats["tokens_generated"], int)
        for member in ("tokens_per_second", "time_to_first_token", "total_time"):
            self.assertGreaterEqual(stream.stats[member], 0)
        self.assertEqual(stream.event["event"], "completed")
        self.assertIs(stream.event["is_final"], True)
        self.assertIsInstance(stream.event["finish_reason"], str)
        state = self.host.call("runtime/state")
        self.assertEqual(state["loaded_models"], [{"model_id": "m", "state": "ready", "type": "text"}])
        self.assertEqual(self.host.call("runtime/state")["restart_count"], 0)
        self.host.send_text('{"jsonrpc":"2.0","id":"shutdown","method":"shutdown","params":{}}')
        self.assertEqual(self.host.answer("shutdown").body["result"], {"success": True})
        self.assertEqual(self.host.wait_exit(), 0)

    def test_nulls_where_that_host_sends_them_are_absent_values(self):
        self.host.load(revision=None, quantization=None)
        stream = self.host.stream(prompt="a", max_tokens=2, seed=None, stop_sequences=None, guidance=None)
        self.assertEqual(len(stream.ids), 2)
        self.host.close()

    def test_health_does_not_change_by_being_asked(self):
        first = self.host.call("runtime/state")
        for _ in range(10):
            last = self.host.call("runtime/state")
        self.assertEqual(last["restart_count"], first["restart_count"])
        self.host.close()


class Telemetry(unittest.TestCase):
    def test_telemetry_counts_requests_and_speaks_prometheus(self):
        with tandem() as host:
            host.load()
            for _ in range(3):
                host.call("tokenize", model_id="m", text="x")
            host.error("tokenize", model_id="absent", text="x")
            self.assertIsInstance(host.call("runtime/telemetry"), dict)
            lines = host.call("runtime/telemetry", format="prometheus")["text"].splitlines()
            self.assertTrue([line for line in lines if line.startswith("# TYPE ")])
            for line in lines:
                if line and not line.startswith("#"):
                    float(line.rsplit(" ", 1)[1])


if __name__ == "__main__":
    unittest.main()
