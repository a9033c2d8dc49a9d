"""More at once than the queue holds: everybody is answered, and who is sent away may come back."""
import os
import unittest

from host import tandem

TEXT = {"model_id": "m", "text": "the old house"}


class Overload(unittest.TestCase):
    def test_of_ten_thousand_at_once_each_is_answered_or_told_when_to_come_back(self):
        with tandem("--queue-calls=4000") as host:
            host.load()
            wanted = host.call("tokenize", **TEXT)
            calls, n_refused = [("tokenize", TEXT)] * 10000, 0
            while calls:
                refused = []
                for request_id in host.requests(calls):
                    body = host.answer(request_id).body
                    if "error" in body:
                        self.assertEqual(body["error"]["code"], -32006)
                        self.assertGreaterEqual(body["error"]["data"]["depth"], 1)
                        self.assertIn(body["error"]["data"]["retry_after_ms"], range(50, 30001))
                        refused.append(("tokenize", TEXT))
                    else:
                        self.assertEqual(body["result"], wanted)
                n_refused += len(refused)
                # All were answered, so the queue is empty: as many as it holds are served.
                self.assertLessEqual(len(refused), max(0, len(calls) - 4000))
                calls = refused
            self.assertGreater(n_refused, 0)
            state = host.call("runtime/state")
            self.assertEqual((state["restart_count"], state["workers"][0]["breaker"]), (0, "closed"))

    def test_a_background_call_is_served_under_a_constant_urgent_load(self):
        with tandem() as host:
            host.load()
            urgent = [host.request("tokenize", priority="urgent", client="u", **TEXT) for _ in range(64)]
            patient = host.request("tokenize", priority="background", client="b", **TEXT)
            while '%d' % patient not in host.answers:
                host.result(urgent.pop(0))
                urgent.append(host.request("tokenize", priority="urgent", client="u", **TEXT))
            self.assertIn("tokens", host.result(patient))
            for request_id in urgent:
                host.result(request_id)


if __name__ == "__main__":
    unittest.main(verbosity=int(os.environ.get("VERBOSE", "1")))
