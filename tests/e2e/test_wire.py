"""The wire itself, on both binaries: framing, ids, batches, and what bad input costs."""
import json
import os
import unittest

from host import tandem, worker

IDS = ["1.0", "1e2", "123456789012345678901234567890", '"x"', "null", "-0", '"\\u00e9\\n"', "0"]
MALFORMED = [b"{", b"{]", b"nonsense", b"[1,", b'{"a":1 "b":2}', b"{'jsonrpc':'2.0'}", b'{"id":NaN}',
             b'{"id":-01}', b'{"id":1,"id":2}', b'{"a":"\xff"}', b'{"a":"\t"}', b"[" * 300,
             b'{"jsonrpc":"2.0","id":1,"method":"ping"} {"jsonrpc":"2.0"}']


def ping(request_id):
    return '{"jsonrpc":"2.0","id":%s,"method":"ping"}' % request_id


class Wire:
    """Both binaries speak the same JSON-RPC; each test runs on each of them."""

    def test_a_person_can_pipe_one_request_in_and_read_one_answer(self):
        with self.spawn() as host:
            host.send_text('{"jsonrpc":"2.0","id":1,"method":"runtime/info"}')
            host.close_stdin()
            self.assertEqual(host.wait_exit(), 0)
            self.assertEqual(len(host.messages), 1)
            result = host.messages[0].body["result"]
            self.assertEqual(result["protocol"], "json-rpc-2.0")
            self.assertIn("generate", result["capabilities"])

    def test_an_escaped_text_means_what_the_raw_text_means(self):
        with self.spawn() as host:
            host.load()
            params = {"model_id": "m", "text": "\U0002e9ef \U0001de00 \u00e9 \U0001d11e"}
            for i, ascii_only in enumerate([True, False]):
                host.send_text(json.dumps({"jsonrpc": "2.0", "id": f"esc {i}", "method": "tokenize",
                                           "params": params},
                                          ensure_ascii=ascii_only))
            self.assertEqual(host.result("esc 0")["tokens"], host.result("esc 1")["tokens"])
            back = host.call("detokenize", model_id="m", tokens=host.result("esc 0")["tokens"])
            self.assertTrue(back["text"].endswith(params["text"]), back)

    def test_a_last_line_without_a_line_end_counts(self):
        with self.spawn() as host:
            host.write(ping(1).encode())
            host.close_stdin()
            self.assertEqual(host.wait_exit(), 0)
            self.assertEqual([m.body["id"] for m in host.messages], [1])

    def test_nothing_is_written_before_the_host_speaks(self):
        with self.spawn() as host:
            host.close_stdin()
            self.assertEqual(host.wait_exit(), 0)
            self.assertEqual(host.messages, [])

    def test_malformed_lines_between_good_ones_cost_one_error_each(self):
        with self.spawn() as host:
            for i, bad in enumerate(MALFORMED):
                host.write(bad + b"\n" + ping(f'"line {i}"').encode() + b"\n")
            answers = host.wait_count(2 * len(MALFORMED))
            bad = [m.body for m in answers if "error" in m.body]
            self.assertEqual([(b["id"], b["error"]["code"]) for b in bad], [(None, -32700)] * len(MALFORMED))
            good = sorted(m.body["id"] for m in answers if "result" in m.body)
            self.assertEqual(good, sorted(f"line {i}" for i in range(len(MALFORMED))))
            host.call("ping")
            self.assertEqual(len(host.messages), 2 * len(MALFORMED) + 1)

    def test_a_line_of_70_megabytes_costs_one_error_and_the_next_line_works(self):
        with self.spawn() as host:
            host.write(b'{"jsonrpc":"2.0","id":1,"method":"tokenize","params":{"text":"')
            for _ in range(70):
                host.write(b"a" * 1_000_000)
            host.write(b'"}}\n' + ping(2).encode() + b"\n")
            first, second = host.wait_count(2)
            self.assertEqual(first.body["error"]["code"], -32600)
            self.assertIsNone(first.body["id"])
            self.assertEqual(second.body["id"], 2)

    def test_ids_come_back_byte_for_byte(self):
        with self.spawn() as host:
            for i, text in enumerate(IDS):
                host.send_text(ping(text))
                answer = host.wait_count(i + 1)[i]
                self.assertIn(b'"id":%s' % text.encode(), answer.raw)
                self.assertIn("result", answer.body)

    def test_ids_come_back_byte_for_byte_in_errors_too(self):
        with self.spawn() as host:
            for i, text in enumerate(IDS):
                host.send_text('{"jsonrpc":"2.0","id":%s,"method":"tokenize","params":'
                               '{"model_id":"absent","text":"x"}}' % text)
                answer = host.wait_count(i + 1)[i]
                self.assertIn(b'"id":%s' % text.encode(), answer.raw)
                self.assertEqual(answer.body["error"]["code"], -32005)

    def test_lsp_framing_gives_the_same_answers(self):
        calls = [ping("1.0"), ping('"x"'), '{"jsonrpc":"2.0","id":3,"method":"nothing"}', "{",
                 '{"jsonrpc":"2.0","id":4,"method":"tokenize","params":{"model_id":"m","txt":"x"}}',
                 '{"jsonrpc":"2.0","id":5,"method":"rpc.discover"}']
        heard = {}
        for framing in ("ndjson", "lsp"):
            with self.spawn(framing=framing) as host:
                for i, call in enumerate(calls):
                    host.send_text(call)
                    host.wait_count(i + 1)
                heard[framing] = [m.body for m in host.messages]
        for one in heard["ndjson"] + heard["lsp"]:
            one.get("result", {}).pop("uptime_ms", None)
            for member in ("uptime", "uptime_s"):
                one.get("result", {}).pop(member, None)
        self.assertEqual(heard["ndjson"], heard["lsp"])

    def test_lsp_header_names_are_case_insensitive_and_unknown_headers_are_skipped(self):
        with self.spawn(framing="lsp") as host:
            body = ping(7).encode()
            host.write(b"content-LENGTH: %d\r\nContent-Type: text/plain\r\n\r\n%s" % (len(body), body))
            self.assertEqual(host.wait_count(1)[0].body["id"], 7)

    def test_a_batch_is_answered_in_one_array(self):
        with self.spawn() as host:
            host.send_text('[%s,%s,{"jsonrpc":"2.0","method":"ping"},1,{"jsonrpc":"2.0","id":9,"method":"no"}]'
                           % (ping(1), ping('"b"')))
            answers = {json.dumps(a["id"]): a for a in host.wait_count(1)[0].body}
            self.assertEqual(set(answers), {"1", '"b"', "null", "9"})
            self.assertEqual(answers["null"]["error"]["code"], -32600)
            self.assertEqual(answers["9"]["error"]["code"], -32601)
            self.assertIn("result", answers["1"])

    def test_an_empty_batch_is_one_invalid_request_and_notifications_alone_are_silent(self):
        with self.spawn() as host:
            host.send_text("[]")
            self.assertEqual(host.wait_count(1)[0].body["error"]["code"], -32600)
            host.send_text('[{"jsonrpc":"2.0","method":"ping"},{"jsonrpc":"2.0","method":"nothing"}]')
            host.send_text(ping(5))
            self.assertEqual(host.wait_count(2)[1].body["id"], 5)

    def test_requests_that_are_json_but_not_requests_are_invalid_and_keep_a_usable_id(self):
        with self.spawn() as host:
            bad = [('1', None), ('"x"', None), ('{"jsonrpc":"1.0","id":1,"method":"ping"}', 1),
                   ('{"jsonrpc":"2.0","id":2,"method":3}', 2), ('{"jsonrpc":"2.0","id":[],"method":"ping"}', None),
                   ('{"jsonrpc":"2.0","id":3,"method":"ping","params":"x"}', 3), ('{"id":4}', 4)]
            for i, (text, want) in enumerate(bad):
                host.send_text(text)
                body = host.wait_count(i + 1)[i].body
                self.assertEqual((body["id"], body["error"]["code"]), (want, -32600), text)

    def test_an_unknown_method_says_what_was_probably_meant(self):
        with self.spawn() as host:
            error = host.error("tokenise", model_id="m", text="x")
            self.assertEqual(error.code, -32601)
            self.assertEqual(error.data["did_you_mean"], "tokenize")

    def test_positional_params_work_where_the_table_names_an_order(self):
        with self.spawn() as host:
            methods = host.call("rpc.discover")["methods"]
            self.assertIn("tokenize", [m["name"] for m in methods])
            host.send_text('{"jsonrpc":"2.0","id":"p","method":"tokenize","params":["absent","x"]}')
            self.assertEqual(host.answer("p").body["error"]["code"], -32005)

    def test_initialize_tells_the_methods_and_every_limit(self):
        with self.spawn() as host:
            result = host.call("initialize", protocolVersion="2024-11-05", capabilities={},
                               clientInfo={"name": "e2e", "version": "1"})
            self.assertIn("generate", result["capabilities"]["methods"])
            self.assertTrue(result["serverInfo"]["name"])
            self.assertTrue(all(isinstance(v, (int, float)) for v in result["limits"].values()))

    def test_a_closed_stderr_changes_nothing(self):
        reader, writer = os.pipe()
        os.close(reader)
        with self.spawn(stderr=writer) as host:
            os.close(writer)
            host.call("ping")
            host.error("tokenize", model_id="absent", text="x")

    def test_the_framing_can_be_fixed_by_an_option(self):
        with self.spawn("--framing=lsp", framing="lsp") as host:
            host.call("ping")
        with self.spawn("--framing=ndjson") as host:
            host.write(b"Content-Length: 2\n")
            self.assertEqual(host.wait_count(1)[0].body["error"]["code"], -32700)
            host.call("ping")


class OnTandem(Wire, unittest.TestCase):
    def spawn(self, *options, **more):
        return tandem(*options, **more)

    def test_a_worker_printing_garbage_between_its_frames_disturbs_nobody(self):
        with tandem(worker_options=["--dev-garbage"]) as host:
            host.load()
            stream = host.start(prompt="The old house stood", max_tokens=20, temperature=0)
            ids = [host.request("tokenize", model_id="m", text=f"text {i}") for i in range(50)]
            for i in ids:
                self.assertTrue(host.result(i)["tokens"])
            self.assertEqual(len(stream.wait().ids), 20)
            self.assertEqual(host.call("runtime/state")["restart_count"], 0)


class OnWorker(Wire, unittest.TestCase):
    def spawn(self, *options, **more):
        return worker(*options, **more)


if __name__ == "__main__":
    unittest.main()
