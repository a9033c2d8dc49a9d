// peer_llama_cpp.mjs - llama.cpp, through node-llama-cpp, as the other side of compare.py.
//
//     node peer_llama_cpp.mjs PATH_OF/node_modules/node-llama-cpp/dist/index.js
//
// Reads one command a line on stdin and answers each with one line of JSON. It is driven through
// the binding's own batch calls, one decode at a time, without a sampler: less work per token
// than a host of the public API has. Flash attention, f16 K and V, memory-mapped files.
import { createInterface } from "node:readline";
import path from "node:path";

const { getLlama, LlamaLogLevel } = await import(path.resolve(process.argv[2]));
const CHUNK = 512;
const llama = await getLlama({ gpu: false, build: "never", skipDownload: true, logLevel: LlamaLogLevel.error, maxThreads: 0 });
let model, context, threads;
let depth = 0; // tokens that sequence 0 holds for the next decode at that depth

const randomToken = () => 256 + Math.floor(Math.random() * 100000);
const randomTokens = (n) => Array.from({ length: n }, randomToken);
const seconds = () => performance.now() / 1e3;

// One forward pass over `tokens` at `position`; logits of the last one when asked for.
async function forward(sequence, position, tokens, wantLogits = true) {
    context._ctx.initBatch(tokens.length);
    context._ctx.addToBatch(sequence, position, Uint32Array.from(tokens),
        Uint32Array.from(wantLogits ? [tokens.length - 1] : []));
    await context._ctx.decodeBatch();
}

async function read(sequence, n) {
    context._ctx.disposeSequence(sequence);
    for (let i = 0; i < n; i += CHUNK)
        await forward(sequence, i, randomTokens(Math.min(CHUNK, n - i)), i + CHUNK >= n);
}

async function open(contextSize, sequences) {
    await context?.dispose();
    depth = 0;
    context = await model.createContext({ contextSize, batchSize: CHUNK, sequences, flashAttention: true,
        threads: { ideal: threads, min: threads } });
    context._ctx.setThreads(threads);
}

const commands = {
    async load({ file, threads: n }) {
        const began = seconds();
        threads = n;
        model = await llama.loadModel({ modelPath: file, gpuLayers: 0, useMmap: true });
        const load = seconds() - began;
        await open(4096, 1);
        await forward(0, 0, [256]); // in any vocabulary
        return { load, first_token: seconds() - began };
    },
    async open({ context_size, sequences }) {
        await open(context_size, sequences);
        return {};
    },
    async prefill({ n }) {
        depth = 0;
        const began = seconds();
        await read(0, n);
        return { rate: n / (seconds() - began) };
    },
    async decode({ n, at }) {
        if (at > 0 && depth === at)
            context._ctx.removeTokenCellsFromSequence(0, at, -1);
        else
            await read(0, at);
        depth = at;
        const began = seconds();
        for (let i = 0; i < n; i++)
            await forward(0, at + i, [randomToken()]);
        return { rate: n / (seconds() - began) };
    },
    // A question of these tokens, and n tokens of an answer.
    async ask({ tokens, n }) {
        depth = 0;
        const began = seconds();
        context._ctx.disposeSequence(0);
        for (let i = 0; i < tokens.length; i += CHUNK)
            await forward(0, i, tokens.slice(i, i + CHUNK), i + CHUNK >= tokens.length);
        const first = seconds() - began;
        for (let i = 0; i + 1 < n; i++)
            await forward(0, tokens.length + i, [tokens[i % tokens.length]]);
        return { first };
    },
    async together({ sequences, n, at }) {
        depth = 0;
        for (let s = 0; s < sequences; s++)
            await read(s, at);
        const began = seconds();
        for (let i = 0; i < n; i++) {
            context._ctx.initBatch(sequences);
            for (let s = 0; s < sequences; s++)
                context._ctx.addToBatch(s, at + i, Uint32Array.from([randomToken()]), Uint32Array.from([0]));
            await context._ctx.decodeBatch();
        }
        return { rate: (n * sequences) / (seconds() - began) };
    },
};

for await (const line of createInterface({ input: process.stdin })) {
    const { command, ...params } = JSON.parse(line);
    process.stdout.write(JSON.stringify(await commands[command](params)) + "\n");
}
process.exit(0);
