"""A confined worker does its work, and nothing else."""
import os
import shutil
import tempfile
import unittest

from host import NOVEL, RpcError, tandem, worker


def isolation(host):
    return host.call("runtime/info")["isolation"]


class Sandbox:
    def test_basic_is_the_default_and_told(self):
        with self.spawn() as host:
            holds = isolation(host)
            if holds["sandbox"] == "off":
                self.skipTest("a build with sanitizers cannot be confined")
            self.assertEqual(holds, {"sandbox": "basic", "no_new_privs": True, "dumpable": False, "seccomp": True,
                                     "landlock": False, "core_files": False, "ends_with_parent": True})

    def test_a_strict_worker_generates_the_same_and_reads_nothing_else(self):
        asked = {"prompt": "The old house stood", "max_tokens": 12, "temperature": 0}
        with self.spawn() as host:
            host.load()
            plain = host.stream(**asked).text
        with tempfile.TemporaryDirectory() as outside:
            elsewhere = shutil.copytree(NOVEL, os.path.join(outside, "novel"))
            with self.spawn("--sandbox=strict", "--models", os.path.dirname(NOVEL)) as host:
                if isolation(host)["sandbox"] == "off":
                    self.skipTest("a build with sanitizers cannot be confined")
                self.assertTrue(isolation(host)["landlock"])
                host.load()
                self.assertEqual(host.stream(**asked).text, plain)
                with self.assertRaises(RpcError) as refused:
                    host.load("other", path=elsewhere)
                self.assertEqual(refused.exception.code, -32001)
                self.assertEqual(host.stream(**asked).text, plain)

    def test_off_is_off(self):
        with self.spawn("--sandbox=off") as host:
            self.assertEqual((isolation(host)["sandbox"], isolation(host)["seccomp"]), ("off", False))


class OnTandem(Sandbox, unittest.TestCase):
    spawn = staticmethod(tandem)


class OnWorker(Sandbox, unittest.TestCase):
    spawn = staticmethod(worker)


if __name__ == "__main__":
    unittest.main()
