"""Each fault of a worker costs its own request one typed error, and nobody else anything."""
import os
import unittest

from host import ROOT, tandem

FAKE = os.path.join(ROOT, "tests/conform/fake_worker.py")
CRASHED, TIMEOUT = -32009, -32008


class Faults(unittest.TestCase):
    def spawn(self, *faults):
        host = tandem("--worker", FAKE, "--workers=2", "--restarts=256", "--", *faults)
        self.addCleanup(host.kill)
        host.load()
        return host

    def ask_beside(self, host, bad=None, **more):
        """The bad request among good ones of its kind, and a stream; the good ones must not notice."""
        stream = host.start(prompt="fine", max_tokens=20, resume="replay")
        texts = ["a bb", "ccc", bad, "d ee fff"] if bad else ["a bb", "ccc", "d ee fff"]
        ids = host.requests([("tokenize", {"model_id": "m", "text": text, **(more if text == bad else {})})
                             for text in texts])
        error = host.answer(ids[texts.index(bad)]).body["error"] if bad else None
        for text, i in zip(texts, ids):
            if text != bad:
                self.assertEqual(host.result(i)["tokens"], [len(w) for w in text.split()])
        self.assertEqual(stream.wait().text, "".join(f"w{i} " for i in range(20)))
        self.assertEqual(len(stream.params("stream.event")), 1)
        return error

    def test_what_kills_tears_or_answers_wrongly_is_one_crash_for_its_own_request(self):
        for fault, told in (("die-on", "SIGABRT"), ("torn-on", "a part of a message is missing"),
                            ("wrong-on", "it answered what was not asked")):
            with self.subTest(fault):
                host = self.spawn(f"--{fault}=poison")
                error = self.ask_beside(host, bad="poison")
                self.assertEqual(error["code"], CRASHED)
                self.assertEqual((error["data"]["type"], error["data"]["poison"]), ("worker_crashed", True))
                self.assertIn(told, error["message"])
                self.ask_beside(host)
                host.close()

    def test_what_is_never_answered_is_a_timeout_for_its_own_request(self):
        host = self.spawn("--mute-on=poison")
        error = host.error("tokenize", model_id="m", text="poison", timeout_ms=50)
        self.assertEqual((error.code, error.data["phase"]), (TIMEOUT, "running"))
        self.ask_beside(host)
        host.close()

    def test_slow_cut_and_talkative_workers_cost_nobody_anything(self):
        for faults in (["--slow-ms=30"], ["--half"], ["--garbage"], ["--flood=300"], ["--after-end"],
                       ["--token-bytes=60000"]):
            with self.subTest(faults):
                host = self.spawn(*faults)
                if "--token-bytes=60000" in faults:
                    self.assertEqual(len(host.stream(prompt="long", max_tokens=50).text), 50 * 60000 + 190)
                else:
                    self.ask_beside(host)
                self.assertEqual(host.call("runtime/state")["restart_count"], 0)
                host.close()


if __name__ == "__main__":
    unittest.main()
