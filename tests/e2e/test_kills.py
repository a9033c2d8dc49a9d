"""However often and whenever controllers and workers are killed, no process is left.

KILLS=1000 is the long form; what is killed when is drawn from a seed (SEED= and those after it) and
told if it fails.
"""
import os
import random
import select
import signal
import time
import unittest

from host import PATIENCE, children, tandem

KILLS = int(os.environ.get("KILLS", "12"))
SEED = int(os.environ.get("SEED", "0"))
ASKED = {"prompt": "Once upon a time", "max_tokens": 400, "ignore_eos": True, "resume": "replay"}


def of_session(session):
    """Live processes of a session: workers lead groups of their own, but stay in it."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat") as f:
                state, _, _, sid = f.read().rsplit(")", 1)[1].split()[:4]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(sid) == session and state not in "ZX":
            found.append(int(name))
    return found


def left_of_session(session):
    deadline = time.monotonic() + PATIENCE
    while (pids := of_session(session)) and time.monotonic() < deadline:
        for pid in pids:
            try:
                fd = os.pidfd_open(pid)
            except ProcessLookupError:
                continue
            select.select([fd], [], [], max(0, deadline - time.monotonic()))
            os.close(fd)
    return pids


class Kills(unittest.TestCase):
    def test_no_kill_leaves_a_process(self):
        for seed in range(SEED, SEED + KILLS // 2):
            with self.subTest(seed=seed):
                self.kill_a_worker_and_the_controller(random.Random(seed))

    def kill_a_worker_and_the_controller(self, draw):
        host = tandem("--workers=2", worker_options=["--dev-stall-ms=2"])
        self.addCleanup(host.kill)
        phase = draw.choice(["starting", "loading", "serving", "streaming", "restarting", "stopped"])
        if phase == "loading":
            host.request("load_model", model_id="m", local_path="models/novel-7m")
        elif phase != "starting":
            host.load()
        if phase in ("streaming", "restarting", "stopped"):
            host.start(**ASKED).wait_tokens(draw.randrange(1, 10))
        for pid, _ in draw.sample(workers := children(host.process.pid), len(workers) // 2):
            os.kill(pid, signal.SIGSTOP if phase == "stopped" else signal.SIGKILL)
        if phase == "restarting":
            host.ask_until("runtime/state", lambda s: s["restart_count"] > 0)
        os.kill(host.process.pid, signal.SIGKILL)
        host.process.wait()
        self.assertEqual(left_of_session(host.process.pid), [])
        host.kill()


if __name__ == "__main__":
    unittest.main()
