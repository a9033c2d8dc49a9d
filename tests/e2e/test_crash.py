"""Workers die, the host does not notice more than it must; the controller dies, nothing stays."""
import os
import signal
import subprocess
import sys
import unittest

from host import PATIENCE, TANDEM, WORKER, children, tandem, when_gone

LONG = {"prompt": "Once upon a time", "max_tokens": 400, "ignore_eos": True, "temperature": 0,
        "resume": "error"}
STALLED = ["--dev-stall-ms=5"]


def workers_of(host):
    return {w["pid"]: w for w in host.call("runtime/state")["workers"]}


class WorkerKilled(unittest.TestCase):
    def setUp(self):
        self.host = tandem("--workers=2", worker_options=STALLED)
        self.addCleanup(self.host.kill)
        self.host.call("ping")
        self.host.load("m")

    def test_kill_9_of_a_worker_with_8_streams(self):
        """8 typed errors at once, the other worker undisturbed, the killed one back, no zombie."""
        streams = self.start_until_a_worker_has(8)
        victim = max(workers_of(self.host).values(), key=lambda w: w["inflight"])
        os.kill(victim["pid"], signal.SIGKILL)
        ends = [s.wait().event for s in streams]
        failed = [e for e in ends if e["event"] == "error"]
        self.assertGreaterEqual(len(failed), 8)
        self.assertEqual(len(failed), victim["inflight"])
        for event in failed:
            self.assertEqual(event["code"], -32009)
            self.assertEqual(event["data"]["type"], "worker_crashed")
            self.assertIn(event["data"]["signal"], (9, "SIGKILL"))
        survivors = [s for s in streams if s.event["event"] == "completed"]
        for stream in survivors:
            self.assertEqual((stream.finish_reason, len(stream.ids)), ("length", 400))
        self.assert_back(victim)

    def start_until_a_worker_has(self, n):
        streams = []
        while True:
            streams.append(self.host.start(**LONG).wait_tokens())
            if max(w["inflight"] for w in workers_of(self.host).values()) >= n:
                return streams

    def assert_back(self, victim):
        state = self.host.ask_until("runtime/state", lambda s: (
            len(s["workers"]) == 2 and all(w["state"] == "ready" for w in s["workers"])))
        self.assertNotIn(victim["pid"], [w["pid"] for w in state["workers"]])
        self.assertEqual(state["restart_count"], 1)
        self.assertEqual([m["model_id"] for m in state["loaded_models"]], ["m"])
        both = [self.host.start(prompt="The old house stood", max_tokens=8, temperature=0) for _ in range(8)]
        for again in both:
            self.assertEqual(again.wait().ids, both[0].ids)
            self.assertEqual(len(again.ids), 8)
        self.assertNotIn("Z", [state for _, state in children(self.host.process.pid)])
        self.host.close()


class WorkerToldToEnd(unittest.TestCase):
    def test_a_signal_to_a_worker_costs_no_stream_a_byte_and_no_call_its_answer(self):
        """Of one that drained instead, the stream that waits would end cancelled, the call refused."""
        with tandem("--restarts=8") as host:
            host.load()
            asked = {"prompt": "Once upon a time", "max_tokens": 40, "ignore_eos": True, "seed": 3}
            plain = host.stream(**asked)
            signals = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGBUS)
            for n, number in enumerate(signals, 1):
                stream = host.start(stream_options={"ack_window": 2}, **asked).wait_tokens(2)
                os.kill(*workers_of(host), number)
                self.assertEqual(host.call("tokenize", model_id="m", text="a", count_only=True)["count"], 2)
                host.ask_until("runtime/state", lambda s, n=n: s["restart_count"] == n)
                while not stream.event:
                    n_read = len(stream.tokens())
                    host.notify("stream.ack", stream_id=stream.stream_id, index=n_read - 1)
                    stream.wait_tokens(n_read + 1)
                self.assertEqual((stream.text, stream.ids), (plain.text, plain.ids))
                self.assertEqual(stream.stats["replays"], 1)


