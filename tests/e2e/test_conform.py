"""tandem-conform holds what it should hold, and every fault of its own fake worker is found by it."""
import os
import subprocess
import sys
import unittest
from concurrent.futures import ThreadPoolExecutor

from host import NOVEL, PATIENCE, ROOT, TANDEM, WORKER

KIT = os.path.join(ROOT, "tests/conform")
FAKE = os.path.join(KIT, "fake_worker.py")


def conform(*arguments, patience=PATIENCE):
    more = [f"--patience={patience}"] if patience else []
    done = subprocess.run([sys.executable, KIT, *more, *arguments], cwd=ROOT, text=True,
                          capture_output=True, timeout=10 * PATIENCE)
    return done.returncode, done.stdout + done.stderr


class Servers(unittest.TestCase):
    def assert_holds(self, command, n_skipped):
        code, told = conform("--model", NOVEL, "--", *command)
        self.assertEqual((code, told.count("\nnot ok"), told.count("# skip")), (0, 0, n_skipped), told)

    def test_the_worker_keeps_the_protocol(self):
        self.assert_holds([WORKER], 0)

    def test_the_controller_keeps_the_protocol(self):
        self.assert_holds([TANDEM, "--worker", WORKER], 0)

    def test_the_fake_worker_without_a_fault_keeps_it_too(self):
        self.assert_holds([FAKE], 1)  # it knows no headers


# What is switched on, which checks are asked, whether anything can be asked at all, how long to wait. Where an
# absence has to be found the patience is short: however slow the machine, the finding stays the same.
FAULTS = [
    ("--no-event", "a stream is answer", 1, 5),
    ("--deaf", "at the end of input", 1, 5),
    ("--silent", "", 69, 1),
    ("--slow-ms=60000", "", 69, 1),
    ("--garbage", "", 69, PATIENCE),
    ("--exit=70", "", 69, PATIENCE),
    ("--torn-at=3", "ping", 1, PATIENCE),
    ("--wrong-id", "tokenize gives", 1, PATIENCE),
    ("--twice", "all at once", 69, PATIENCE),
    ("--flood=3", "", 69, PATIENCE),
    ("--die-after=3", "all at once", 1, PATIENCE),
    ("--gap", "a stream is answer", 1, PATIENCE),
    ("--after-end", "a stream is answer", 1, PATIENCE),
]


class Faults(unittest.TestCase):
    def test_each_fault_of_a_worker_is_found(self):
        with ThreadPoolExecutor(4) as pool:
            done = list(pool.map(lambda f: conform("--only", f[1], "--", FAKE, f[0], patience=f[3]), FAULTS))
        for (fault, _, expected, _), (code, told) in zip(FAULTS, done):
            with self.subTest(fault):
                self.assertEqual(code, expected, told)
                self.assertIn("Bail out!" if code == 69 else "not ok", told)


BY_SOMEBODY_ELSE = r"""
import json, sys
for line in sys.stdin:
    m = json.loads(line)
    said = {"initialize": {"result": %s}, "ping": {"result": {}}}.get(m["method"], {"error": "no"})
    print(json.dumps({"jsonrpc": "2.0", "id": m.get("id"), **said}), flush=True)
"""


class Findings(unittest.TestCase):
    """What is told of a worker that somebody wrote in an evening."""

    def told(self, hello, only):
        return conform("--only", only, "--", sys.executable, "-c", BY_SOMEBODY_ELSE % hello)

    def test_it_says_what_initialize_lacks(self):
        code, told = self.told('{"ok": 1}', "ping")
        self.assertEqual(code, 69)
        self.assertIn('no capabilities in {"ok": 1}', told)

    def test_it_says_what_was_asked_and_what_is_wrong_with_the_answer(self):
        hello = '{"capabilities": {"methods": ["initialize", "ping"]}}'
        code, told = self.told(hello, "a request has a method")
        self.assertEqual(code, 1)
        self.assertIn("ended while waiting for 1 message(s) in answer to {", told)
        code, told = self.told(hello, "unknown method")
        self.assertIn("whose error is no object with a code and a message", told)
        code, told = self.told(hello, "version")
        self.assertIn("no error in {", told)
        self.assertIn("in answer to {", told)


class Hosts(unittest.TestCase):
    def test_the_example_in_python_is_a_good_host(self):
        code, told = conform("--host", "--", sys.executable, "examples/host.py")
        self.assertEqual(code, 0, told)

    def test_a_host_that_asks_badly_or_hangs_is_found(self):
        say = "import os, subprocess; p = subprocess.Popen([os.environ['TANDEM']], stdin=-1, stdout=-1); "
        ping = b'{"jsonrpc":"2.0","id":1,"method":"ping"}\n'
        bad = {"an id twice": f"p.stdin.write({ping + ping!r}); p.communicate()",
               "no request": "p.stdin.write(b'{}\\n'); p.communicate()",
               "exit 3": f"p.stdin.write({ping!r}); p.communicate(); raise SystemExit(3)",
               "nothing": "p.communicate()"}
        for name, code in bad.items():
            with self.subTest(name):
                code, told = conform("--host", "--only", "only requests", "--", sys.executable, "-c", say + code)
                self.assertEqual(code, 1, told)
        code, told = conform("--host", "--only", "at once", "--", "sleep", "1000", patience=1)
        self.assertEqual((code, "still runs" in told), (1, True), told)


class Command(unittest.TestCase):
    def test_it_tells_what_it_is_and_what_is_wrong_with_its_command_line(self):
        for arguments, code in ((["--help"], 0), (["--list"], 0), (["--fake-worker", "--help"], 0), ([], 64), (["--nonsense"], 64),
                                (["--", "/nonexistent/program"], 69)):
            with self.subTest(arguments):
                got, told = conform(*arguments, patience=None)
                self.assertEqual(got, code, told)
                self.assertNotIn("Traceback", told)
                self.assertGreater(len(told), 20)


if __name__ == "__main__":
    unittest.main()
