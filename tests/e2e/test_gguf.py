"""Architectures from GGUF: written as llama.cpp's converter lays them out, each gives the
greedy tokens that transformers gives for the folder it was made from."""
import os
import struct
import tempfile
import unittest

import gguf_writer
from host import ROOT, SHARED, WORKER, Host

# Those that the format can express: llama.cpp fixes SmolLM3's layers without positions, GPT-2's
# scale and GPT-NeoX's activation.
OURS = {"llama-bias": "llama", "llama-linear": "llama", "llama-yarn": "llama", "granite": "granite",
        "olmo2": "olmo2", "phi3": "phi3", "phi3-sliding-partial": "phi3", "gemma2-deep": "gemma2",
        "gemma3-linear": "gemma3", "gpt-neox": "gptneox", "phi2": "phi2", "starcoder2": "starcoder2",
        "stablelm": "stablelm"}
PUBLISHED = {"qwen2-bias": "qwen2", "qwen3-qknorm": "qwen3", "smollm3-nope": "smollm3", "gpt2": "gpt2"}


def golden(folder):
    tensors = gguf_writer.read_safetensors(os.path.join(folder, "golden.safetensors"))
    read = lambda name: list(struct.unpack(f"<{len(tensors[name][2]) // 4}i", tensors[name][2]))
    return read("input_ids"), read("greedy")


class Gguf(unittest.TestCase):
    def check(self, root, models):
        with tempfile.TemporaryDirectory() as tmp, Host(WORKER) as host:
            for name, arch in models.items():
                with self.subTest(name):
                    folder, path = os.path.join(root, name), os.path.join(tmp, name + ".gguf")
                    gguf_writer.write(arch, folder, path)
                    host.load(name, path)
                    ids, want = golden(folder)
                    got = host.call("generate", model_id=name, prompt_tokens=ids, max_tokens=len(want),
                                    temperature=0, ignore_eos=True, stream=False)
                    self.assertEqual(got["tokens"], want)

    def test_each_architecture_gives_the_tokens_of_its_folder(self):
        self.check(os.path.join(ROOT, "tests/data/arch"), OURS)

    def test_so_do_the_reference_models(self):
        root = os.path.join(SHARED, "golden/arch")
        if not os.path.isdir(root):
            self.skipTest(f"{root} is not there")
        self.check(root, PUBLISHED)


if __name__ == "__main__":
    unittest.main()
