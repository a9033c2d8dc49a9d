"""`tandem cache`, and packed weights across processes."""
import json
import os
import struct
import subprocess
import tempfile
import unittest

from host import ROOT, TANDEM, WORKER

DIM, VOCAB = 96, 4096
TOKENIZER = os.path.join(ROOT, "models", "novel-7m", "tokenizer.json")


def write_gpt2(folder):
    """One layer whose matrices a load has to turn round."""
    tensors = {"wte.weight": [VOCAB, DIM], "wpe.weight": [64, DIM], "ln_f.weight": [DIM], "ln_f.bias": [DIM],
               "h.0.attn.c_attn.weight": [DIM, 3 * DIM], "h.0.attn.c_attn.bias": [3 * DIM],
               "h.0.attn.c_proj.weight": [DIM, DIM], "h.0.attn.c_proj.bias": [DIM],
               "h.0.mlp.c_fc.weight": [DIM, 4 * DIM], "h.0.mlp.c_fc.bias": [4 * DIM],
               "h.0.mlp.c_proj.weight": [4 * DIM, DIM], "h.0.mlp.c_proj.bias": [DIM]}
    for norm in ("ln_1", "ln_2"):
        tensors["h.0.%s.weight" % norm] = tensors["h.0.%s.bias" % norm] = [DIM]
    header, at, data = {}, 0, []
    for name, shape in tensors.items():
        n = shape[0] * (shape[1] if len(shape) > 1 else 1)
        values = [((i * 7919 + len(name) * 104729) % 1009 - 504) / 2000 for i in range(n)]
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + 4 * n]}
        data.append(struct.pack("<%df" % n, *values))
        at += 4 * n
    text = json.dumps(header).encode()
    with open(os.path.join(folder, "model.safetensors"), "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(data))
    with open(os.path.join(folder, "config.json"), "w") as f:
        json.dump({"model_type": "gpt2", "n_embd": DIM, "n_head": 4, "n_layer": 1, "n_positions": 64,
                   "vocab_size": VOCAB, "layer_norm_epsilon": 1e-5}, f)
    os.symlink(TOKENIZER, os.path.join(folder, "tokenizer.json"))


class Cache(unittest.TestCase):
    def setUp(self):
        home = tempfile.TemporaryDirectory()
        self.addCleanup(home.cleanup)
        self.env = dict(os.environ, XDG_CACHE_HOME=os.path.join(home.name, "cache"))
        self.dir = os.path.join(home.name, "cache", "tandem", "weights")
        self.model = os.path.join(home.name, "turned")
        os.mkdir(self.model)
        write_gpt2(self.model)

    def run_tandem(self, *args, stdin=""):
        return subprocess.run([TANDEM, *args], input=stdin, env=self.env, capture_output=True, text=True, timeout=60)

    def cache(self, *args):
        return self.run_tandem("cache", "--worker", WORKER, *args)

    def load(self, *options, **params):
        call = {"jsonrpc": "2.0", "id": 1, "method": "load_model",
                "params": {"model_id": "m", "local_path": self.model, **params}}
        process = self.run_tandem("--worker", WORKER, *options, stdin=json.dumps(call) + "\n")
        answer = json.loads(process.stdout.splitlines()[0])
        self.assertEqual(answer["result"]["state"], "ready", process.stderr)

    def packs(self):
        names = os.listdir(self.dir) if os.path.isdir(self.dir) else []
        return sorted(n for n in names if n.endswith(".pack"))

    def test_what_a_load_packed_is_listed_verified_and_removed(self):
        self.assertEqual(self.cache("ls").stdout, "")
        self.load()
        self.load("--workers=2")
        (pack,) = self.packs()
        key = pack[:32]
        listed = self.cache("ls").stdout
        self.assertEqual(len(listed.splitlines()), 1, listed)
        self.assertTrue(listed.startswith(key + " ") and listed.endswith(" turned\n"), listed)
        self.assertEqual(self.cache("verify").stdout, key + " whole\n")
        removed = self.cache("rm", key[:6])
        self.assertEqual((removed.returncode, self.packs()), (0, []))

    def test_quantized_and_plain_loads_keep_packs_of_their_own(self):
        self.load()
        plain = self.packs()
        self.load(quantization="int4")
        both = self.packs()
        self.assertEqual((len(plain), len(both)), (1, 2))
        self.load(quantization="int4")
        self.load()
        self.assertEqual(self.packs(), both)
        self.assertEqual(self.cache("verify").stdout.count(" whole"), 2)

    def test_verify_finds_one_changed_bit(self):
        self.load()
        (pack,) = self.packs()
        with open(os.path.join(self.dir, pack), "r+b") as f:
            f.seek(70000)
            byte = f.read(1)[0]
            f.seek(70000)
            f.write(bytes([byte ^ 1]))
        process = self.cache("verify", pack[:32])
        self.assertEqual(process.returncode, 65)
        self.assertIn("damaged", process.stdout)
        self.load()  # works all the same, and throws the file away
        self.assertEqual(self.packs(), [])

    def test_no_cache_writes_nothing_and_a_small_bound_keeps_nothing(self):
        self.load("--no-cache")
        self.assertFalse(os.path.exists(self.dir))
        self.load("--cache-bytes=1K")
        self.assertEqual(self.packs(), [])

    def test_a_folder_that_cannot_be_made_does_not_stop_a_load(self):
        self.env["XDG_CACHE_HOME"] = "/proc/nowhere"
        self.load()

    def test_rm_all_leaves_an_empty_folder(self):
        self.load()
        self.assertEqual(self.cache("rm", "--all").returncode, 0)
        self.assertEqual(os.listdir(self.dir), [])

    def test_bad_command_lines_say_so(self):
        for args, code in (((), 64), (("fold",), 64), (("rm",), 64), (("rm", "--all", "abc"), 64), (("ls", "x"), 64),
                           (("ls", "--all"), 64), (("--nonsense",), 64), (("rm", "abc"), 66), (("verify", ""), 66)):
            process = self.cache(*args)
            self.assertEqual(process.returncode, code, args)
            self.assertTrue(process.stderr.startswith("tandem cache: "), args)
        for value in ("0", "x", "1T", "-1", "", "99999999999999999999"):
            process = self.run_tandem("--worker", WORKER, "--cache-bytes=" + value)
            self.assertEqual(process.returncode, 64, value)
        self.assertEqual(self.cache("--help").returncode, 0)


if __name__ == "__main__":
    unittest.main()
