"""More at once than the queue holds: everybody is answered, and who is sent away may come back."""
import os
import signal
import unittest

from host import tandem

TEXT = {"model_id": "m", "text": "the old house"}


class Overload(unittest.TestCase):
    def test_of_ten_thousand_at_once_each_is_answered_or_told_when_to_come_back(self):
        with tandem("--queue-calls=5000", "--heartbeat-ms=0") as host:
            host.load()
            wanted = host.call("tokenize", **TEXT)
            calls = [("tokenize", TEXT)] * 10000
            [pid] = [w["pid"] for w in host.call("runtime/state")["workers"]]
            os.kill(pid, signal.SIGSTOP)  # so that the first wave is more than the queue can hold
            while calls:
                refused, ids = [], host.requests(calls)
                if len(calls) == 10000:
                    host.wait(lambda: any("error" in host.answers[key][0].body for key in map(str, ids)
                                          if key in host.answers), "a refusal")
                    os.kill(pid, signal.SIGCONT)
                for request_id in ids:
                    body = host.answer(request_id).body
                    if "error" in body:
                        self.assertEqual(body["error"]["code"], -32006)
                        self.assertGreaterEqual(body["error"]["data"]["depth"], 1)
                        self.assertIn(body["error"]["data"]["retry_after_ms"], range(50, 30001))
                        refused.append(("tokenize", TEXT))
                    else:
                        self.assertEqual(body["result"], wanted)
                # All were answered, so the queue is empty: as many as it holds are served.
                self.assertLessEqual(len(refused), max(0, len(calls) - 5000))
                calls = refused
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

    def test_one_text_of_one_client_is_not_kept_back_by_a_hundred_of_another(self):
        text = {"prompt": "The old house stood", "temperature": 0, "ignore_eos": True, "max_tokens": 30}
        with tandem("--", "--max-running=101") as host:
            host.load()
            many = [host.start(client="many", **text) for _ in range(100)]
            one = host.start(client="one", **text)
            for stream in [one, *many]:
                stream.wait()
            n, has_begun = 0, False
            for message in host.messages:
                params = message.body.get("params", {})
                has_begun = has_begun or params.get("stream_id") == one.stream_id
                if params.get("stream_id") == one.stream_id and "event" in params:
                    break
                if has_begun and message.body.get("method") == "stream.chunk":
                    n += len(params.get("tokens", [params]))
            # The one's thirty and as many of the others; a token of everybody each time would
            # be 3,000. The rest is for what the worker wrote late.
            self.assertLess(n, 1500)


if __name__ == "__main__":
    unittest.main(verbosity=int(os.environ.get("VERBOSE", "1")))
