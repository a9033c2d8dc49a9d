"""Zero-hold batching as the host sees it: a burst costs few frames, nothing is lost or mixed up."""
import unittest

from host import tandem


class Burst(unittest.TestCase):
    def setUp(self):
        self.host = tandem()
        self.addCleanup(self.host.kill)
        self.host.load()

    def frames(self):
        """Frames written to workers so far, as the controller counts them."""
        return self.host.call("runtime/telemetry")["frames_out"]

    def test_1000_tokenize_calls_at_once_cost_at_most_50_frames_and_none_is_lost(self):
        before = self.frames()
        ids = self.host.requests([("tokenize", {"model_id": "m", "text": f"{i} was the number"}) for i in range(1000)])
        texts = [self.host.result(i)["tokens"] for i in ids]
        self.assertLessEqual(self.frames() - before, 50)
        for n in (0, 1, 499, 998, 999):
            alone = self.host.call("tokenize", model_id="m", text=f"{n} was the number")
            self.assertEqual(texts[n], alone["tokens"])
        self.host.close()

    def test_one_bad_item_in_a_burst_fails_only_itself(self):
        calls = [("tokenize", {"model_id": "m", "text": f"text {i}"}) for i in range(60)]
        calls[7] = ("tokenize", {"model_id": "absent", "text": "x"})
        calls[30] = ("tokenize", {"model_id": "m", "text": 5})
        ids = self.host.requests(calls)
        codes = [self.host.answer(i).body.get("error", {}).get("code") for i in ids]
        self.assertEqual(codes[7], -32005)
        self.assertEqual(codes[30], -32602)
        self.assertEqual([c for c in codes if c is not None], [-32005, -32602])
        self.host.close()

    def test_a_burst_of_draft_checks_and_generates_answers_each_its_own(self):
        prompts = ["The old house stood", "Once upon a time", "It was a cold evening in November when"]
        alone = {p: self.host.stream(prompt=p, max_tokens=6, temperature=0).ids for p in prompts}
        checks = self.host.requests([
            ("check_draft", {"model_id": "m", "prompt": p, "draft_tokens": alone[p][:4], "temperature": 0})
            for p in prompts * 10])
        streams = [self.host.start(prompt=p, max_tokens=6, temperature=0) for p in prompts * 4]
        for p, i in zip(prompts * 10, checks):
            result = self.host.result(i)
            self.assertEqual((result["accepted"], result["next_token"]["id"]), (4, alone[p][4]))
        for p, stream in zip(prompts * 4, streams):
            self.assertEqual(stream.wait().ids, alone[p])
        self.host.close()

    def test_batch_methods_answer_in_request_order_and_one_bad_item_fails_only_itself(self):
        results = self.host.call("batch_tokenize", requests=[
            {"model_id": "m", "text": "one"}, {"model_id": "absent", "text": "two"},
            {"model_id": "m", "text": 3}, {"model_id": "m", "text": "four"}])["results"]
        self.assertEqual([r["success"] for r in results], [True, False, False, True])
        self.assertEqual([r.get("error_code") for r in results], [None, -32005, -32602, None])
        self.assertIsNone(results[1]["result"])
        self.assertEqual(results[0]["result"]["tokens"],
                         self.host.call("tokenize", model_id="m", text="one")["tokens"])
        self.assertEqual(self.host.call("batch_tokenize", requests=[])["results"], [])
        self.host.close()

    def test_batch_generate_streams_each_item_and_a_repeated_stream_id_fails_alone(self):
        item = {"model_id": "m", "prompt": "The old house stood", "max_tokens": 4, "temperature": 0}
        results = self.host.call("batch_generate", requests=[
            {**item, "stream_id": "b1"}, {**item, "stream_id": "b2"}, {**item, "stream_id": "b1"}])["results"]
        self.assertEqual([r["success"] for r in results], [True, True, False])
        self.assertEqual(results[2]["error_code"], -32602)
        streams = [self.host.wait(lambda s=s: self.host.streams.get(s), s).wait() for s in ("b1", "b2")]
        self.assertEqual(streams[0].ids, streams[1].ids)
        self.assertEqual(len(streams[0].ids), 4)
        self.host.close()

    def test_batch_check_draft_gives_each_item_its_verdict(self):
        ids = self.host.stream(prompt="Once upon a time", max_tokens=5, temperature=0).ids
        item = {"model_id": "m", "prompt": "Once upon a time", "temperature": 0}
        results = self.host.call("batch_check_draft", requests=[
            {**item, "draft_tokens": ids[:3]}, {**item, "draft_tokens": [ids[0], 7]}, {**item}])["results"]
        self.assertEqual([r["success"] for r in results], [True, True, False])
        self.assertEqual([r["result"]["accepted"] for r in results[:2]], [3, 1])
        self.host.close()


if __name__ == "__main__":
    unittest.main()
