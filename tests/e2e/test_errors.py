"""Bad input anywhere is one typed error that names its cause, and everything else runs on."""
import json
import os
import re
import shutil
import struct
import tempfile
import unittest

from host import NOVEL, ROOT, tandem, worker

PROMPT = "The old house stood"

def refused_parameters():
    """(method, parameter) of all that docs/protocol.md lists as refused until it exists."""
    with open(os.path.join(ROOT, "docs/protocol.md"), encoding="utf-8") as f:
        sections = re.split(r"^### `(\S+)`$", f.read(), flags=re.M)[1:]
    for method, text in zip(sections[::2], sections[1::2]):
        _, _, refused = text.partition("Refused with -32602 until it exists:")
        for names in re.findall(r"^- (`.*?) - ", refused, re.M):
            for name in re.findall(r"`(\w+)`", names):
                yield method, name


OUT_OF_BOUNDS = {
    "max_tokens": (0, -1, 4097, 1.5, "5", True),
    "temperature": (-0.1, 2.1, "hot", False),
    "top_p": (0, 1.1, -1),
    "top_k": (-1, "x"),
    "min_p": (-0.1, 1.1),
    "presence_penalty": (-2.1, 2.1),
    "frequency_penalty": (-2.1, 2.1),
    "seed": (-1, 2 ** 32, 1.5, "x"),
    "stop_sequences": ("x" * 101, [1], ["a"] * 11, ["x" * 101]),
    "stop_token_ids": ([-1], ["x"], [0] * 101),
    "logit_bias": ({"x": 1}, {"1": 101}, {"1": True}, {"4096": 1}, [1]),
    "n": (0, 17),
    "top_logprobs": (-1, 21),
    "timeout_ms": (-1, "soon"),
    "stream": ("yes", 1),
    "echo": (1,),
    "prompt": (5, ["x"], {}),
    "truncate": ("middle",),
}


class BadRequests:
    @classmethod
    def setUpClass(cls):
        cls.host = cls.spawn()
        cls.addClassCleanup(cls.host.kill)
        cls.host.load()

    @classmethod
    def tearDownClass(cls):
        cls.host.stream(prompt=PROMPT, max_tokens=2)  # after all that, it still works
        cls.host.close()

    def refused(self, method, code, **params):
        error = self.host.error(method, **params)
        self.assertEqual(error.code, code, (params, error.message))
        self.assertTrue(error.data["type"])
        self.assertIn("retryable", error.data)
        return error

    def test_an_unknown_model_is_named(self):
        for method, params in (("tokenize", {"text": "x"}), ("detokenize", {"tokens": [1]}),
                               ("generate", {"prompt": "x"}), ("check_draft", {"prompt": "x", "draft_tokens": [1]})):
            error = self.refused(method, -32005, model_id="absent", **params)
            self.assertEqual(error.message, "Model not loaded: absent")
            self.assertEqual(error.data["model_id"], "absent")

    def test_an_unknown_parameter_is_named_with_its_nearest_neighbour(self):
        error = self.refused("generate", -32602, model_id="m", prompt="x", max_token=5)
        self.assertEqual(error.data["did_you_mean"], "max_tokens")
        self.assertIn("max_token", error.data["path"])
        error = self.refused("tokenize", -32602, model_id="m", txt="x")
        self.assertEqual(error.data["did_you_mean"], "text")

    def test_parameters_that_do_not_exist_yet_are_refused_with_a_sentence(self):
        whole = {"generate": {"prompt": "x"}, "load_model": {"local_path": NOVEL}, "tokenize": {"text": "x"},
                 "check_draft": {"prompt": "x", "draft_tokens": [1]}}
        n = 0
        for method, name in refused_parameters():
            params = {"model_id": "m", **whole.get(method, {}), name: ["not neutral"]}
            error = self.refused(method, -32602, **params)
            self.assertGreater(len(error.message.split()), 3, error.message)
            self.assertIn(name, error.data["path"])
            n += 1
        self.assertGreater(n, 0)

    def test_methods_that_do_not_exist_yet_are_refused_with_a_sentence(self):
        for method in self.host.call("rpc.discover")["methods"]:
            if "unavailable" in method:
                error = self.refused(method["name"], -32602, **method["example"])
                self.assertIn(method["unavailable"], error.message)

    def test_values_out_of_type_or_bounds_are_refused_and_name_their_path(self):
        for name, values in OUT_OF_BOUNDS.items():
            for value in values:
                params = {"prompt": "x", name: value}
                error = self.refused("generate", -32602, model_id="m", **params)
                self.assertIn(name, error.data.get("path", ""), (name, value, error.message))

    def test_a_model_id_is_checked_before_anything_else(self):
        for bad in ("", "../x", "a b", "x" * 513, 5, None, "a\n"):
            self.refused("tokenize", -32602, model_id=bad, text="x")
        self.refused("tokenize", -32602, text="x")

    def test_a_generate_takes_exactly_one_prompt(self):
        self.refused("generate", -32602, model_id="m")
        self.refused("generate", -32602, model_id="m", prompt="x", prompt_tokens=[1])
        self.refused("generate", -32602, model_id="m", prompt_tokens=[])
        self.refused("generate", -32602, model_id="m", prompt_tokens=[4096])
        self.refused("generate", -32602, model_id="m", prompt_tokens=[-1])

    def test_two_spellings_of_one_parameter_are_refused(self):
        self.refused("generate", -32602, model_id="m", prompt="x", max_tokens=1, n_predict=2)

    def test_token_ids_outside_the_vocabulary_are_refused(self):
        error = self.host.error("detokenize", model_id="m", tokens=[1, 99999])
        self.assertIn(error.code, (-32602, -32003))

    def test_text_that_is_no_unicode_is_a_parse_error(self):
        for text in (b"\xc3(", b"\xed\xa0\x80", b"\xf5", b"\\ud800", b"\\udc00\\ud800"):
            n = len(self.host.messages)
            self.host.write(b'{"jsonrpc":"2.0","id":"u","method":"tokenize","params":{"model_id":"m","text":"%s"}}\n'
                            % text)
            body = self.host.wait_count(n + 1)[-1].body
            self.assertEqual((body["id"], body["error"]["code"]), (None, -32700))

    def test_a_nul_and_every_control_character_are_ordinary_text(self):
        text = "".join(map(chr, range(32))) + "\x7f\u0085\u2028\u2029end"
        ids = self.host.call("tokenize", model_id="m", text=text, add_special_tokens=False)["tokens"]
        self.assertEqual(self.host.call("detokenize", model_id="m", tokens=ids)["text"], text)


