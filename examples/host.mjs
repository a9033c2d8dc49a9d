#!/usr/bin/env node
// A complete host in Node without a dependency: load, tokenize, stream a text, cancel another.
import { spawn } from "node:child_process";
import { resolve } from "node:path";
import { createInterface } from "node:readline";

const tandem = spawn(process.env.TANDEM ?? "build/tandem", { stdio: ["pipe", "pipe", "inherit"] });
const waiting = new Map(); // request id or stream id -> what to do with its answer or its end
let lastId = 0;

createInterface({ input: tandem.stdout }).on("line", (line) => {
  const { id, method, params, result, error } = JSON.parse(line);
  if (method === "stream.chunk")
    process.stdout.write((params.tokens ?? [params]).map((t) => t.token).join(""));
  else if (method === "stream.event") waiting.get(params.stream_id)?.resolve(params);
  else if (id !== undefined && error) waiting.get(id)?.reject(new Error(error.message));
  else if (id !== undefined) waiting.get(id)?.resolve(result);
});

const answerTo = (key) =>
  new Promise((resolve, reject) => waiting.set(key, { resolve, reject }));

function call(method, params) {
  const id = ++lastId;
  tandem.stdin.write(JSON.stringify({ jsonrpc: "2.0", id, method, params }) + "\n");
  return answerTo(id);
}

const local_path = resolve(process.argv[2] ?? "models/novel-7m");
console.log("loaded:", (await call("load_model", { model_id: "novel", local_path })).state);
console.log("tokens:", (await call("tokenize", { model_id: "novel", text: "It was a cold evening" })).tokens.join());
const a = answerTo("a"), b = answerTo("b"); // before asking, so that no end can be missed
await call("generate", { model_id: "novel", prompt: "It was a cold evening", max_tokens: 40, seed: 1, stream_id: "a" });
console.log("\nended:", (await a).finish_reason);
await call("generate", { model_id: "novel", prompt: "Once upon a time", max_tokens: 400, ignore_eos: true, stream_id: "b" });
await call("cancel", { stream_id: "b" });
console.log("\nended:", (await b).finish_reason);
tandem.on("exit", (code) => (process.exitCode = code));
tandem.stdin.end(); // the end of input is the end of tandem
