"""`tandem run` is the same binary as a small host for people, and --help tells the truth."""
import json
import os
import signal
import subprocess
import tempfile
import unittest

from host import NOVEL, PATIENCE, TANDEM, WORKER, tandem, when_gone, children

PROMPT = "It was a cold evening in November when"


def run(*argv, **more):
    return subprocess.run(argv, capture_output=True, timeout=PATIENCE, text=True, **more)


class RunCommand(unittest.TestCase):
    def run_tandem(self, *options):
        return run(TANDEM, "run", "--worker", WORKER, "-m", NOVEL, "-p", PROMPT, *options)

    def test_the_text_is_that_of_generate_and_stdout_holds_nothing_else(self):
        for options, params in ((["--temperature", "0"], {"temperature": 0}),
                                (["--temperature", "0.8", "--seed", "5"], {"temperature": 0.8, "seed": 5})):
            process = self.run_tandem("-n", "24", *options)
            self.assertEqual(process.returncode, 0, process.stderr)
            with tandem() as host:
                host.load()
                text = host.stream(prompt=PROMPT, max_tokens=24, **params).text
            self.assertIn(process.stdout, (text, text + "\n", PROMPT + text + "\n", PROMPT + text))

    def test_the_timing_summary_is_on_stderr(self):
        process = self.run_tandem("-n", "8", "--temperature", "0")
        self.assertRegex(process.stderr, r"tokens?/s|tok/s")

    def test_json_output_is_one_json_text_per_line(self):
        process = self.run_tandem("-n", "8", "--temperature", "0", "--json")
        self.assertEqual(process.returncode, 0, process.stderr)
        lines = [json.loads(line) for line in process.stdout.splitlines()]
        self.assertTrue(lines)

    def test_a_model_that_is_not_there_is_said_on_stderr_with_a_failing_exit(self):
        process = run(TANDEM, "run", "--worker", WORKER, "-m", "/nonexistent", "-p", "x")
        self.assertNotEqual(process.returncode, 0)
        self.assertIn("/nonexistent", process.stderr)
        self.assertEqual(process.stdout, "")

    def test_a_missing_or_unknown_option_is_said_with_exit_64(self):
        for argv in (["run"], ["run", "--nonsense"], ["--nonsense"], ["run", "-m"], ["--workers=many"]):
            process = run(TANDEM, *argv, stdin=subprocess.DEVNULL)
            self.assertEqual(process.returncode, 64, argv)
            self.assertTrue(process.stderr.strip())
            self.assertEqual(process.stdout, "")

    def test_a_model_may_draft_and_the_text_is_the_same(self):
        plain, drafted = (self.run_tandem("-n", "24", "--temperature", "0", *more)
                          for more in ((), ("--draft-model", NOVEL)))
        self.assertEqual(drafted.returncode, 0, drafted.stderr)
        self.assertEqual(drafted.stdout, plain.stdout)
        absent = self.run_tandem("--draft-model", "/nonexistent")
        self.assertNotEqual(absent.returncode, 0)
        self.assertIn("/nonexistent", absent.stderr)

    def test_ctrl_c_ends_it_and_its_worker(self):
        process = subprocess.Popen([TANDEM, "run", "--worker", WORKER, "-m", NOVEL, "-p", PROMPT, "-n", "480"],
                                   stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True)
        self.addCleanup(process.stdout.close)
        process.stdout.read(1)
        family = [pid for pid, _ in children(process.pid)]
        process.send_signal(signal.SIGINT)
        process.stdout.read()
        process.wait(PATIENCE)
        self.assertEqual(when_gone(family, 5), 0)


