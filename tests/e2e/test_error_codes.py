"""Every error code there is, provoked end to end: a code in protocol/err.c without a test here fails."""
import json
import os
import re
import shutil
import struct
import tempfile
import unittest

from host import NOVEL, ROOT, tandem

FAKE = os.path.join(ROOT, "tests/conform/fake_worker.py")
PROMPT = "The old house stood"


def codes_there_are():
    """{code: type} of the table in protocol/err.c."""
    with open(os.path.join(ROOT, "protocol/err.c"), encoding="utf-8") as f:
        rows = re.findall(r'\[-ERR_\w+\] = \{ (-\d+), "(\w+)",', f.read())
    return {int(code): kind for code, kind in rows}


def novel_with(folder, tokenizer):
    """The bundled model, its tokenizer.json given to the function and replaced by what that returns."""
    shutil.copytree(NOVEL, folder)
    path = os.path.join(folder, "tokenizer.json")
    with open(path, encoding="utf-8") as f:
        whole = tokenizer(json.load(f))
    with open(path, "w", encoding="utf-8") as f:
        json.dump(whole, f)
    return folder


def swapped(tokenizer):
    """Two ids that change their meaning."""
    vocab = tokenizer["model"]["vocab"]
    a, b = sorted(vocab, key=vocab.get)[-2:]
    vocab[a], vocab[b] = vocab[b], vocab[a]
    return tokenizer


