// peer_tokenizer.mjs - our tokenizer and llama.cpp's on the same text, one core each, in turns.
//
//     npm install node-llama-cpp          (anywhere; name the folder in NODE_PATH's place below)
//     node bench/peer_tokenizer.mjs PATH_OF/node_modules/node-llama-cpp/dist/index.js TEXT FOLDER...
//
// Each FOLDER holds a byte-level or Llama-2 tokenizer.json. Its vocabulary is written as a GGUF
// file for llama.cpp, which then reads the same pieces, merges and scores. Processor time, the
// best of three; `make build/release/bin/bench_tokenizer` first.
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";

const [peer, textFile, ...folders] = process.argv.slice(2);
const { getLlama, LlamaLogLevel } = await import(path.resolve(peer));

const u32 = (v) => { const b = Buffer.alloc(4); b.writeUInt32LE(v); return b; };
const u64 = (v) => { const b = Buffer.alloc(8); b.writeBigUInt64LE(BigInt(v)); return b; };
const str = (s) => { const b = Buffer.from(s); return Buffer.concat([u64(b.length), b]); };
const arr = (type, items, each) => Buffer.concat([u32(9), u32(type), u64(items.length), ...items.map(each)]);
const f32 = (v) => { const b = Buffer.alloc(4); b.writeFloatLE(v); return b; };
const text = (v) => Buffer.concat([u32(8), str(v)]);
const int = (v) => Buffer.concat([u32(4), u32(v)]);

function pieces(json) {
    const list = [], types = [];
    for (const [piece, id] of Object.entries(json.model.vocab)) list[id] = piece;
    for (const t of json.added_tokens) { list[t.id] = t.content; types[t.id] = t.special ? 3 : 4; }
    for (let i = 0; i < list.length; i++) { list[i] ??= `[HOLE_${i}]`; types[i] ??= 1; }
    return { list, types };
}

function writeVocab(folder, file) {
    const json = JSON.parse(fs.readFileSync(path.join(folder, "tokenizer.json")));
    const { list, types } = pieces(json);
    const merges = json.model.merges.map((m) => (Array.isArray(m) ? m.join(" ") : m));
    const kv = { "general.architecture": text("llama"), "llama.context_length": int(512), "llama.embedding_length": int(64),
        "llama.block_count": int(1), "llama.feed_forward_length": int(128), "llama.attention.head_count": int(4),
        "llama.attention.layer_norm_rms_epsilon": Buffer.concat([u32(6), f32(1e-5)]),
        "tokenizer.ggml.bos_token_id": int(1), "tokenizer.ggml.eos_token_id": int(2) };
    if (json.model.byte_fallback) { // Llama 2: scores in the order of the merges, typed bytes
        const id = new Map(list.map((p, i) => [p, i])), scores = list.map(() => 0);
        merges.forEach((m, i) => { const k = id.get(m.replace(" ", "")); scores[k] ||= -1 - i; });
        list.forEach((p, i) => { if (/^<0x..>$/.test(p)) types[i] = 6; });
        kv["tokenizer.ggml.model"] = text("llama");
        kv["tokenizer.ggml.scores"] = arr(6, scores, f32);
    } else {
        kv["tokenizer.ggml.model"] = text("gpt2");
        kv["tokenizer.ggml.pre"] = text(json.model.ignore_merges ? "llama-bpe" : json.normalizer ? "qwen2" : "gpt-2");
        kv["tokenizer.ggml.merges"] = arr(8, merges, str);
    }
    kv["tokenizer.ggml.tokens"] = arr(8, list, str);
    kv["tokenizer.ggml.token_type"] = arr(5, types, u32);
    const head = Buffer.concat([Buffer.from("GGUF"), u32(3), u64(0), u64(Object.keys(kv).length)]);
    fs.writeFileSync(file, Buffer.concat([head, ...Object.entries(kv).flatMap(([k, v]) => [str(k), v]), Buffer.alloc(64)]));
}

const llama = await getLlama({ gpu: false, logLevel: LlamaLogLevel.disabled, build: "never" });
const once = fs.readFileSync(textFile, "utf8"), bytes = Buffer.byteLength(once);
const long = once.repeat(Math.floor(1e7 / bytes));
const scratch = fs.mkdtempSync(path.join(os.tmpdir(), "vocab-"));
for (const folder of folders) {
    const file = path.join(scratch, "v.gguf");
    writeVocab(folder, file);
    const model = await llama.loadModel({ modelPath: file, vocabOnly: true });
    let best = Infinity, n = 0;
    for (let i = 0; i < 3; i++) {
        const start = process.cpuUsage();
        n = model.tokenize(long, false).length;
        const used = process.cpuUsage(start);
        best = Math.min(best, (used.user + used.system) * 1e-6);
    }
    await model.dispose();
    const theirs = (Buffer.byteLength(long) / best) * 1e-6;
    const line = execFileSync("build/release/bin/bench_tokenizer", [folder, textFile, "10"], { encoding: "utf8" });
    const ours = Number(line.match(/([\d.]+) MB\/s/)[1]);
    console.log(`${path.basename(folder)}: ours ${ours.toFixed(1)}, llama.cpp ${theirs.toFixed(1)} MB/s, ratio ${(ours / theirs).toFixed(1)} (${n} tokens)`);
}
fs.rmSync(scratch, { recursive: true });
process.exit(0);
