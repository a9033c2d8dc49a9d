"""The whole path against the reference: what transformers computed in float32, through tandem."""
import json
import unittest

from host import shared, tandem


class Golden(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        path = shared("golden/novel/novel-7m.json")
        if not path:
            raise unittest.SkipTest("the reference data (../shared) is not here")
        with open(path) as f:
            cls.prompts = json.load(f)["prompts"]
        cls.host = tandem()
        cls.addClassCleanup(cls.host.kill)
        cls.host.load()

    @classmethod
    def tearDownClass(cls):
        cls.host.close()

    def test_the_prompts_tokenize_to_the_references_ids(self):
        for prompt in self.prompts:
            self.assertEqual(self.host.call("tokenize", model_id="m", text=prompt["text"])["tokens"], prompt["ids"])

    def test_the_greedy_text_is_the_references_alone_and_all_together(self):
        alone = [self.host.stream(prompt=p["text"], max_tokens=64, temperature=0) for p in self.prompts]
        together = [self.host.start(prompt=p["text"], max_tokens=64, temperature=0) for p in self.prompts]
        for prompt, one, other in zip(self.prompts, alone, together):
            self.assertEqual(one.ids, prompt["greedy"])
            self.assertEqual(one.text, prompt["greedy_text"])
            self.assertEqual(other.wait().text, prompt["greedy_text"])

    def test_the_ten_best_log_probabilities_after_each_prompt_are_the_references(self):
        for prompt in self.prompts:
            stream = self.host.stream(prompt_tokens=prompt["ids"], max_tokens=1, temperature=0,
                                      logprobs=True, top_logprobs=10)
            top = stream.tokens()[0]["top_logprobs"]
            self.assertEqual([t["token_id"] for t in top], prompt["top10_ids"])
            for ours, theirs in zip(top, prompt["top10_logprobs"]):
                self.assertAlmostEqual(ours["logprob"], theirs, delta=1e-4)

    def test_the_reference_continuation_is_an_accepted_draft(self):
        for prompt in self.prompts:
            result = self.host.call("check_draft", model_id="m", prompt=prompt["text"],
                                    draft_tokens=prompt["greedy"][:63], temperature=0)
            self.assertEqual(result["accepted"], 63)
            self.assertEqual(result["next_token"]["id"], prompt["greedy"][63])


if __name__ == "__main__":
    unittest.main()
