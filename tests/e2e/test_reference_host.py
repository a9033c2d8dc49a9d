"""A host written for the reference system spawns tandem in its worker's place."""
import fcntl
import os
import socket
import subprocess
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


class Bursts(unittest.TestCase):
    """That host closes the pipe on 64 KiB of unread bytes, whole messages included."""
    PROBE = b'{"jsonrpc":"2.0","id":"readiness-probe","method":"runtime/info"}\n'
    CALLS = b"".join(b'{"jsonrpc":"2.0","id":%d,"method":"ping"}\n' % i for i in range(4000))

    def read_as_that_host(self, read):
        """All answers to CALLS, under its rule for what a read may bring."""
        pending, n_answers = b"", 0
        while n_answers < 4000:
            pending += read(65536)
            self.assertLessEqual(len(pending), 65536)
            *lines, pending = pending.split(b"\n")
            n_answers += len(lines)

    def spawn(self, stdout):
        child = subprocess.Popen([TANDEM, "runtime.py", "--worker", WORKER], stdin=subprocess.PIPE, stdout=stdout,
                                 stderr=subprocess.DEVNULL)
        self.addCleanup(child.wait)
        self.addCleanup(child.kill)
        self.addCleanup(child.stdin.close)
        child.stdin.write(self.PROBE)
        child.stdin.flush()
        return child

    def test_a_pipe_never_holds_more_than_it_takes(self):
        ours, theirs = os.pipe()
        with open(ours, "rb", buffering=0) as out, open(theirs, "wb", buffering=0):
            child = self.spawn(theirs)
            self.assertIn(b'"readiness-probe"', out.read(65536))
            self.assertEqual(fcntl.fcntl(out, fcntl.F_GETPIPE_SZ), 32768)
            child.stdin.write(self.CALLS)
            child.stdin.flush()
            self.read_as_that_host(out.read)

    def test_nor_does_a_socket_which_is_what_node_gives_its_children(self):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            child = self.spawn(theirs)
            self.assertIn(b'"readiness-probe"', ours.recv(65536))
            self.assertEqual(theirs.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF), 32768)
            child.stdin.write(self.CALLS)
            child.stdin.flush()
            self.read_as_that_host(ours.recv)

    def test_other_hosts_keep_the_pipe_they_gave(self):
        with tandem() as host:
            before = fcntl.fcntl(host.process.stdout, fcntl.F_GETPIPE_SZ)
            host.call("runtime/info")
            self.assertEqual(fcntl.fcntl(host.process.stdout, fcntl.F_GETPIPE_SZ), before)


class WhatItsValidatorsRefuse(unittest.TestCase):
    def test_batches_answer_item_for_item_and_errors_carry_their_id(self):
        with tandem() as host:
            host.load()
            for method, good, bad in (
                    ("batch_tokenize", {"model_id": "m", "text": "a"}, {"model_id": "absent", "text": "a"}),
                    ("batch_check_draft", {"primary_id": "m", "draft_id": "m"}, {"primary_id": "m"}),
                    ("batch_generate", {"model_id": "m", "prompt": "a", "max_tokens": 1, "stream_id": "b"},
                     {"model_id": "m", "prompt": "a", "stream_id": ""})):
                results = host.call(method, requests=[bad, good])["results"]
                self.assertEqual([r["success"] for r in results], [False, True], method)
                self.assertIsNone(results[0]["result"])
                self.assertIsInstance(results[0]["error"], str)
                self.assertIsInstance(results[1]["result"], dict)
                self.assertIsNone(results[1]["error"])
            host.wait(lambda: host.streams.get("b"), "the stream").wait()
            self.assertEqual(host.call("batch_tokenize", requests=[])["results"], [])
            self.assertEqual(host.answer(host.request("tokenize", model_id="absent", text="x")).body["error"]["code"],
                             -32005)

    def test_a_log_probability_is_a_number_or_absent(self):
        with tandem() as host:
            host.load()
            for token in host.stream(prompt="a", max_tokens=4, logprobs=True).tokens():
                self.assertIsInstance(token["logprob"], float)
            for token in host.stream(prompt="a", max_tokens=4).tokens():
                self.assertNotIn("logprob", token)


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
