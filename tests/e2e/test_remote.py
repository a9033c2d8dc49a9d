"""Workers behind a command like ssh: the line is slow, it is cut, it goes dead without a word.

REMOTE=long cuts the lines at 80 times as many moments.
"""
import os
import shlex
import signal
import tempfile
import unittest

from host import PATIENCE, TANDEM, WORKER, Host, tandem, when_gone

# Of each round the seed. A request that four lines were cut with before it got further counts as their
# cause, so there are three cuts in a round.
ROUNDS = range(80) if os.environ.get("REMOTE") == "long" else range(1)
CUTS = (2, 1)
LINK = os.path.join(os.path.dirname(os.path.abspath(__file__)), "slow_link.py")


def asked(seed):
    return {"prompt": f"On day {seed} the old house stood", "max_tokens": 40, "seed": seed, "temperature": 0.9,
            "ignore_eos": True, "resume": "replay"}


def said(stream):
    return stream.text, stream.ids, stream.finish_reason


class Remote(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.log = os.path.join(folder.name, "pids")
        with tandem() as host:
            host.load()
            self.wanted = [said(host.stream(**asked(seed))) for seed in range(8)]

    def open(self, *options, link=((), ())):
        """A controller with two workers, each behind a line of its own."""
        lines = [shlex.join([LINK, *link[i], f"--log={self.log}{i}", "elsewhere", WORKER, "--dev-stall-ms=3"])
                 for i in range(2)]
        self.host = Host(TANDEM, "--worker-command", lines[0], "--worker-command", lines[1], *options)
        self.addCleanup(self.host.kill)
        self.assertEqual(self.host.load()["replicas"], 2)

    def links(self):
        return self.host.call("runtime/state")["workers"]

    def assert_survived(self, streams):
        for seed, stream in enumerate(streams):
            self.assertEqual(said(stream.wait()), self.wanted[seed])
        counters = self.host.call("runtime/telemetry")
        self.assertEqual(counters["streams_failed"], 0)
        self.assertGreater(counters["retries"], 0)
        self.close()

    def close(self):
        self.host.close()
        self.assert_nothing_left()

    def assert_nothing_left(self):
        pids = []
        for i in range(2):
            with open(f"{self.log}{i}") as log:
                pids += map(int, log)
            os.unlink(log.name)
        self.assertEqual(when_gone(pids, PATIENCE), 0, "workers left on the other side")

    def test_streams_survive_a_cut(self):
        self.open()
        streams = [self.host.start(**asked(seed)) for seed in range(8)]
        streams[0].wait_tokens(5)
        os.kill(max(self.links(), key=lambda w: w["inflight"])["pid"], signal.SIGKILL)
        self.assert_survived(streams)

    def test_streams_survive_cuts_of_both_lines_at_random_moments(self):
        for seed in ROUNDS:
            with self.subTest(seed=seed):
                self.open(link=[(f"--cuts={n}", f"--seed={seed}-{i}") for i, n in enumerate(CUTS)])
                self.assert_survived([self.host.start(**asked(seed)) for seed in range(8)])

    def test_kill_9_of_the_controller_leaves_nothing_on_the_other_side(self):
        self.open()
        self.host.start(**asked(0)).wait_tokens(3)
        os.kill(self.host.process.pid, signal.SIGKILL)
        self.host.process.wait()
        self.assert_nothing_left()

    def test_a_line_that_goes_dead_without_a_word_is_found_by_its_heartbeat(self):
        self.open("--heartbeat-ms=3000")
        streams = [self.host.start(**asked(seed)) for seed in range(8)]
        streams[0].wait_tokens(5)
        os.kill(max(self.links(), key=lambda w: w["inflight"])["pid"], signal.SIGSTOP)
        self.assert_survived(streams)

    def test_a_slow_line_is_not_taken_for_a_dead_one(self):
        self.open("--heartbeat-ms=10000", link=[["--ms=150"]] * 2)
        self.assertEqual(said(self.host.stream(**asked(0))), self.wanted[0])
        self.assertEqual(self.host.call("runtime/state")["restart_count"], 0)
        self.close()

    def test_a_command_that_cannot_be_run_is_told(self):
        with Host(TANDEM, "--worker-command", "no-such-command-here host") as host:
            self.assertIn("no-such-command-here", host.error("load_model", model_id="m").message)

    def test_a_line_that_is_no_command_is_refused(self):
        for line in ("", "ssh 'host"):
            with self.subTest(line):
                host = Host(TANDEM, "--worker-command", line)
                self.addCleanup(host.kill)
                self.assertEqual(host.wait_exit(), 64)


if __name__ == "__main__":
    unittest.main()