class BadModels:
    """Each a folder with one thing wrong; each error names the file and the thing."""

    @classmethod
    def setUpClass(cls):
        cls.host = cls.spawn()
        cls.addClassCleanup(cls.host.kill)
        cls.host.load()

    @classmethod
    def tearDownClass(cls):
        cls.host.stream(prompt=PROMPT, max_tokens=2)
        cls.host.close()

    def setUp(self):
        self.folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.folder)
        for name in os.listdir(NOVEL):
            os.symlink(os.path.join(NOVEL, name), os.path.join(self.folder, name))

    def replace(self, name, data):
        os.unlink(os.path.join(self.folder, name))
        with open(os.path.join(self.folder, name), "wb") as f:
            f.write(data if isinstance(data, bytes) else json.dumps(data).encode())

    def original(self, name):
        with open(os.path.join(NOVEL, name), "rb") as f:
            return f.read()

    def assert_refused(self, *names, code=-32001):
        error = self.host.error("load_model", model_id="bad", local_path=self.folder)
        self.assertEqual(error.code, code, error.message)
        self.assertEqual(error.data["type"], {-32001: "model_load", -32003: "tokenizer"}[code])
        for name in names:
            self.assertIn(name, error.message)

    def test_a_missing_folder_or_file_is_named(self):
        for path in ("/nonexistent/model", os.path.join(self.folder, "config.json", "x"), "/dev/null"):
            error = self.host.error("load_model", model_id="bad", local_path=path)
            self.assertEqual(error.code, -32001)
            self.assertIn(path, error.message)
        for name in ("config.json", "model.safetensors"):
            os.rename(os.path.join(self.folder, name), os.path.join(self.folder, "hidden"))
            self.assert_refused(name)
            os.rename(os.path.join(self.folder, "hidden"), os.path.join(self.folder, name))

    def test_a_config_without_a_needed_field_names_the_field(self):
        config = json.loads(self.original("config.json"))
        for field in ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size"):
            self.replace("config.json", {k: v for k, v in config.items() if k != field})
            self.assert_refused("config.json", field)

    def test_a_config_with_a_field_of_the_wrong_kind_or_size_names_the_field(self):
        config = json.loads(self.original("config.json"))
        for field, value in (("hidden_size", "wide"), ("num_hidden_layers", -1), ("num_attention_heads", 0),
                             ("num_key_value_heads", 3), ("vocab_size", 10 ** 12), ("hidden_size", 2 ** 62)):
            self.replace("config.json", {**config, field: value})
            self.assert_refused("config.json", field)

    def test_a_config_that_is_no_json_or_no_object_is_named(self):
        for data in (b"", b"{", b"[]", b"\xff\xfe", b"null"):
            self.replace("config.json", data)
            self.assert_refused("config.json")

    def test_an_architecture_nobody_wrote_yet_is_named(self):
        config = json.loads(self.original("config.json"))
        self.replace("config.json", {**config, "model_type": "rwkv9", "architectures": ["Rwkv9ForCausalLM"]})
        self.assert_refused("rwkv9")

    def test_truncated_safetensors_are_refused_at_every_cut(self):
        data = self.original("model.safetensors")
        for n in (0, 7, 8, 100, 4000, len(data) // 2, len(data) - 1):
            self.replace("model.safetensors", data[:n])
            self.assert_refused("model.safetensors")

    def tensors(self):
        data = self.original("model.safetensors")
        n = struct.unpack("<Q", data[:8])[0]
        return json.loads(data[8:8 + n]), data[8 + n:]

    def replace_header(self, header, data):
        text = json.dumps(header).encode()
        self.replace("model.safetensors", struct.pack("<Q", len(text)) + text + data)

    def test_a_tensor_that_is_missing_or_has_the_wrong_shape_is_named(self):
        name = "model.layers.3.mlp.up_proj.weight"
        header, data = self.tensors()
        shape = header[name]["shape"]
        for wrong in ([shape[1], shape[0]], [shape[0] * shape[1]], [shape[0], shape[1] // 2, 2]):
            self.replace_header({**header, name: {**header[name], "shape": wrong}}, data)
            self.assert_refused(name)
        self.replace_header({k + "_" * (k == name): v for k, v in header.items()}, data)
        self.assert_refused(name)

    def test_offsets_and_types_that_lie_are_refused(self):
        name = "model.norm.weight"
        header, data = self.tensors()
        for lie in ({"data_offsets": [0, 2 ** 63]}, {"data_offsets": [512, 0]}, {"data_offsets": [len(data), len(data) + 512]},
                    {"data_offsets": [-1, 511]}, {"dtype": "F7"}, {"shape": [2 ** 40, 2 ** 40]}, {"shape": "x"}):
            self.replace_header({**header, name: {**header[name], **lie}}, data)
            self.assert_refused("model.safetensors")

    def test_a_header_that_is_no_json_or_too_long_is_refused(self):
        _, data = self.tensors()
        for head in (struct.pack("<Q", 2 ** 63), struct.pack("<Q", 5) + b"hello", struct.pack("<Q", 2) + b"[]"):
            self.replace("model.safetensors", head + data[:1000])
            self.assert_refused("model.safetensors")

    def test_a_broken_tokenizer_is_a_tokenizer_error_that_names_the_file(self):
        whole = json.loads(self.original("tokenizer.json"))
        for data in (b"", b"{}", b"{\"model\":{\"type\":\"Mystery\"}}", {**whole, "model": {**whole["model"], "vocab": []}},
                     {**whole, "pre_tokenizer": {"type": "Split", "pattern": {"Regex": "("}, "behavior": "Isolated"}}):
            self.replace("tokenizer.json", data)
            self.assert_refused("tokenizer.json", code=-32003)

    def test_options_that_cannot_be_honoured_are_refused(self):
        for params in ({"context_length": 10 ** 6}, {"dtype": "float7"}, {"quantization": "int3"},
                       {"kv_cache_dtype": "f7"}, {"context_length": 0}):
            error = self.host.error("load_model", model_id="bad", local_path=NOVEL, **params)
            self.assertIn(error.code, (-32602, -32001))
            self.assertIn(next(iter(params)), error.message + str(error.data))


class BadRequestsOnTandem(BadRequests, unittest.TestCase):
    spawn = staticmethod(tandem)


class BadRequestsOnWorker(BadRequests, unittest.TestCase):
    spawn = staticmethod(worker)


class BadModelsOnTandem(BadModels, unittest.TestCase):
    spawn = staticmethod(tandem)


class BadModelsOnWorker(BadModels, unittest.TestCase):
    spawn = staticmethod(worker)


if __name__ == "__main__":
    unittest.main()
