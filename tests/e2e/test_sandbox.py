"""A confined worker does its work, and nothing else."""
import os
import select
import shutil
import tempfile
import unittest

from host import NOVEL, PATIENCE, Host, RpcError, TANDEM, WORKER, tandem, worker

ASKED = {"prompt": "The old house stood", "max_tokens": 12, "temperature": 0}
FORBIDDEN = ["connect", "execve", "ptrace"]


def isolation(host):
    return host.call("runtime/info")["isolation"]


class Sandbox:
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = folder.name
        self.roots = ["--models", os.path.dirname(NOVEL), "--models", self.root]

    def test_basic_is_the_default_and_told(self):
        with self.spawn() as host:
            holds = isolation(host)
            if holds["sandbox"] == "off":
                self.skipTest("a build with sanitizers cannot be confined")
            limits = holds.pop("limits")
            self.assertEqual((limits["core_bytes"], limits["queue_bytes"]), (0, 0))
            self.assertLessEqual(limits["open_files"], 4096)
            self.assertEqual(holds, {"sandbox": "basic", "no_new_privs": True, "dumpable": False, "seccomp": True,
                                     "landlock": False, "core_files": False, "ends_with_parent": True,
                                     "refused": FORBIDDEN})

    def test_a_strict_worker_generates_the_same_and_reads_nothing_else(self):
        with self.spawn() as host:
            host.load()
            plain = host.stream(**ASKED).text
        with self.spawn("--sandbox=strict", *self.roots) as host:
            holds = isolation(host)
            host.load()
            self.assertEqual(host.stream(**ASKED).text, plain)
            self.assert_only_roots(host)
            self.assertEqual(host.stream(**ASKED).text, plain)
        if holds["sandbox"] == "off":
            self.skipTest("a build with sanitizers cannot be confined")
        self.assertTrue(holds["landlock"])
        self.assertEqual(holds["refused"], FORBIDDEN + ["open"])
        self.assertEqual(holds["limits"]["file_bytes"], 0)

    def test_from_outside_every_thread_is_seen_to_be_confined(self):
        with self.spawn("--sandbox=strict", *self.roots) as host:
            host.load()
            host.stream(**ASKED)
            if isolation(host)["sandbox"] == "off":
                self.skipTest("a build with sanitizers cannot be confined")
            pid = self.worker_of(host)
            for thread in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{thread}/status") as f:
                    status = dict(line.rstrip("\n").split(":\t", 1) for line in f)
                self.assertEqual((status["NoNewPrivs"], status["Seccomp"]), ("1", "2"))
            with open(f"/proc/{pid}/limits") as f:
                limits = f.read()
            self.assertRegex(limits, r"Max core file size +0 +0 ")
            self.assertRegex(limits, r"Max file size +0 +0 ")

    def test_the_environment_does_not_talk_it_out_of_it(self):
        with self.spawn("--sandbox=strict", *self.roots, env={"TANDEM_WORKER_CONFINED": "1"}) as host:
            holds = isolation(host)
            if holds["sandbox"] == "off":
                self.skipTest("a build with sanitizers cannot be confined")
            self.assertEqual(holds["refused"], FORBIDDEN + ["open"])

    def test_roots_only_holds_without_a_sandbox(self):
        with self.spawn("--sandbox=off", "--roots-only", *self.roots) as host:
            host.load()
            self.assert_only_roots(host)

    def assert_only_roots(self, host):
        """No model from elsewhere, also when a path leads there from inside."""
        with tempfile.TemporaryDirectory() as outside:
            elsewhere = shutil.copytree(NOVEL, os.path.join(outside, "novel"))
            linked = os.path.join(self.root, "linked")
            os.mkdir(linked)
            for name in os.listdir(elsewhere):
                os.symlink(os.path.join(elsewhere, name), os.path.join(linked, name))
            with self.assertRaises(RpcError) as refused:
                host.load("other", path=linked)
            self.assertIn("leads out of the model roots", refused.exception.message)
            for path in (elsewhere, os.path.join(NOVEL, os.path.relpath(elsewhere, os.path.realpath(NOVEL)))):
                with self.assertRaises(RpcError) as refused:
                    host.load("other", path=path)
                self.assertEqual(refused.exception.code, -32001)
                self.assertIn("not below a model root", refused.exception.message)

    def test_off_is_off(self):
        with self.spawn("--sandbox=off") as host:
            holds = isolation(host)
            self.assertEqual((holds["sandbox"], holds["seccomp"], holds["refused"]), ("off", False, []))

    def test_what_whoever_started_it_left_open_is_closed(self):
        """The reader of a pipe sees its end while the process lives."""
        read, write = os.pipe()
        self.addCleanup(os.close, read)
        with Host(*self.COMMAND, pass_fds=[write]) as host:
            os.close(write)
            host.call("runtime/info")
            self.assertTrue(select.select([read], [], [], PATIENCE)[0])
            self.assertEqual(os.read(read, 1), b"")


class OnTandem(Sandbox, unittest.TestCase):
    @staticmethod
    def worker_of(host):
        return host.call("runtime/state")["workers"][0]["pid"]

    spawn = staticmethod(tandem)
    COMMAND = [TANDEM, "--worker", WORKER]


class OnWorker(Sandbox, unittest.TestCase):
    @staticmethod
    def worker_of(host):
        return host.process.pid

    spawn = staticmethod(worker)
    COMMAND = [WORKER]


if __name__ == "__main__":
    unittest.main()
