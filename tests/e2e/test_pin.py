"""--pin: each worker on processors of its own, each computing thread on one."""
import os
import unittest

from host import TANDEM, WORKER, Host


def allowed(pid, thread="compute"):
    """Where the thread of that name may run."""
    tasks = f"/proc/{pid}/task"
    for task in os.listdir(tasks):
        with open(f"{tasks}/{task}/comm") as f:
            if f.read().strip() == thread:
                return os.sched_getaffinity(int(task))
    raise AssertionError(f"no thread {thread} in {pid}")


@unittest.skipIf(len(os.sched_getaffinity(0)) < 2, "one processor: nothing to choose from")
class Pin(unittest.TestCase):
    def masks(self, accept, *options):
        """Of both workers' computing threads, once they are accepted: a thread pins itself when it begins."""
        host = Host(TANDEM, "--worker", WORKER, "--workers=2", "--threads=1", *options)
        self.addCleanup(host.kill)
        host.load(workers=2)
        host.ask_until("runtime/state", lambda s: len(s["workers"]) == 2 and accept(
            [allowed(w["pid"]) for w in s["workers"]]))
        host.call("generate", model_id="m", prompt="It was", max_tokens=2, stream=False)
        host.close()

    def test_two_workers_of_one_thread_compute_on_different_processors(self):
        self.masks(lambda masks: [len(m) for m in masks] == [1, 1] and masks[0] != masks[1], "--pin")

    def test_without_it_both_go_where_they_like(self):
        self.masks(lambda masks: masks == [os.sched_getaffinity(0)] * 2)

    def test_fewer_processors_than_threads_is_said_and_does_no_harm(self):
        host = Host(WORKER, "--pin", f"--threads={len(os.sched_getaffinity(0)) + 1}")
        self.addCleanup(host.kill)
        host.wait_stderr("--pin: fewer processors")
        host.load()
        host.call("generate", model_id="m", prompt="It was", max_tokens=2, stream=False)
        host.close()
