"""The example hosts run as they stand, and stay short enough to read in one go."""
import glob
import os
import subprocess
import tempfile
import unittest

from host import NOVEL, PATIENCE, ROOT, SCRIPTS, TANDEM, WORKER


class Examples(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.tandem = os.path.join(SCRIPTS.name, "tandem")
        with open(cls.tandem, "w") as f:
            f.write(f'#!/bin/sh\nexec "{TANDEM}" --worker "{WORKER}" "$@"\n')
        os.chmod(cls.tandem, 0o755)

    def run_example(self, *argv):
        process = subprocess.run(argv, capture_output=True, text=True, timeout=PATIENCE, cwd=ROOT,
                                 env={**os.environ, "TANDEM": self.tandem})
        self.assertEqual(process.returncode, 0, process.stderr)
        self.assertIn("ready", process.stdout)
        self.assertIn("1567", process.stdout)  # "cold", among the tokens
        self.assertIn("cancelled", process.stdout)
        return process.stdout

    def test_the_python_host(self):
        self.run_example("python3", "examples/host.py", NOVEL)

    def test_the_node_host(self):
        self.run_example("node", "examples/host.mjs", NOVEL)

    def test_the_shell_host(self):
        self.run_example("bash", "examples/host.sh", NOVEL)

    def test_the_c_host(self):
        with tempfile.TemporaryDirectory() as folder:
            host = os.path.join(folder, "host")
            subprocess.run(["cc", "-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", "-I/usr/include/json-c",
                            "examples/host.c", "-o", host, "-ljson-c"], check=True, timeout=PATIENCE, cwd=ROOT)
            self.run_example(host, self.tandem)

    def test_none_is_longer_than_40_lines(self):
        for path in glob.glob(os.path.join(ROOT, "examples/host.*")):
            with open(path) as f:
                self.assertLessEqual(len(f.readlines()), 40, path)


if __name__ == "__main__":
    unittest.main()
