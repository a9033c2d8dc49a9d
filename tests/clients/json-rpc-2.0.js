// json-rpc-2.0: a client that brings no transport; here it is given lines. It has batches.
const assert = require("node:assert/strict");
const { createInterface } = require("node:readline");
const { JSONRPCClient, createJSONRPCNotification, createJSONRPCRequest } = require("json-rpc-2.0");
const { LONG, Streams, TEXT, TOKENS, run, session, start } = require("./session");

run(async () => {
  const child = start();
  const streams = new Streams();
  const client = new JSONRPCClient(async (message) => {
    child.stdin.write(JSON.stringify(message) + "\n");
  });
  createInterface({ input: child.stdout }).on("line", (line) => {
    const message = JSON.parse(line);
    if (message.method) streams.take(message.method, message.params);
    else client.receive(message);
  });

  await session({
    child, streams,
    call: (method, params) => client.request(method, params),
    async batch() {
      const answers = await client.requestAdvanced([
        createJSONRPCRequest("b1", "tokenize", { model_id: "m", text: TEXT.prompt }),
        createJSONRPCNotification("ping", {}),
        createJSONRPCRequest("b2", "nothing", {}),
      ]);
      const [first, second] = answers.sort((a, b) => (a.id < b.id ? -1 : 1));
      assert.equal(answers.length, 2);
      assert.deepEqual(first.result.tokens, TOKENS);
      assert.equal(second.error.code, -32601);
    },
    async cancelled() {
      const call = client.requestAdvanced(
        createJSONRPCRequest("long", "generate", { ...LONG, stream: false }));
      client.notify("$/cancelRequest", { id: "long" });
      return (await call).error.code;
    },
  });
});