class WorkerStopped(unittest.TestCase):
    def test_a_worker_that_stops_answering_is_replaced_and_the_host_sees_no_gap(self):
        with tandem("--heartbeat-ms=1500", worker_options=STALLED) as host:
            host.load()
            asked = {"prompt": "Once upon a time", "max_tokens": 100, "ignore_eos": True, "seed": 3}
            plain = host.stream(**asked)
            stream = host.start(**asked).wait_tokens(30)
            os.kill(host.call("runtime/state")["workers"][0]["pid"], signal.SIGSTOP)
            self.assertEqual(stream.wait().text, plain.text)
            worker = host.call("runtime/state")["workers"][0]
            self.assertIn("stopped answering", worker["last_error"])

    def test_a_busy_worker_is_not_taken_for_a_stopped_one(self):
        with tandem("--heartbeat-ms=2500", worker_options=["--dev-stall-ms=3500"]) as host:
            host.load()
            host.stream(prompt="Once", max_tokens=1, ignore_eos=True)
            self.assertEqual(host.call("runtime/state")["restart_count"], 0)


class ControllerKilled(unittest.TestCase):
    def test_kill_9_of_the_controller_leaves_no_process(self):
        host = tandem("--workers=2", worker_options=STALLED)
        self.addCleanup(host.kill)
        host.load()
        host.start(**LONG).wait_tokens()
        pids = [pid for pid, _ in children(host.process.pid)]
        self.assertEqual(len(pids), 2)
        host.process.kill()
        self.assertEqual(when_gone(pids, 1), 0, "not gone within a second")

    def test_kill_9_of_the_host_leaves_no_process(self):
        script = """if True:
            import sys
            sys.path.insert(0, sys.argv[1])
            import host
            h = host.tandem("--workers=2", worker_options=["--dev-stall-ms=5"])
            h.load()
            h.start(prompt="Once upon a time", max_tokens=400, ignore_eos=True).wait_tokens()
            print(h.process.pid, *[pid for pid, _ in host.children(h.process.pid)], flush=True)
            h.wait_exit(600)
        """
        doomed = subprocess.Popen([sys.executable, "-c", script, os.path.dirname(__file__)],
                                  stdout=subprocess.PIPE, text=True)
        self.addCleanup(doomed.wait)
        self.addCleanup(doomed.kill)
        pids = [int(word) for word in doomed.stdout.readline().split()]
        doomed.stdout.close()
        self.assertEqual(len(pids), 3)
        doomed.kill()
        self.assertEqual(when_gone(pids, 10), 0)


class HostKilled(unittest.TestCase):
    def test_a_controller_whose_stdin_stays_open_notices_that_its_parent_died(self):
        """Somebody else may hold the pipe's other end, so that there is no end of file."""
        read, write = os.pipe()
        self.addCleanup(os.close, write)
        script = """if True:
            import subprocess, sys
            child = subprocess.Popen(sys.argv[1:], stdin=0, stdout=subprocess.DEVNULL)
            print(child.pid, flush=True)
            child.wait()
        """
        doomed = subprocess.Popen([sys.executable, "-c", script, TANDEM, "--worker", WORKER], stdin=read,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        os.close(read)
        self.addCleanup(doomed.wait)
        self.addCleanup(doomed.kill)
        controller = int(doomed.stdout.readline())
        for line in doomed.stderr:
            if "ready" in line:
                break
        doomed.kill()
        doomed.wait()
        self.assertEqual(when_gone([controller], 10), 0)
        doomed.stdout.close()
        doomed.stderr.close()


class WorkerThatCannotStart(unittest.TestCase):
    def test_a_worker_that_is_no_program_is_told_to_the_caller_and_not_respawned_for_ever(self):
        for command in ("/nonexistent/worker", "/bin/false"):
            with self.subTest(command):
                process = subprocess.run(
                    [TANDEM, "--worker", command], timeout=PATIENCE, capture_output=True,
                    input=b'{"jsonrpc":"2.0","id":1,"method":"tokenize","params":{"model_id":"m","text":"x"}}\n')
                self.assertIn(b'"error"', process.stdout)
                self.assertLess(process.stderr.count(b"\n"), 100)

    def test_the_worker_beside_the_controller_is_found_without_an_option(self):
        if os.path.dirname(WORKER) != os.path.dirname(TANDEM):
            self.skipTest("the two binaries are in different folders")
        process = subprocess.run([TANDEM], timeout=PATIENCE, capture_output=True,
                                 input=b'{"jsonrpc":"2.0","id":1,"method":"runtime/state"}\n')
        self.assertEqual(process.returncode, 0)
        self.assertIn(b'"workers":[{', process.stdout)


if __name__ == "__main__":
    unittest.main()
