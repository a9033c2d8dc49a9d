"""--record keeps the wire, and `tandem replay --check` makes a fresh controller say it again."""
import json
import os
import subprocess
import tempfile
import unittest

from host import PATIENCE, TANDEM, WORKER, children, tandem, when_gone

LONG = {"prompt": "Once upon a time", "max_tokens": 400, "ignore_eos": True}


def replay(*arguments):
    return subprocess.run([TANDEM, "replay", *arguments, "--worker=" + WORKER], capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, timeout=4 * PATIENCE)


class Record(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = os.path.join(folder.name, "record")

    def lines(self):
        with open(self.path, encoding="utf-8") as f:
            return [json.loads(line) for line in f]

    def test_a_session_of_everything_is_replayed_to_the_same_texts(self):
        with tandem(f"--record={self.path}", worker_options=["--dev-stall-ms=3"]) as host:
            host.load()
            host.call("batch_tokenize", requests=[{"model_id": "m", "text": "a b"}, {"model_id": "no", "text": "a"}])
            both = [host.start(prompt="The old house", max_tokens=12) for _ in range(2)]
            self.assertNotEqual(both[0].wait().text, both[1].wait().text, "each with a seed of its own")
            host.call("generate", model_id="m", prompt="It was", max_tokens=6, stream=False)
            stream = host.start(**LONG).wait_tokens(5)
            host.call("cancel", stream_id=stream.stream_id)
            stream.wait()
            results = host.call("batch_generate", requests=[{"model_id": "m", "prompt": "She", "max_tokens": 4}])
            host.wait(lambda: host.streams.get(results["results"][0]["result"]["stream_id"]), "the stream").wait()
            host.call("tools/call", name="generate", arguments={"model_id": "m", "prompt": "He", "max_tokens": 4})
            host.send_text('[{"jsonrpc":"2.0","id":"a","method":"ping"},{"jsonrpc":"2.0","id":"b","method":"no"},5]')
            host.write(b'{"a":"\xff"}\n{broken\n')
            host.error("tokenize", model_id="m", text=5)
            host.call("runtime/state")
            host.call("check_draft", model_id="m", prompt="The old", draft_tokens=[667], temperature=0)
        done = replay(self.path, "--check")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn(" 4 streams; 0 not compared, 0 differences", done.stdout)

    def test_a_difference_is_named_and_fails(self):
        with tandem(f"--record={self.path}") as host:
            host.load()
            host.stream(prompt="The old house", max_tokens=4, seed=1)
            host.call("tokenize", model_id="m", text="a")
        with open(self.path, encoding="utf-8") as f:
            text = f.read()
        with open(self.path, "w", encoding="utf-8") as f:
            f.write(text.replace('"seed": 1', '"seed": 2').replace('"text": "a"', '"text": "b"'))
        done = replay("--check", self.path)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn('stream "s2": other tokens', done.stdout)
        self.assertIn("id 3: another result", done.stdout)
        self.assertNotIn("is not repeated", done.stderr, "it was given")

    def test_every_frame_is_there_with_its_time_both_ways(self):
        with tandem(f"--record={self.path}", framing="lsp") as host:
            for _ in range(20):
                host.call("ping")
        header, *frames, end = self.lines()
        self.assertEqual(header["record"], 1)
        self.assertNotIn("record", " ".join(header["options"]))
        self.assertEqual([f["dir"] for f in frames], ["in", "out"] * 20)
        self.assertEqual(end["end"], "whole")
        times = [f["us"] for f in frames]
        self.assertEqual(times, sorted(times))
        printed = replay(self.path).stdout.splitlines()
        self.assertEqual([json.loads(line)["id"] for line in printed], [f["frame"]["id"] for f in frames[1::2]])

    def test_a_controller_killed_leaves_a_record_that_can_be_read_and_no_process(self):
        host = tandem(f"--record={self.path}")
        self.addCleanup(host.kill)
        host.load()
        host.call("ping")
        pids = [pid for pid, _ in children(host.process.pid)]
        self.assertEqual(len(pids), 2)
        host.process.kill()
        self.assertEqual(when_gone(pids, PATIENCE), 0)
        self.assertEqual(replay("--check", self.path).returncode, 0)

    def test_what_cannot_be_recorded_or_replayed_is_said(self):
        with tandem("--record=/nonexistent/x") as host:
            self.assertEqual(host.wait_exit(), 73)
            self.assertIn("/nonexistent/x", "".join(host.stderr))
            self.addCleanup(host.kill)
            host.close = lambda: None
        with open(self.path, "w", encoding="ascii") as f:
            f.write("{}\n")
        self.assertEqual(replay(self.path).returncode, 66)
        self.assertEqual(replay("/nonexistent/x").returncode, 66)
        self.assertEqual(replay().returncode, 64)
        self.assertIn("usage", replay("--help").stdout)

    def test_an_answer_nobody_asked_for_is_not_waited_for(self):
        frames = [("in", {"id": 1, "method": "ping"}), ("out", {"id": 1, "result": {}}),
                  ("out", {"id": 7, "result": {}}), ("out", [{"id": 1, "result": {}}]),
                  ("in", {"id": 2, "method": 5}), ("out", {"id": 2, "error": {"code": -32600, "message": ""}})]
        with open(self.path, "w", encoding="ascii") as f:
            f.write('{"record": 1, "options": []}\n')
            for us, (way, frame) in enumerate(frames):
                f.write(json.dumps({"us": us, "dir": way, "frame": {"jsonrpc": "2.0", **frame}
                                    if isinstance(frame, dict) else frame}) + "\n")
        done = replay(self.path, "--check")
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertEqual(done.stdout.splitlines()[:-1], ["id 7: not answered", "id 1: not answered"])

    def test_a_record_cannot_name_a_program(self):
        mark = self.path + ".mark"
        program = self.path + ".sh"
        with open(program, "w", encoding="ascii") as f:
            f.write(f"#!/bin/sh\ntouch {mark}\n")
        os.chmod(program, 0o755)
        for options in (["--worker=" + program], ["--worker", program], ["--worke=" + program],
                        ["--worker-command=" + program], ["--worker-c", program]):
            with open(self.path, "w", encoding="ascii") as f:
                f.write(json.dumps({"record": 1, "options": options}) + "\n" + json.dumps(
                    {"us": 1, "dir": "in", "frame": {"jsonrpc": "2.0", "id": 1, "method": "runtime/info"}}) + "\n" +
                    json.dumps({"us": 2, "dir": "out", "frame": {"id": 1, "result": {}}}) + "\n")
            done = replay(self.path)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertFalse(os.path.exists(mark), options)


if __name__ == "__main__":
    unittest.main()