def novel_that_is_not_a_number(folder):
    """… with such a norm."""
    shutil.copytree(NOVEL, folder)
    path = os.path.join(folder, "model.safetensors")
    with open(path, "r+b") as f:
        n = struct.unpack("<Q", f.read(8))[0]
        begin, end = json.loads(f.read(n))["model.norm.weight"]["data_offsets"]
        f.seek(8 + n + begin)
        f.write(b"\xc0\x7f" * ((end - begin) // 2))
    return folder


class Codes(unittest.TestCase):
    """One test a code, which its name tells."""

    @classmethod
    def setUpClass(cls):
        cls.real = tandem("--", "--kv-bytes=64M")
        cls.addClassCleanup(cls.real.kill)
        cls.real.load()

    def fake(self, *options):
        """A controller whose worker is scripted; tandem's own options before "--"."""
        host = tandem("--worker", FAKE, *options)
        self.addCleanup(host.kill)
        host.load()
        return host

    def expect(self, code, error):
        """An error object, or an RpcError."""
        error = error if isinstance(error, dict) else {"code": error.code, "message": error.message, "data": error.data}
        self.assertEqual(error["code"], code, error)
        self.assertEqual(error["data"]["type"], codes_there_are()[code])
        self.assertIsInstance(error["data"]["retryable"], bool)
        self.assertTrue(error["message"])

    def refused_text(self, text):
        n = len(self.real.messages)
        self.real.send_text(text)
        return self.real.wait_count(n + 1)[-1].body["error"]

    def test_32700(self):
        self.expect(-32700, self.refused_text('{"jsonrpc":"2.0",'))

    def test_32600(self):
        self.expect(-32600, self.refused_text('{"jsonrpc":"2.0","method":5}'))

    def test_32601(self):
        self.expect(-32601, self.real.error("no_such_method"))

    def test_32602(self):
        self.expect(-32602, self.real.error("tokenize", model_id="m", text=5))

    def test_32603(self):
        """A worker that leaves a call out of its answer."""
        host = self.fake("--", "--short", "--hold-ms=20")
        ids = host.requests([("tokenize", {"model_id": "m", "text": "x"})] * 20)
        errors = [b["error"] for b in (host.answer(i).body for i in ids) if "error" in b]
        self.expect(-32603, errors[0])

    def test_32001(self):
        self.expect(-32001, self.real.error("load_model", model_id="x", local_path="/nonexistent"))

    def test_32002(self):
        with tempfile.TemporaryDirectory() as folder:
            self.real.load("spoiled", novel_that_is_not_a_number(os.path.join(folder, "spoiled")))
            event = self.real.stream(model_id="spoiled", prompt=PROMPT).event
            self.expect(-32002, {**event, "message": event["error"]})

    def test_32003(self):
        with tempfile.TemporaryDirectory() as folder:
            path = novel_with(os.path.join(folder, "spoiled"), lambda whole: {})
            self.expect(-32003, self.real.error("load_model", model_id="x", local_path=path))

    def test_32004_which_only_other_workers_have(self):
        """Whatever a worker answers reaches the host as it is."""
        host = self.fake("--", "--fail=-32004:guidance")
        self.expect(-32004, host.error("tokenize", model_id="m", text="x"))

    def test_32005(self):
        self.expect(-32005, self.real.error("tokenize", model_id="absent", text="x"))

    def test_32006(self):
        host = self.fake("--queue-calls=1", "--", "--hold-ms=20")
        ids = host.requests([("tokenize", {"model_id": "m", "text": "x"})] * 20)
        errors = [b["error"] for b in (host.answer(i).body for i in ids) if "error" in b]
        self.expect(-32006, errors[0])
        self.assertGreater(errors[0]["data"]["retry_after_ms"], 0)

    def test_32007(self):
        self.expect(-32007, self.real.error("generate", model_id="m", prompt=PROMPT * 400))

    def test_32008(self):
        host = self.fake("--", "--mute-first")
        self.expect(-32008, host.error("tokenize", model_id="m", text="x", timeout_ms=20))

    def test_32009(self):
        host = self.fake("--", "--die-on=poison")
        self.expect(-32009, host.error("tokenize", model_id="m", text="poison"))

    def test_32010(self):
        host = self.fake("--", "--token-ms=10")
        stream = host.start(prompt="x", max_tokens=100)
        stream.wait_tokens()
        ids = host.requests([("shutdown", {}), ("tokenize", {"model_id": "m", "text": "x"})])
        self.expect(-32010, host.answer(ids[1]).body["error"])

    def test_32011(self):
        """A worker that is being drained already."""
        host = self.fake("--", "--token-ms=10")
        host.start(prompt="x", max_tokens=100).wait_tokens()
        ids = host.requests([("runtime/drain_worker", {"worker": 0})] * 2)
        self.expect(-32011, host.answer(ids[1]).body["error"])

    def test_32012(self):
        host = tandem("--", "--kv-bytes=1K")
        self.addCleanup(host.kill)
        host.load()
        self.expect(-32012, host.error("generate", model_id="m", prompt=PROMPT, stream=False))

    def test_32013(self):
        with tempfile.TemporaryDirectory() as folder:
            self.real.load("other", novel_with(os.path.join(folder, "other"), swapped))
            self.expect(-32013, self.real.error("generate", model_id="m", prompt=PROMPT, draft_model="other"))

    def test_32099(self):
        """Answers that are too long together."""
        params = {"model_id": "m", "text": "x " * 400000}
        n = len(self.real.messages)
        self.real.send_text("[" + ",".join(self.real.encode("tokenize", params, f"long-{i}") for i in range(2)) + "]")
        answers = self.real.wait(lambda: self.real.messages[n:], "a batch")[0].body
        self.expect(-32099, next(a["error"] for a in answers if "error" in a))

    def test_32800(self):
        host = self.fake()
        cancel = host.encode("$/cancelRequest", {"id": "c"})
        host.write(host.frame(host.encode("tokenize", {"model_id": "m", "text": "x"}, "c")) + host.frame(cancel))
        self.expect(-32800, host.answer("c").body["error"])

    def test_every_code_has_a_test_here_and_a_row_in_the_page(self):
        there = set(codes_there_are()) - {0}
        self.assertGreater(len(there), 15)
        tested = {-int(code) for name in dir(self) for code in re.findall(r"_(32\d{3})", name)}
        self.assertEqual(tested, there)
        with open(os.path.join(ROOT, "docs/protocol.md"), encoding="utf-8") as f:
            self.assertEqual({(int(c), t) for c, t in re.findall(r"^\| (-\d+) \| `(\w+)`", f.read(), re.M)},
                             {(c, codes_there_are()[c]) for c in there})

    @classmethod
    def tearDownClass(cls):
        cls.real.close()


if __name__ == "__main__":
    unittest.main()
