"""Models are found by id below --models, also in a Hugging Face cache; embed answers through both binaries."""
import os
import shutil
import struct
import tempfile
import unittest

from host import NOVEL, SHARED, Host, RpcError, TANDEM, WORKER, tandem, worker

GGUF = os.path.join(SHARED, "models/gguf/novel-7m-q8_0.gguf")


def make_cache(root, repo, files):
    """files: name in the snapshot → file to be copied; stored as Hugging Face's client does."""
    folder = os.path.join(root, "models--" + repo.replace("/", "--"))
    snapshot = os.path.join(folder, "snapshots", "0123abcd")
    os.makedirs(snapshot)
    os.makedirs(os.path.join(folder, "blobs"))
    os.makedirs(os.path.join(folder, "refs"))
    with open(os.path.join(folder, "refs", "main"), "w", encoding="ascii") as f:
        f.write("0123abcd")
    for i, (name, source) in enumerate(files.items()):
        shutil.copy(source, os.path.join(folder, "blobs", f"blob{i}"))
        os.symlink(f"../../blobs/blob{i}", os.path.join(snapshot, name))


class Roots(unittest.TestCase):
    def setUp(self):
        self.root = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.root)
        shutil.copytree(NOVEL, os.path.join(self.root, "books/novel"))
        make_cache(self.root, "people/cached", {name: os.path.join(NOVEL, name) for name in os.listdir(NOVEL)})
        if os.path.exists(GGUF):
            make_cache(self.root, "people/quants", {"novel-Q8_0.gguf": GGUF})

    def check(self, host):
        models = host.call("list_models")["models"]
        ids = [m["model_id"] for m in models]
        self.assertEqual(ids, sorted(ids))
        self.assertEqual([i for i in ids if "quants" not in i], ["books/novel", "people/cached"])
        for model in models:
            self.assertEqual(model["state"], "available")
            self.assertGreater(model["size_bytes"], 1 << 20)
            self.assertEqual(model["architecture"], "llama")
            loaded = host.call("load_model", model_id=model["model_id"])
            self.assertEqual(loaded["format"], model["format"])
            self.assertEqual(loaded["parameter_count"], 6951168)
        states = {m["model_id"]: m["state"] for m in host.call("list_models")["models"]}
        self.assertEqual(states, {i: "ready" for i in ids})
        if "people/quants/novel-Q8_0.gguf" in ids:
            self.assertEqual(host.call("load_model", model_id="people/quants/novel-Q8_0")["quantization"], "Q8_0")

    def test_every_listed_model_loads_by_its_id(self):
        with Host(TANDEM, "--worker", WORKER, "--models", self.root) as host:
            self.check(host)

    def test_of_one_worker_too(self):
        with Host(WORKER, "--models", self.root) as host:
            self.check(host)

    def test_an_id_that_is_nowhere_names_the_places_looked_at(self):
        with Host(TANDEM, "--worker", WORKER, "--models", self.root) as host:
            with self.assertRaises(RpcError) as refused:
                host.call("load_model", model_id="people/nobody")
            self.assertEqual(refused.exception.code, -32001)
            self.assertIn(self.root + "/people/nobody", refused.exception.message)


def with_pooling(number):
    """GGUF metadata that says llama.pooling_type, filled up to the alignment of the data after it."""
    key, note = b"llama.pooling_type", b"general.note"
    asked = struct.pack("<Q", len(key)) + key + struct.pack("<II", 4, number)
    head = struct.pack("<Q", len(note)) + note + struct.pack("<I", 8)
    filler = -(len(asked) + len(head) + 8) % 32
    return asked + head + struct.pack("<Q", filler) + b"x" * filler


class Embed(unittest.TestCase):
    @unittest.skipUnless(os.path.exists(GGUF), "no GGUF in ../shared")
    def test_a_gguf_says_how_it_pools(self):
        with open(GGUF, "rb") as f, tempfile.NamedTemporaryFile(suffix=".gguf") as patched, worker() as host:
            magic, version, n_tensors, n_keys = struct.unpack("<4sIQQ", f.read(24))
            patched.write(struct.pack("<4sIQQ", magic, version, n_tensors, n_keys + 2) + with_pooling(1) + f.read())
            patched.flush()
            host.load("plain", GGUF)
            host.load("asks", patched.name)
            plain = host.call("embed", model_id="plain", input="the house")
            mean = host.call("embed", model_id="plain", input="the house", pooling="mean")
            asks = host.call("embed", model_id="asks", input="the house")
            self.assertEqual([plain["pooling"], asks["pooling"]], ["last", "mean"])
            self.assertEqual(asks, mean)
            self.assertNotEqual(asks["data"], plain["data"])

    def test_the_controller_and_a_worker_alone_give_the_same_vectors(self):
        texts = ["It was a cold evening in November", "", "the house " * 150]
        answers = []
        for make in tandem, worker:
            with make() as host:
                model = host.load()["model_id"]
                answers.append(host.call("embed", model_id=model, input=texts, pooling="mean"))
        self.assertEqual(answers[0], answers[1])
        for i, item in enumerate(answers[0]["data"]):
            self.assertEqual(item["index"], i)
            self.assertAlmostEqual(sum(x * x for x in item["embedding"]), 1, places=5)

    def test_a_text_beyond_the_context_is_an_overflow_with_counts(self):
        with tandem() as host:
            model = host.load()["model_id"]
            with self.assertRaises(RpcError) as refused:
                host.call("embed", model_id=model, input=["a", "the " * 600])
            self.assertEqual(refused.exception.code, -32007)
            self.assertEqual(refused.exception.data["max"], 512)
            self.assertGreater(refused.exception.data["prompt_tokens"], 512)
            self.assertEqual(refused.exception.data["path"], "input[1]")


