// The reference SDK of the Model Context Protocol, which checks every result by MCP's schemas and
// every structuredContent by its tool's outputSchema.
const assert = require("node:assert/strict");
const { Client } = require("@modelcontextprotocol/sdk/client/index.js");
const { StdioClientTransport } = require("@modelcontextprotocol/sdk/client/stdio.js");
const { ResultSchema } = require("@modelcontextprotocol/sdk/types.js");
const { ARGS, COMMAND, LOAD, LONG, TEXT, TOKENS, run } = require("./session");

// All that came, as it came: the SDK drops progress that arrives in one read with its answer.
const heard = [];

// What was told of the progress of the latest call that asked for it.
function progress() {
  const told = heard.filter((m) => m.method === "notifications/progress").map((m) => m.params);
  const last = told.filter((p) => p.progressToken === told.at(-1).progressToken);
  const steps = last.map((p) => p.progress / p.total);
  assert.ok(steps.length >= 2 && steps.every((p, i) => i === 0 || p > steps[i - 1]), String(steps));
  assert.equal(steps.at(-1), 1);
}

const asking = { onprogress() {} };

async function tools(client) {
  const { tools } = await client.listTools();
  const names = tools.map((t) => t.name);
  for (const name of ["load_model", "generate", "tokenize", "check_draft"]) assert.ok(names.includes(name), name);
  for (const tool of tools) {
    assert.match(tool.name, /^[A-Za-z0-9_.-]{1,128}$/);
    assert.ok(tool.description && tool.outputSchema);
  }
}

async function calls(client) {
  const loaded = await client.callTool({ name: "load_model", arguments: LOAD }, undefined, asking);
  assert.equal(loaded.structuredContent.state, "ready");
  progress();
  const listed = await client.callTool({ name: "list_models" });
  assert.ok(listed.structuredContent.models.some((m) => m.model_id === "m"));

  const ids = await client.callTool({ name: "tokenize", arguments: { model_id: "m", text: TEXT.prompt } });
  assert.deepEqual(ids.structuredContent.tokens, TOKENS);
  assert.deepEqual(JSON.parse(ids.content[0].text), ids.structuredContent);
  const back = await client.callTool({ name: "detokenize", arguments: { model_id: "m", tokens: TOKENS.slice(1) } });
  assert.equal(back.content[0].text, TEXT.prompt);

  const draft = await client.callTool({
    name: "check_draft", arguments: { ...TEXT, max_tokens: undefined, draft_tokens: TOKENS.slice(1, 3) } });
  assert.equal(typeof draft.structuredContent.accepted, "number");
  const pair = await client.callTool({ name: "check_draft", arguments: { primary_id: "m", draft_id: "m" } });
  assert.equal(pair.structuredContent.compatible, true);
  const vectors = await client.callTool({ name: "embed", arguments: { model_id: "m", input: "a" } });
  assert.equal(vectors.structuredContent.data.length, 1);
}

async function generate(client) {
  const written = await client.callTool({ name: "generate", arguments: TEXT }, undefined, asking);
  assert.equal(written.isError, false);
  assert.equal(written.content[0].text, written.structuredContent.text);
  assert.equal(written.structuredContent.tokens.length, TEXT.max_tokens);
  progress();
}

async function refusals(client) {
  const absent = await client.callTool({ name: "generate", arguments: { ...TEXT, model_id: "absent" } });
  assert.equal(absent.isError, true);
  assert.match(absent.content[0].text, /Model not loaded: absent/);
  assert.equal(absent._meta["tandem/error"].code, -32005);
  const wrong = await client.callTool({ name: "tokenize", arguments: { model_id: "m", text: 5 } });
  assert.equal(wrong.isError, true);
  await assert.rejects(client.callTool({ name: "nothing" }), (e) => e.code === -32602);
  await assert.rejects(client.listResources(), (e) => /resources/.test(e.message));
}

async function cancel(client) {
  const abort = new AbortController();
  const call = client.callTool({ name: "generate", arguments: LONG }, undefined, { signal: abort.signal });
  abort.abort("enough");
  await assert.rejects(call);
  const state = await client.request({ method: "runtime/state" }, ResultSchema);
  assert.equal(state.active_streams, 0);
}

run(async () => {
  const transport = new StdioClientTransport({ command: COMMAND, args: ARGS, env: process.env, stderr: "inherit" });
  transport.onmessage = (message) => heard.push(message);
  const client = new Client({ name: "tests", version: "1" });
  client.onerror = (e) => { // an answer to what was cancelled would come here
    if (!/progress notification for an unknown token/.test(e.message)) throw e;
  };
  await client.connect(transport);
  assert.equal(client.getServerVersion().name, "tandem");
  assert.ok(client.getInstructions());
  await client.ping();
  await tools(client);
  await calls(client);
  await generate(client);
  await refusals(client);
  await cancel(client);
  await client.close(); // closes stdin and waits for the end; would kill what does not end
});
