"""check_draft: the token form is the same sampler as generate, the pair form is honest."""
import unittest

from host import shared, tandem, worker

PROMPT = "It was a cold evening in November when"


class Drafts:
    @classmethod
    def setUpClass(cls):
        cls.host = cls.spawn()
        cls.addClassCleanup(cls.host.kill)
        cls.host.load()

    @classmethod
    def tearDownClass(cls):
        cls.host.close()

    def check(self, draft, **params):
        return self.host.call("check_draft", model_id="m", draft_tokens=draft, **{"prompt": PROMPT, **params})

    def generated(self, n, **params):
        return self.host.stream(prompt=PROMPT, max_tokens=n, **params).ids

    def test_the_greedy_continuation_is_accepted_whole_with_a_bonus_token(self):
        ids = self.generated(17, temperature=0)
        result = self.check(ids[:16], temperature=0)
        self.assertEqual(result["accepted"], 16)
        self.assertEqual(result["next_token"]["id"], ids[16])
        self.assertEqual(result["next_token"]["kind"], "bonus")

    def test_a_wrong_token_ends_the_acceptance_and_is_corrected(self):
        ids = self.generated(12, temperature=0)
        for wrong_at in (0, 1, 5, 11):
            draft = ids[:wrong_at] + [(ids[wrong_at] + 1) % 4096] + ids[wrong_at + 1:]
            result = self.check(draft, temperature=0)
            self.assertEqual(result["accepted"], wrong_at)
            self.assertEqual(result["next_token"]["id"], ids[wrong_at])
            self.assertEqual(result["next_token"]["kind"], "correction")

    def test_at_temperature_0_8_the_verdict_is_what_generate_samples_with_that_seed(self):
        for seed in (1, 7, 99):
            params = {"temperature": 0.8, "top_p": 0.95, "seed": seed, "ignore_eos": True}
            ids = self.generated(12, **params)
            params.pop("ignore_eos")
            result = self.check(ids[:11], **params)
            self.assertEqual((result["accepted"], result["next_token"]["id"]), (11, ids[11]))
            result = self.check(ids[:4] + [(ids[4] + 1) % 4096] + ids[5:11], **params)
            self.assertEqual((result["accepted"], result["next_token"]["id"]), (4, ids[4]))

    def test_an_empty_draft_is_one_plain_step(self):
        ids = self.generated(1, temperature=0)
        result = self.check([], temperature=0)
        self.assertEqual((result["accepted"], result["next_token"]["id"]), (0, ids[0]))

    def test_a_draft_given_as_text_is_checked_as_its_tokens(self):
        stream = self.host.stream(prompt=PROMPT, max_tokens=6, temperature=0)
        result = self.host.call("check_draft", model_id="m", prompt=PROMPT, draft_text=stream.text, temperature=0)
        self.assertEqual(result["accepted"], 6)

    def test_log_probabilities_of_the_draft_are_those_of_generate(self):
        stream = self.host.stream(prompt=PROMPT, max_tokens=8, temperature=0, logprobs=True)
        result = self.check(stream.ids, temperature=0, logprobs=True)
        self.assertEqual([t["id"] for t in result["tokens"][:8]], stream.ids)
        self.assertEqual([t["logprob"] for t in result["tokens"][:8]],
                         [t["logprob"] for t in stream.generated()])

    def test_a_draft_of_65_tokens_or_of_unknown_ids_is_refused(self):
        self.assertEqual(self.error(draft_tokens=[5] * 65).code, -32602)
        self.assertEqual(self.error(draft_tokens=[4096]).code, -32602)
        self.assertEqual(self.error(draft_tokens=[-1]).code, -32602)
        self.assertEqual(self.error(draft_tokens=[1], draft_text="x").code, -32602)

    def error(self, **params):
        return self.host.error("check_draft", model_id="m", prompt=PROMPT, **params)

    def test_the_pair_form_compares_token_for_token(self):
        draft = shared("models/novel-1m")
        if not draft:
            self.skipTest("the reference models (../shared) are not here")
        self.host.load("d", draft)
        result = self.host.call("check_draft", primary_id="m", draft_id="d")
        self.assertIs(result["compatible"], True)
        self.assertEqual(result["errors"], [])
        details = result["details"]
        self.assertEqual(details["primary_model"]["vocab_size"], 4096)
        self.assertEqual(details["draft_model"]["architecture"], "llama")
        ratio = details["draft_model"]["parameter_count"] / details["primary_model"]["parameter_count"]
        self.assertEqual(details["performance_estimate"]["size_ratio"], f"{100 * ratio:.1f}%")
        self.assertEqual(details["performance_estimate"]["expected_speedup"], f"{1 + (1 - ratio) * 0.3:.2f}x")
        self.assertEqual(details["performance_estimate"]["recommendation"], "Good pairing")

    def test_a_pair_with_different_vocabularies_is_incompatible_and_says_why(self):
        other = shared("golden/arch/llama2-mha")
        if not other:
            self.skipTest("the reference models (../shared) are not here")
        self.host.load("o", other)
        result = self.host.call("check_draft", primary_id="m", draft_id="o")
        self.assertIs(result["compatible"], False)
        self.assertTrue(result["errors"])

    def test_a_pair_of_one_model_is_compatible_and_an_unloaded_one_is_named(self):
        self.assertIs(self.host.call("check_draft", primary_id="m", draft_id="m")["compatible"], True)
        measured = self.host.call("check_draft", primary_id="m", draft_id="m", measure=True)
        estimate = measured["details"]["performance_estimate"]
        self.assertEqual((estimate["measured"], estimate["acceptance_rate"]), (True, 1))
        self.assertGreater(estimate["tokens_per_second_drafted"], 0)
        error = self.host.error("check_draft", primary_id="m", draft_id="absent")
        self.assertEqual((error.code, error.message), (-32005, "Model not loaded: absent"))
        self.assertEqual(error.data["model_id"], "absent")

    def test_a_call_of_neither_form_is_told_of_both(self):
        for params in ({}, {"primary_id": "m"}, {"draft_id": "m"}, {"stream_id": "s", "draft_tokens": []}):
            error = self.host.error("check_draft", **params)
            self.assertEqual((error.code, error.data["path"]), (-32602, "primary_id"))
            self.assertEqual(error.message, "give primary_id and draft_id, or model_id with a prompt and a draft")

    def other(self, path, model_id):
        folder = shared(path)
        if not folder:
            self.skipTest("the reference models (../shared) are not here")
        self.host.load(model_id, folder)
        return model_id

    def test_a_second_model_drafts_inside_generate_and_the_text_stays_the_same(self):
        draft = self.other("models/novel-1m", "d")
        for params in ({"temperature": 0}, {"temperature": 0.8, "seed": 4, "repetition_penalty": 1.1}):
            params = {"prompt": PROMPT, "max_tokens": 24, "ignore_eos": True, "logprobs": True, **params}
            plain = self.host.stream(**params)
            drafted = self.host.stream(draft_model=draft, num_draft_tokens=3,
                                       speculative={"mode": "off", "adaptive": False}, **params)
            self.assertEqual(drafted.ids, plain.ids)
            self.assertEqual([t["logprob"] for t in drafted.generated()], [t["logprob"] for t in plain.generated()])
            held = sum(t.get("from_draft", False) for t in drafted.generated())
            usage, timings = drafted.stats["usage"], drafted.stats["timings"]
            self.assertEqual(usage["accepted_draft_tokens"], held)
            self.assertEqual((usage["draft_tokens"], held), (timings["draft_tokens"], timings["accepted_draft_tokens"]))
            self.assertEqual(sum(timings["drafted_by_position"]), usage["draft_tokens"])
            self.assertEqual(sum(timings["accepted_by_position"]), held)
            self.assertLessEqual(len(timings["drafted_by_position"]), 3)
            self.assertGreater(timings["draft_ms"], 0)
            self.assertNotIn("draft_ms", plain.stats["timings"])

    def test_a_draft_is_checked_against_a_running_stream(self):
        params = {"prompt": PROMPT, "temperature": 0.8, "seed": 3, "presence_penalty": 0.5, "ignore_eos": True}
        ids = self.host.stream(max_tokens=40, **params).ids
        with self.spawn(*self.two_workers, worker_options=["--dev-stall-ms=20"]) as host:
            host.load()
            # Their host acknowledges nothing: they go no further than they may, and stay.
            streams = [host.start(max_tokens=400, stream_options={"ack_window": 8}, **params) for _ in range(3)]
            for s in streams:
                s.wait_tokens(8)
                check = {"model_id": "m", "stream_id": s.stream_id, "temperature": 0.8}
                for at, right in ((0, 9), (8, 20), (5, 2)):
                    draft = ids[at:at + right] + [(ids[at + right] + 1) % 4096]
                    result = host.call("check_draft", index=at, draft_tokens=draft, **check)
                    self.assertEqual((result["index"], result["accepted"]), (at, right))
                    self.assertEqual((result["next_token"]["id"], result["next_token"]["kind"]),
                                     (ids[at + right], "correction"))
                    self.assertEqual(result["usage"]["cached_tokens"], result["usage"]["prompt_tokens"] - 1)
                result = host.call("check_draft", draft_tokens=[], **check)
                self.assertGreaterEqual(result["index"], 8)
                error = host.error("check_draft", index=500, draft_tokens=[], **check)
                self.assertEqual((error.code, error.data["path"]), (-32602, "index"))
            for s in streams:
                self.assertEqual(s.ids, ids[:8])
                self.assertIs(host.call("cancel", stream_id=s.stream_id)["cancelled"], True)
            error = host.error("check_draft", draft_tokens=[], **check)
            self.assertEqual((error.code, error.data["path"]), (-32602, "stream_id"))

    def test_a_draft_model_that_is_not_loaded_is_named(self):
        error = self.host.error("generate", model_id="m", prompt=PROMPT, draft_model="absent")
        self.assertEqual((error.code, error.data["model_id"]), (-32005, "absent"))

    def test_a_draft_model_of_another_vocabulary_is_refused_with_the_report_of_check_draft(self):
        other = self.other("golden/arch/llama2-mha", "o")
        error = self.host.error("generate", model_id="m", prompt=PROMPT, draft_model=other)
        self.assertEqual((error.code, error.data["type"]), (-32013, "draft_incompatible"))
        self.assertEqual(error.data["report"], self.host.call("check_draft", primary_id="m", draft_id=other))

    def test_unloading_a_draft_model_by_force_ends_the_streams_it_drafts_for(self):
        draft = self.other("models/novel-1m", "leaving")
        stream = self.host.start(prompt=PROMPT, max_tokens=400, ignore_eos=True, draft_model=draft)
        stream.wait_tokens(1)
        self.assertEqual(self.host.call("unload_model", model_id=draft, force=True), {"success": True})
        self.assertIn(stream.wait().finish_reason, ("cancelled", "length"))
        self.assertEqual(len(self.generated(4, temperature=0)), 4)


class OnTandem(Drafts, unittest.TestCase):
    spawn = staticmethod(tandem)
    two_workers = ["--workers=2"]


class OnWorker(Drafts, unittest.TestCase):
    spawn = staticmethod(worker)
    two_workers = []


if __name__ == "__main__":
    unittest.main()
