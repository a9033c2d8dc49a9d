// What every client here does with tandem, whatever it is written with.
const assert = require("node:assert/strict");
const { spawn } = require("node:child_process");

const COMMAND = process.env.TANDEM;
// A step of the model takes its time, so that what is to be cancelled is still there.
const ARGS = ["--worker", process.env.TANDEM_WORKER, "--", "--dev-stall-ms=20"];

const LOAD = { model_id: "m", local_path: process.env.NOVEL };
const TEXT = { model_id: "m", prompt: "The old house stood", max_tokens: 12, temperature: 0 };
const LONG = { model_id: "m", prompt: "Once", max_tokens: 480, ignore_eos: true };
const TOKENS = [1, 522, 667, 834, 1087]; // of TEXT.prompt

function start() {
  const child = spawn(COMMAND, ARGS, { stdio: ["pipe", "pipe", "inherit"] });
  child.ended = new Promise((resolve) => child.on("exit", (code, signal) => resolve(code ?? signal)));
  return child;
}

// Stream notifications, put together again.
class Streams {
  texts = new Map();
  waiting = new Map();

  take(method, { stream_id, tokens, token, event, finish_reason }) {
    if (method === "stream.chunk") {
      const more = tokens ? tokens.map((t) => t.token).join("") : token;
      this.texts.set(stream_id, (this.texts.get(stream_id) ?? "") + more);
    } else if (method === "stream.event") {
      assert.ok(event === "completed" || event === "error");
      this.waiting.get(stream_id)({ finish_reason, text: this.texts.get(stream_id) ?? "" });
    }
  }

  // Ask before the generate, so that no end can be missed.
  end(stream_id) {
    return new Promise((resolve) => this.waiting.set(stream_id, resolve));
  }
}

// The session itself. `call` rejects with an error that has a code; `cancelled` starts a long
// generate, cancels it in the client's own way and returns the code it was rejected with.
async function session({ child, call, streams, cancelled, batch }) {
  assert.equal((await call("load_model", LOAD)).state, "ready");
  assert.deepEqual((await call("tokenize", { model_id: "m", text: TEXT.prompt })).tokens, TOKENS);
  const whole = await call("generate", { ...TEXT, stream: false });
  const end = streams.end("s");
  assert.equal((await call("generate", { ...TEXT, stream_id: "s" })).stream_id, "s");
  assert.deepEqual(await end, { finish_reason: "length", text: whole.text });
  await assert.rejects(call("tokenise", {}), (e) => e.code === -32601);
  await assert.rejects(call("tokenize", { model_id: "absent", text: "x" }), (e) => e.code === -32005);
  if (batch) await batch();
  assert.equal(await cancelled(), -32800);
  assert.equal((await call("runtime/state", {})).active_streams, 0);
  assert.equal((await call("shutdown", {})).success, true);
  child.stdin.end();
  assert.equal(await child.ended, 0);
}

function run(main) {
  main().then(
    () => process.exit(0),
    (e) => {
      console.error(e);
      process.exit(1);
    });
}

module.exports = { ARGS, COMMAND, LOAD, LONG, Streams, TEXT, TOKENS, run, session, start };
