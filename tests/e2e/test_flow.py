"""Hosts that read late, not at all, or only some of their streams."""
import json
import os
import subprocess
import time
import unittest

from host import NOVEL, PATIENCE, TANDEM, WORKER, tandem, worker

PROMPT = {"prompt": "It was a cold evening", "temperature": 0, "ignore_eos": True}


class Acknowledged:
    def test_one_stalled_stream_stops_none_of_the_others_and_loses_nothing(self):
        with self.spawn() as host:
            host.load()
            stalled = host.start(max_tokens=20, stream_options={"ack_window": 4}, **PROMPT)
            others = [host.start(max_tokens=20, **PROMPT) for _ in range(99)]
            for stream in others:
                self.assertEqual(len(stream.wait().tokens()), 20)
            self.assertEqual(len(stalled.tokens()), 4)
            for index in range(3, 16, 4):
                host.notify("stream.ack", stream_id=stalled.stream_id, index=index)
                stalled.wait_tokens(index + 5)
                self.assertLessEqual(len(stalled.tokens()), index + 5)
            host.notify("stream.ack", stream_id=stalled.stream_id, index=19)
            self.assertEqual(stalled.wait().ids, others[0].ids)
            self.assertEqual([t["index"] for t in stalled.tokens()], list(range(20)))
            self.assertEqual(stalled.finish_reason, "length")

    def test_a_stream_that_is_never_acknowledged_ends_slow_consumer_with_all_it_had(self):
        with self.spawn("--stall-ms=300") as host:
            host.load()
            stream = host.stream(max_tokens=500, stream_options={"ack_window": 4}, **PROMPT)
            self.assertEqual(stream.finish_reason, "slow_consumer")
            self.assertEqual(len(stream.tokens()), stream.stats["tokens_generated"])
            self.assertLess(len(stream.tokens()), 500)


class ThroughTandem(Acknowledged, unittest.TestCase):
    spawn = staticmethod(tandem)


class OneWorker(Acknowledged, unittest.TestCase):
    spawn = staticmethod(worker)


class Deaf(unittest.TestCase):
    """The host reads nothing until it has said all (and DEAF_S seconds more); then everything is there."""

    def check(self, *argv):
        process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.kill)
        calls = [("load_model", {"model_id": "m", "local_path": NOVEL})]
        calls += [("generate", dict(PROMPT, model_id="m", max_tokens=400, stream_id=f"s{i}")) for i in range(4)]
        # More than 10 MB each way: neither side could go on if one of them waited for the other.
        told = [{"role": "user", "content": "the old house " * 5000}]
        calls += [("apply_chat_template", {"model_id": "m", "messages": told}) for _ in range(160)]
        for i, (method, params) in enumerate(calls):
            line = json.dumps({"jsonrpc": "2.0", "id": i, "method": method, "params": params}) + "\n"
            process.stdin.write(line.encode())
            process.stdin.flush()
        time.sleep(float(os.environ.get("DEAF_S", "0")))
        answered, tokens, ends, n_bytes = set(), {}, [], 0
        while len(ends) < 4 or len(answered) < len(calls):
            line = process.stdout.readline()
            n_bytes += len(line)
            message = json.loads(line)
            if "id" in message:
                self.assertIn("result", message)
                self.assertNotIn(message["id"], answered)
                answered.add(message["id"])
                continue
            params = message["params"]
            if message["method"] == "stream.chunk":
                tokens.setdefault(params["stream_id"], []).extend(params.get("tokens", [params]))
            elif message["method"] == "stream.event":
                ends.append(params["finish_reason"])
        self.assertGreater(n_bytes, 10 << 20)
        self.assertEqual(ends, ["length"] * 4)
        ids = [[t["token_id"] for t in stream] for stream in tokens.values()]
        self.assertEqual([len(stream) for stream in ids], [400] * 4)
        self.assertEqual(ids, ids[:1] * 4)
        process.stdin.close()
        self.assertEqual(process.wait(PATIENCE), 0)

    def test_a_host_that_reads_only_after_all_was_said_loses_nothing(self):
        self.check(TANDEM, "--worker", WORKER)

    def test_nor_does_one_that_drives_a_worker_by_hand(self):
        self.check(WORKER)


if __name__ == "__main__":
    unittest.main(verbosity=int(os.environ.get("VERBOSE", "1")))
