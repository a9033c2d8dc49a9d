"""Workers come and go at run time, and no stream notices."""
import os
import signal
import tempfile
import unittest

from host import TANDEM, WORKER, Host, tandem

STALLED = ["--dev-stall-ms=3"]


def asked(seed):
    return {"prompt": f"On day {seed} the old house stood", "max_tokens": 60, "seed": seed, "temperature": 0.9,
            "ignore_eos": True, "logprobs": True}


def said(stream):
    return [(t["token_id"], t["logprob"]) for t in stream.wait().tokens()], stream.finish_reason


class Roster(unittest.TestCase):
    def pids(self):
        return {w["pid"] for w in self.host.call("runtime/state")["workers"]}

    def finish(self, streams):
        """All as undisturbed, and by nobody's death."""
        got = [said(stream) for stream in streams]
        self.assertEqual(got, [said(self.host.start(**asked(seed))) for seed in range(len(streams))])
        counters = self.host.call("runtime/telemetry")
        self.assertEqual((counters["retries"], counters["worker_crashes"]), (0, 0))
        self.host.close()

    def test_sighup_starts_workers_from_the_present_binary_and_drops_no_stream(self):
        with tempfile.TemporaryDirectory() as folder:
            binary, log = os.path.join(folder, "worker"), os.path.join(folder, "log")
            self.install(binary, log, "old")
            self.host = Host(TANDEM, "--worker", binary, "--workers=2")
            self.addCleanup(self.host.kill)
            self.host.load()
            old = self.pids()
            self.install(binary, log, "new")
            streams = [self.host.start(**asked(seed)) for seed in range(8)]
            streams[-1].wait_tokens(3)
            self.host.process.send_signal(signal.SIGHUP)
            self.host.ask_until("runtime/state", lambda s: (
                [w["state"] for w in s["workers"]] == ["ready", "ready"] and
                not old & {w["pid"] for w in s["workers"]}))
            with open(log) as lines:
                self.assertEqual(lines.read().split(), ["old", "old", "new", "new"])
            self.finish(streams)

    def install(self, binary, log, name):
        with open(binary + ".new", "w") as f:
            f.write(f'#!/bin/sh\necho {name} >> {log}\nexec "{WORKER}" {" ".join(STALLED)} "$@"\n')
        os.chmod(binary + ".new", 0o755)
        os.rename(binary + ".new", binary)

    def test_the_only_worker_is_exchanged_by_hand_under_load(self):
        self.host = tandem(worker_options=STALLED)
        self.addCleanup(self.host.kill)
        self.host.load()
        streams = [self.host.start(**asked(seed)) for seed in range(4)]
        streams[-1].wait_tokens(3)
        self.assertEqual(self.host.call("runtime/add_worker")["worker"], 1)
        self.assertEqual(self.host.call("runtime/drain_worker", worker=0)["state"], "drained")
        self.assertEqual(self.host.call("runtime/remove_worker", worker=0)["workers"], 1)
        self.assertEqual([w["id"] for w in self.host.call("runtime/state")["workers"]], [1])
        self.finish(streams)


if __name__ == "__main__":
    unittest.main()