class SelfTest(unittest.TestCase):
    """--selftest-determinism with a worker that lies in one circumstance, and with one that does not."""
    LIAR = """#!/bin/sh
case "$*" in
*--chunk-tokens=16*) "$REAL" "$@" | sed -u 's/"token_id":[0-9]*,"index":3/"token_id":5,"index":3/' ;;
*) exec "$REAL" "$@" ;;
esac
"""

    def run_with(self, worker, how_many="", *more):
        return run(TANDEM, "run", "--worker", worker, "-m", NOVEL, "--selftest-determinism" + how_many, *more,
                   env={**os.environ, "REAL": WORKER})

    def test_every_answer_is_the_same_in_every_circumstance(self):
        with tempfile.TemporaryDirectory() as folder:
            other = os.path.join(folder, os.path.basename(NOVEL))
            os.symlink(os.path.abspath(NOVEL), other)
            process = self.run_with(WORKER, "=3", f"--draft-model={other}")
        self.assertEqual(process.returncode, 0, process.stdout + process.stderr)
        lines = process.stdout.splitlines()
        self.assertGreaterEqual(len(lines), 15)
        for line in lines[1:]:
            self.assertRegex(line, r"^.{20,} \d+ answers, all the same(; .*)?$")
        self.assertRegex(process.stdout, r"prefix-cached .*; [1-9]\d* tokens were cached\n")
        for source in ("n-gram", "prediction", "itself", "--draft-model"):
            self.assertRegex(process.stdout, rf"drafted by {source} .*; \d+ of [1-9]\d* drafted tokens held\n")

    def test_what_differs_is_told_with_its_place_and_exit_1(self):
        with tempfile.TemporaryDirectory() as folder:
            liar = os.path.join(folder, "worker")
            with open(liar, "w") as f:
                f.write(self.LIAR)
            os.chmod(liar, 0o755)
            process = self.run_with(liar, "=2")
        self.assertEqual(process.returncode, 1, process.stderr)
        told = [line for line in process.stdout.splitlines() if "DIFFER" in line]
        self.assertEqual(len(told), 1, process.stdout)
        self.assertRegex(told[0], r"^prefill chunks of 16 +4 of 4 DIFFER: prompt 1 at temperature 0, "
                                  r"token 3 is 5 with -[0-9.]+, alone \d+ with -[0-9.]+$")

    def test_it_takes_no_question_of_the_caller(self):
        process = run(TANDEM, "run", "-m", NOVEL, "-p", "x", "--selftest-determinism")
        self.assertEqual(process.returncode, 64)
        self.assertIn("no prompt", process.stderr)

    def test_how_many_prompts_it_asks_is_a_number(self):
        for n in ("0", "1001", "two", ""):
            process = run(TANDEM, "run", "-m", NOVEL, f"--selftest-determinism={n}")
            self.assertEqual(process.returncode, 64, n)
            self.assertIn("--selftest-determinism", process.stderr)


class InspectCommand(unittest.TestCase):
    def inspect(self, *options):
        return run(TANDEM, "inspect", "--worker", WORKER, *options, stdin=subprocess.DEVNULL)

    def test_a_model_that_would_load_is_told_with_exit_0(self):
        process = self.inspect(NOVEL)
        self.assertEqual(process.returncode, 0, process.stderr)
        for words in ("llama", "512 tokens", "will load"):
            self.assertIn(words, process.stdout)
        self.assertEqual(process.stderr, "")

    def test_json_is_one_line_and_agrees_with_load_model(self):
        process = self.inspect("--json", NOVEL)
        self.assertEqual(len(process.stdout.splitlines()), 1)
        told = json.loads(process.stdout)
        with tandem() as host:
            loaded = host.load()
        for key in ("architecture", "format", "dtype", "quantization", "context_length", "vocab_size",
                    "parameter_count", "kv_bytes_per_token"):
            self.assertEqual(told[key], loaded[key], key)
        self.assertTrue(told["loads"])

    def test_what_would_not_load_is_told_why_with_exit_65(self):
        with tempfile.TemporaryDirectory() as folder:
            for options in ([folder], [folder, "--json"]):
                process = self.inspect(*options)
                self.assertEqual(process.returncode, 65)
                self.assertIn(os.path.join(folder, "config.json"), process.stdout)

    def test_an_id_is_looked_up_in_the_model_roots(self):
        process = self.inspect("--models", os.path.dirname(NOVEL), "novel-7m", "--json")
        self.assertEqual(process.returncode, 0, process.stderr)
        self.assertEqual(json.loads(process.stdout)["path"], NOVEL)

    def test_a_bad_command_line_is_exit_64_and_a_missing_worker_69(self):
        for options in ([], ["a", "b"], ["--nonsense", NOVEL], ["--models"]):
            self.assertEqual(self.inspect(*options).returncode, 64, options)
        process = run(TANDEM, "inspect", "--worker=/nonexistent", NOVEL, stdin=subprocess.DEVNULL)
        self.assertEqual(process.returncode, 69)
        self.assertIn("/nonexistent", process.stderr)


class Help(unittest.TestCase):
    def test_help_of_both_binaries_names_their_options_and_exits_0(self):
        for binary, words in ((TANDEM, ["run", "inspect", "--workers", "--worker", "--framing", "--drain-ms", "--help"]),
                              (WORKER, ["inspect", "--framing", "--drain-ms", "--help"])):
            process = run(binary, "--help", stdin=subprocess.DEVNULL)
            self.assertEqual(process.returncode, 0)
            for word in words:
                self.assertIn(word, process.stdout, os.path.basename(binary))

    def test_version_of_both_binaries(self):
        for binary in (TANDEM, WORKER):
            process = run(binary, "--version", stdin=subprocess.DEVNULL)
            self.assertEqual(process.returncode, 0)
            self.assertRegex(process.stdout, r"\d+\.\d+\.\d+")


if __name__ == "__main__":
    unittest.main()