class Replicas(unittest.TestCase):
    def test_workers_2_of_3_loads_the_model_into_two_and_both_serve_it(self):
        with tandem("--workers=3", worker_options=["--dev-stall-ms=5"]) as host:
            host.call("ping")
            self.assertEqual(host.load("m", workers=2)["replicas"], 2)
            self.assertEqual(host.load("one", workers=1)["replicas"], 1)
            streams = [host.start(prompt="Once upon a time", max_tokens=300, ignore_eos=True, temperature=0)
                       for _ in range(6)]
            for stream in streams:
                stream.wait_tokens()
            held = sorted(w["inflight"] for w in host.call("runtime/state")["workers"])
            self.assertEqual((held[0], sum(held)), (0, 6), held)
            self.assertGreater(held[1], 0, held)
            for stream in streams:
                host.call("cancel", stream_id=stream.stream_id)
                stream.wait()

    def test_more_replicas_than_workers_are_refused(self):
        with tandem("--workers=2") as host:
            error = host.error("load_model", model_id="m", local_path=NOVEL, workers=3)
            self.assertEqual((error.code, error.data["path"]), (-32602, "workers"))


class Unloading:
    def test_an_unload_that_waits_is_joined_and_one_that_will_not_wait_ends_the_streams(self):
        with self.spawn() as host:
            host.load()
            # Nobody acknowledges: they stay.
            streams = [host.start(prompt="Once", max_tokens=400, ignore_eos=True, stream_options={"ack_window": 2})
                       for _ in range(3)]
            for stream in streams:
                stream.wait_tokens(2)
            waiting = [host.request("unload_model", model_id="m") for _ in range(2)]
            self.assertEqual(host.error("tokenize", model_id="m", text="x").code, -32005)
            self.assertEqual(host.call("unload_model", model_id="m", force=True), {"success": True})
            self.assertEqual([host.result(i) for i in waiting], [{"success": True}] * 2)
            self.assertEqual([s.wait().finish_reason for s in streams], ["cancelled"] * 3)
            self.assertEqual(host.error("unload_model", model_id="m").code, -32005)
            self.assertEqual(host.load()["state"], "ready")

    def test_an_unload_no_longer_waited_for_leaves_the_model_to_whoever_asks_next(self):
        with self.spawn() as host:
            host.load()
            stream = host.start(prompt="Once", max_tokens=400, ignore_eos=True, stream_options={"ack_window": 2})
            stream.wait_tokens(2)
            for call_off in (lambda i: host.notify("$/cancelRequest", id=i), lambda i: host.call("cancel", id=i)):
                waiting = host.request("unload_model", model_id="m")
                self.assertEqual(host.error("tokenize", model_id="m", text="x").code, -32005)
                call_off(waiting)
                self.assertEqual(host.answer(waiting).body["error"]["code"], -32800)
                self.assertEqual(host.call("tokenize", model_id="m", text="x")["count"], 2)
            host.call("cancel", stream_id=stream.stream_id)
            self.assertEqual(stream.wait().finish_reason, "cancelled")
            self.assertEqual(host.call("unload_model", model_id="m"), {"success": True})
            self.assertEqual([m["state"] for m in host.call("list_models")["models"] if m["model_id"] == "m"], [])


class UnloadingInTandem(Unloading, unittest.TestCase):
    def spawn(self):
        return tandem("--workers=2")


class UnloadingInAWorker(Unloading, unittest.TestCase):
    spawn = staticmethod(worker)


class Times(unittest.TestCase):
    def test_a_timeout_beyond_a_day_is_refused_however_long_the_call_waited(self):
        with tandem() as host:
            host.load()
            for timeout in (86400001, 86401000, 10 ** 18):
                error = host.error("tokenize", model_id="m", text="x", timeout_ms=timeout)
                self.assertEqual((error.code, error.data["path"]), (-32602, "timeout_ms"))
            self.assertEqual(host.call("tokenize", model_id="m", text="x", timeout_ms=86400000)["count"], 2)


class MoreThanMemory(unittest.TestCase):
    def test_models_that_share_too_little_memory_take_turns_and_no_call_fails(self):
        with tandem("--model-bytes=20M") as host:
            for model_id in "abc":
                self.assertEqual(host.load(model_id, warmup=True)["state"], "ready")
            params = {"prompt": "Once upon a time", "max_tokens": 6, "temperature": 0}
            expected = host.stream(model_id="c", **params).ids
            streams = [host.start(model_id=m, **params) for m in "abcabc"]
            for stream in streams:
                self.assertEqual(stream.wait().ids, expected)
            states = sorted(m["state"] for m in host.call("list_models")["models"] if m["model_id"] in "abc")
            self.assertEqual(states.count("ready"), 1, states)


if __name__ == "__main__":
    unittest.main()
