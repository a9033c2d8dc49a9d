// The JSON-RPC of VS Code and its language servers: headers, tokens to cancel, $/progress.
const assert = require("node:assert/strict");
const rpc = require("vscode-jsonrpc/node");
const { LOAD, LONG, Streams, TEXT, run, session, start } = require("./session");

run(async () => {
  const child = start();
  const streams = new Streams();
  const connection = rpc.createMessageConnection(
    new rpc.StreamMessageReader(child.stdout), new rpc.StreamMessageWriter(child.stdin));
  connection.onError(([e]) => assert.fail(e));
  for (const method of ["stream.chunk", "stream.stats", "stream.event"])
    connection.onNotification(method, (params) => streams.take(method, params));
  connection.listen();
  await connection.sendRequest("initialize", { processId: process.pid, rootUri: null, capabilities: {} });
  connection.sendNotification("initialized", {});

  const kinds = [];
  const progress = connection.onProgress(new rpc.ProgressType(), "loading", (value) => kinds.push(value));
  await connection.sendRequest("load_model", { ...LOAD, workDoneToken: "loading" });
  progress.dispose();
  assert.equal(kinds[0].kind, "begin");
  assert.equal(kinds.at(-1).kind, "end");

  const written = [];
  connection.onProgress(new rpc.ProgressType(), 7, (value) => written.push(value.percentage ?? 100));
  await connection.sendRequest("generate", { ...TEXT, stream: false, workDoneToken: 7 });
  assert.ok(written.length >= 2);
  assert.deepEqual(written, [...written].sort((a, b) => a - b));

  await session({
    child, streams,
    call: (method, params) => connection.sendRequest(method, params),
    async cancelled() {
      const source = new rpc.CancellationTokenSource();
      const call = connection.sendRequest("generate", { ...LONG, stream: false }, source.token);
      source.cancel();
      return call.then(() => 0, (e) => e.code);
    },
  });
  connection.dispose();
});
