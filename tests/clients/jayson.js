// jayson's client for transports of one's own: a request's text goes out as a line, the line with
// its answer comes back as text. It has batches.
const assert = require("node:assert/strict");
const { createInterface } = require("node:readline");
const Client = require("jayson/lib/client/browser");
const { LONG, Streams, TEXT, TOKENS, run, session, start } = require("./session");

const key = (message) => JSON.stringify([].concat(message).map((m) => m.id).filter((id) => id !== undefined).sort());

run(async () => {
  const child = start();
  const streams = new Streams();
  const waiting = new Map();
  const client = new Client((text, callback) => {
    const ids = key(JSON.parse(text));
    child.stdin.write(text + "\n");
    if (ids === "[]") callback();
    else waiting.set(ids, callback);
  });
  createInterface({ input: child.stdout }).on("line", (line) => {
    const message = JSON.parse(line);
    if (message.method) streams.take(message.method, message.params);
    else waiting.get(key(message))(null, line);
  });
  const ask = (...request) =>
    new Promise((resolve, reject) =>
      client.request(...request, (e, error, result) => (e || error ? reject(e || error) : resolve(result))));

  await session({
    child, streams, call: ask,
    async batch() {
      const messages = [
        client.request("tokenize", { model_id: "m", text: TEXT.prompt }, "b1"),
        client.request("ping", {}, null),
        client.request("tokenize", { model_id: "m", text: 5 }, "b2"),
      ];
      const { errors, results } = await new Promise((resolve, reject) =>
        client.request(messages, (e, errors, results) => (e ? reject(e) : resolve({ errors, results }))));
      assert.deepEqual(results.map((r) => [r.id, r.result.tokens]), [["b1", TOKENS]]);
      assert.deepEqual(errors.map((r) => [r.id, r.error.code]), [["b2", -32602]]);
    },
    async cancelled() {
      const call = ask("generate", { ...LONG, stream: false }, "long");
      await ask("$/cancelRequest", { id: "long" }, null);
      return call.then(() => 0, (e) => e.code);
    },
  });
});
