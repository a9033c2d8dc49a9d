"""The Model Context Protocol by hand: what its schema says of each result, where no SDK is there to."""
import unittest

from host import NOVEL, tandem

STALLED = ["--dev-stall-ms=20"]  # so that what is to be cancelled is still there
KEYWORDS = {"type", "properties", "required", "additionalProperties", "items", "description", "default", "enum",
            "minimum", "maximum", "exclusiveMinimum", "minLength", "maxLength", "minItems", "maxItems",
            "minProperties", "maxProperties", "pattern"}


class Mcp(unittest.TestCase):
    def setUp(self):
        self.host = tandem(worker_options=STALLED)
        self.addCleanup(self.host.kill)
        hello = self.host.call("initialize", protocolVersion="2025-06-18", capabilities={},
                               clientInfo={"name": "e2e", "version": "1"})
        self.assertEqual(hello["protocolVersion"], "2025-06-18")
        self.assertIn("tools", hello["capabilities"])
        self.assertEqual(set(hello["serverInfo"]), {"name", "version"})
        self.host.notify("notifications/initialized")

    def tool(self, name, meta=None, **arguments):
        """The result of a call, as CallToolResult has it."""
        more = {"_meta": meta} if meta else {}
        result = self.host.call("tools/call", name=name, arguments=arguments, **more)
        self.assertIsInstance(result["content"], list)
        for block in result["content"]:
            self.assertEqual((block["type"], type(block["text"])), ("text", str))
        self.assertIs(type(result["isError"]), bool)
        self.assertEqual(isinstance(result.get("structuredContent"), dict), not result["isError"])
        return result

    def check_schema(self, schema):
        self.assertLessEqual(set(schema), KEYWORDS)
        for inner in schema.get("properties", {}).values():
            self.check_schema(inner)
        if "items" in schema:
            self.check_schema(schema["items"])

    def test_each_tool_has_schemas_of_plain_keywords(self):
        result = self.host.call("tools/list")
        self.assertNotIn("nextCursor", result)
        for tool in result["tools"]:
            for key in ("inputSchema", "outputSchema"):
                self.assertEqual(tool[key]["type"], "object")
                self.check_schema(tool[key])
            self.assertLessEqual(set(tool["inputSchema"]["required"]), set(tool["inputSchema"]["properties"]))

    def test_a_session_with_progress_errors_and_a_cancel(self):
        self.assertEqual(self.host.call("ping"), {})
        self.tool("load_model", model_id="m", local_path=NOVEL)
        whole = self.tool("generate", {"progressToken": "p"}, model_id="m", prompt="The old", max_tokens=24, seed=1,
                          ignore_eos=True)
        self.assertEqual(whole["content"][0]["text"], whole["structuredContent"]["text"])
        plain = self.host.call("generate", model_id="m", prompt="The old", max_tokens=24, seed=1, stream=False,
                               ignore_eos=True)
        self.assertEqual(whole["structuredContent"]["tokens"], plain["tokens"])
        steps = [m.body["params"] for m in self.host.messages if m.body.get("method") == "notifications/progress"]
        self.assertEqual({s["progressToken"] for s in steps}, {"p"})
        self.assertEqual([s["progress"] for s in steps], sorted({s["progress"] for s in steps}))
        self.assertEqual(steps[-1]["progress"], steps[-1]["total"])
        self.assertIn("writing", [s["message"] for s in steps], "of each token, as far as ten a second go")
        self.assertEqual(self.tool("tokenize", model_id="no", text="x")["_meta"]["tandem/error"]["code"], -32005)
        self.assertEqual(self.host.error("tools/call", name="nothing", arguments={}).code, -32602)
        self.assertEqual(self.host.error("resources/list").code, -32601)
        long = self.host.request("tools/call", name="generate",
                                 arguments={"model_id": "m", "prompt": "a", "max_tokens": 480, "ignore_eos": True})
        self.host.notify("notifications/cancelled", requestId=long, reason="enough")
        self.assertEqual(self.host.call("runtime/state")["active_streams"], 0)
        self.host.close()
        self.assertNotIn(str(long), self.host.answers)


if __name__ == "__main__":
    unittest.main()
