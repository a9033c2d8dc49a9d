"""A worker's death leaves a file that its error names."""
import json
import os
import stat
import tempfile
import unittest

from host import WORKER, tandem

LONG = {"prompt": "Once upon a time", "max_tokens": 400, "ignore_eos": True, "seed": 4, "resume": "error"}


class Bundle(unittest.TestCase):
    def test_what_is_known_of_a_crash_is_in_the_file_that_the_error_names(self):
        for sandbox in ("off", "basic", "strict"):
            with self.subTest(sandbox), tempfile.TemporaryDirectory() as state:
                self.check(sandbox, state)

    def check(self, sandbox, state):
        models = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + "/../models"
        with tandem(f"--sandbox={sandbox}", f"--models={os.path.realpath(models)}", env={"XDG_STATE_HOME": state},
                    worker_options=["--dev-crash-after=8"]) as host:
            host.load()
            path = host.start(**LONG).wait().event["data"]["bundle"]
        self.assertTrue(path.startswith(state + "/tandem/crash-"), path)
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600)
        with open(path, encoding="utf-8") as f:
            bundle = json.load(f)
        self.assertEqual(bundle["signal"], "SIGABRT")
        self.assertEqual([(r["method"], r["params"]["seed"]) for r in bundle["requests"]], [("generate", 4)])
        self.assertGreaterEqual(bundle["requests"][0]["tokens_delivered"], 8)
        self.assertTrue([f for f in bundle["frames"] if f["dir"] == "from" and "stream.chunk" in f["text"]])
        self.assertTrue(bundle["stderr_tail"])
        with open(WORKER, "rb") as f:
            is_instrumented = b"__asan_" in (binary := f.read()) or b"__tsan_" in binary
        if not is_instrumented:  # a sanitizer tells more itself
            self.assertTrue([line for line in bundle["backtrace"] if "abort" in line], bundle["backtrace"])


if __name__ == "__main__":
    unittest.main()
