"""Every generate parameter does what it says."""
import math
import unittest

from host import tandem

PROMPT = "The old house stood"
GREEDY = {"prompt": PROMPT, "temperature": 0}


class Parameters(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.host = tandem()
        cls.addClassCleanup(cls.host.kill)
        cls.host.load()
        cls.plain = cls.host.stream(max_tokens=40, **GREEDY)

    @classmethod
    def tearDownClass(cls):
        cls.host.close()

    def test_a_stop_string_across_tokens_cuts_exactly_before_itself(self):
        text = self.plain.text
        for a, b in ((5, 12), (0, 3), (17, 30), (20, 21)):
            stop = text[a:b]
            stream = self.host.stream(max_tokens=40, stop_sequences=[stop], **GREEDY)
            self.assertEqual(stream.text, text[:text.index(stop)])
            self.assertEqual((stream.finish_reason, stream.event["stop_detail"]), ("stop", "stop_string"))

    def test_include_stop_keeps_the_stop_string_and_nothing_after_it(self):
        stop = self.plain.text[9:19]
        stream = self.host.stream(max_tokens=40, stop=[stop], include_stop=True, **GREEDY)
        self.assertEqual(stream.text, self.plain.text[:self.plain.text.index(stop) + len(stop)])

    def test_text_that_only_begins_like_a_stop_string_is_given_out_in_the_end(self):
        for k in (3, 9, 20):
            stop = self.plain.text[k:k + 6] + "§"
            stream = self.host.stream(max_tokens=40, stop_sequences=[stop, self.plain.text[-4:] + "§"], **GREEDY)
            self.assertEqual(stream.text, self.plain.text)
            self.assertEqual(stream.finish_reason, "length")

    def test_stop_token_ids_end_the_text(self):
        stop_id = self.plain.ids[10]
        first = self.plain.ids.index(stop_id)
        stream = self.host.stream(max_tokens=40, stop_token_ids=[stop_id], **GREEDY)
        self.assertEqual((stream.finish_reason, stream.event["stop_detail"]), ("stop", "stop_token"))
        self.assertEqual(stream.ids[:first], self.plain.ids[:first])
        self.assertTrue(self.plain.text.startswith(stream.text))

    def test_eos_ends_the_text_unless_it_is_ignored(self):
        eos = {"logit_bias": {"2": 100}}
        stream = self.host.stream(max_tokens=10, **GREEDY, **eos)
        self.assertEqual((stream.finish_reason, stream.event["stop_detail"], stream.text), ("stop", "eos", ""))
        stream = self.host.stream(max_tokens=10, ignore_eos=True, **GREEDY, **eos)
        self.assertEqual((stream.finish_reason, len(stream.ids)), ("length", 10))
        stream = self.host.stream(max_tokens=10, min_tokens=5, **GREEDY, **eos)
        self.assertEqual(stream.stats["usage"]["completion_tokens"] - (stream.ids[-1] == 2), 5)

    def test_the_same_seed_gives_the_same_text_and_another_seed_another(self):
        params = {"prompt": PROMPT, "max_tokens": 30, "temperature": 1.0}
        one, two, three = (self.host.stream(seed=s, **params) for s in (5, 5, 6))
        self.assertEqual(one.ids, two.ids)
        self.assertNotEqual(one.ids, three.ids)

    def test_a_seed_that_was_not_given_is_returned_and_reproduces_the_text(self):
        params = {"prompt": PROMPT, "max_tokens": 20, "temperature": 1.0, "stream": False}
        first = self.host.call("generate", model_id="m", **params)
        again = self.host.call("generate", model_id="m", seed=first["seed"], **params)
        self.assertEqual(again["tokens"], first["tokens"])
        other = self.host.call("generate", model_id="m", **params)
        self.assertNotEqual(other["seed"], first["seed"])

    def test_seeds_span_their_whole_range(self):
        for seed in (0, 1, 2 ** 32 - 1):
            self.assertEqual(self.host.call("generate", model_id="m", prompt="a", max_tokens=1, seed=seed,
                                            stream=False)["seed"], seed)

    def test_logit_bias_bans_and_forces(self):
        best = self.plain.ids[0]
        banned = self.host.stream(max_tokens=3, logit_bias={str(best): False}, **GREEDY)
        self.assertNotIn(best, banned.ids)
        forced = self.host.stream(max_tokens=3, logit_bias={"1000": 100}, **GREEDY)
        self.assertEqual(forced.ids, [1000] * 3)

    def test_penalties_change_what_repeats(self):
        prompt = {"prompt": "It was a cold evening in November when", "max_tokens": 60, "temperature": 0}
        plain = self.host.stream(**prompt)
        for penalty in ({"repetition_penalty": 1.5}, {"presence_penalty": 2.0}, {"frequency_penalty": 2.0}):
            stream = self.host.stream(**prompt, **penalty)
            self.assertGreater(len(set(stream.ids)), len(set(plain.ids)), penalty)

    def test_top_k_1_and_a_tiny_top_p_are_greedy_at_any_temperature(self):
        for narrow in ({"top_k": 1}, {"top_p": 1e-6}, {"min_p": 1.0}):
            stream = self.host.stream(prompt=PROMPT, temperature=1.5, max_tokens=20, seed=3, **narrow)
            self.assertEqual(stream.ids, self.plain.ids[:20], narrow)

    def test_log_probabilities_are_sorted_and_of_the_raw_distribution(self):
        stream = self.host.stream(prompt=PROMPT, temperature=1.3, seed=11, max_tokens=12,
                                  logprobs=True, top_logprobs=20)
        for token in stream.generated():
            top = [t["logprob"] for t in token["top_logprobs"]]
            self.assertEqual(len(top), 20)
            self.assertEqual(top, sorted(top, reverse=True))
            self.assertLessEqual(sum(math.exp(p) for p in top), 1 + 1e-5)
            self.assertLessEqual(token["logprob"], top[0])
        self.assertNotIn("logprob", self.plain.tokens()[0])

    def test_echo_puts_the_prompt_first(self):
        stream = self.host.stream(max_tokens=5, echo=True, **GREEDY)
        whole = self.host.call("generate", model_id="m", max_tokens=5, echo=True, stream=False, **GREEDY)
        short = self.host.stream(max_tokens=5, **GREEDY)
        self.assertEqual(whole["text"], PROMPT + short.text)
        self.assertEqual(stream.text, whole["text"])

    def test_n_gives_that_many_different_texts(self):
        whole = self.host.call("generate", model_id="m", prompt=PROMPT, n=3, max_tokens=12, temperature=1.0, seed=4,
                               stream=False)
        texts = [c["text"] for c in whole["choices"]]
        self.assertEqual(len(texts), 3)
        self.assertEqual(len(set(texts)), 3)
        alone = self.host.call("generate", model_id="m", prompt=PROMPT, max_tokens=12, temperature=1.0, seed=4,
                               stream=False)
        self.assertEqual(texts[0], alone["text"])

    def test_prompt_tokens_and_prompt_give_the_same(self):
        ids = self.host.call("tokenize", model_id="m", text=PROMPT)["tokens"]
        stream = self.host.stream(prompt_tokens=ids, max_tokens=20, temperature=0)
        self.assertEqual(stream.ids, self.plain.ids[:20])

    def test_aliases_are_honoured(self):
        for alias in ("max_new_tokens", "n_predict", "max_completion_tokens"):
            self.assertEqual(len(self.host.stream(**GREEDY, **{alias: 7}).ids), 7)
        self.assertIn("text", self.host.call("generate", model_id="m", streaming=False, max_tokens=1, **GREEDY))

    def test_the_defaults_of_the_model_hold_until_the_request_says_otherwise(self):
        """generation_config.json of novel-7m: temperature 0.8, top_p 0.95."""
        params = {"prompt": PROMPT, "max_tokens": 20, "seed": 8}
        implied = self.host.stream(**params)
        spelled = self.host.stream(temperature=0.8, top_p=0.95, **params)
        self.assertEqual(implied.ids, spelled.ids)

    def test_a_prompt_that_does_not_fit_is_cut_only_on_request_and_says_so(self):
        long = "the old house " * 400
        error = self.host.error("generate", model_id="m", prompt=long, max_tokens=4)
        self.assertEqual(error.code, -32007)
        self.assertGreater(error.data["prompt_tokens"], error.data["max"])
        whole = self.host.call("generate", model_id="m", prompt=long, max_tokens=4, truncate="left", stream=False,
                               temperature=0)
        self.assertEqual(len(whole["tokens"]), 4)
        self.assertGreater(whole["usage"].get("truncated_tokens", whole.get("truncated_tokens", 0)), 0)

    def test_a_context_that_fills_up_ends_with_length(self):
        stream = self.host.stream(prompt="the old house " * 100, max_tokens=4096, temperature=0, ignore_eos=True)
        self.assertEqual(stream.finish_reason, "length")
        usage = stream.stats["usage"]
        self.assertLessEqual(usage["prompt_tokens"] + usage["completion_tokens"], 513)
        self.assertGreaterEqual(usage["prompt_tokens"] + usage["completion_tokens"], 511)


if __name__ == "__main__":
    unittest.main()
