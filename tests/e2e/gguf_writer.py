"""Write a GGUF from a small Hugging Face model folder, laid out as llama.cpp's converter does:
its tensor names, its order of rows, its metadata. Weights become float32."""
import json
import os
import struct

STRING, ARRAY, U32, F32, BOOL, I32 = 8, 9, 4, 6, 7, 5


def read_safetensors(path):
    """{name: (dtype, shape, bytes)}"""
    with open(path, "rb") as f:
        header = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
        data = f.read()
    return {k: (v["dtype"], v["shape"], data[slice(*v["data_offsets"])])
            for k, v in header.items() if k != "__metadata__"}


def floats(tensor):
    """Row-major float32 values of a BF16 or F32 tensor."""
    dtype, shape, data = tensor
    n = len(data) // (2 if dtype == "BF16" else 4)
    if dtype == "BF16":
        data = b"".join(b"\0\0" + data[i:i + 2] for i in range(0, len(data), 2))
    return shape, list(struct.unpack(f"<{n}f", data))


def rows(t):
    shape, v = t
    return [v[i * shape[-1]:(i + 1) * shape[-1]] for i in range(len(v) // shape[-1])]


def from_rows(shape, r):
    return shape, [x for row in r for x in row]


def permute(t, n_heads):
    """Half-split rotary rows to neighbouring pairs."""
    shape, _ = t
    r, width = (rows(t) if len(shape) > 1 else [[x] for x in t[1]]), shape[0] // n_heads
    out = []
    for h in range(n_heads):
        head = r[h * width:(h + 1) * width]
        out += [head[j * (width // 2) + i] for i in range(width // 2) for j in (0, 1)]
    return from_rows(shape, out)


def transpose(t):
    r = rows(t)
    return [t[0][1], t[0][0]], [r[j][i] for i in range(t[0][1]) for j in range(t[0][0])]


def by_head_to_runs(t, n_heads):
    """GPT-NeoX: [head][q k v] rows to q, k, v."""
    shape, _ = t
    r = rows(t) if len(shape) > 1 else [[x] for x in t[1]]
    width = shape[0] // n_heads // 3
    out = [x for part in range(3) for h in range(n_heads)
           for x in r[(h * 3 + part) * width:(h * 3 + part + 1) * width]]
    return from_rows(shape, out)


COMMON = {
    "model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output",
    "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "self_attn.qkv_proj": "attn_qkv",
    "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
}
GEMMA = {"post_attention_layernorm": "post_attention_norm", "pre_feedforward_layernorm": "ffn_norm",
         "post_feedforward_layernorm": "post_ffw_norm"}
OWN = {
    "gemma2": GEMMA, "gemma3": GEMMA,
    "olmo2": {"post_attention_layernorm": "post_attention_norm", "post_feedforward_layernorm": "post_ffw_norm"},
    "phi3": {"mlp.gate_up_proj": "ffn_up"},
    "phi2": {"model.final_layernorm": "output_norm", "self_attn.dense": "attn_output", "mlp.fc1": "ffn_up", "mlp.fc2": "ffn_down"},
    "starcoder2": {"mlp.c_fc": "ffn_up", "mlp.c_proj": "ffn_down"},
    "gpt2": {"transformer.wte": "token_embd", "transformer.wpe": "position_embd", "transformer.ln_f": "output_norm",
             "ln_1": "attn_norm", "ln_2": "ffn_norm", "attn.c_attn": "attn_qkv", "attn.c_proj": "attn_output",
             "mlp.c_fc": "ffn_up", "mlp.c_proj": "ffn_down"},
    "gptneox": {"gpt_neox.embed_in": "token_embd", "embed_out": "output", "gpt_neox.final_layer_norm": "output_norm",
                "attention.query_key_value": "attn_qkv", "attention.dense": "attn_output",
                "mlp.dense_h_to_4h": "ffn_up", "mlp.dense_4h_to_h": "ffn_down"},
}
PERMUTED = ("llama", "granite", "smollm3")


def rename(arch, name):
    base, _, kind = name.rpartition(".")
    table = {**COMMON, **OWN.get(arch, {})}
    for prefix in ("model.layers.", "transformer.h.", "gpt_neox.layers."):
        if base.startswith(prefix):
            layer, _, inner = base[len(prefix):].partition(".")
            return f"blk.{layer}.{table[inner]}.{kind}"
    return f"{table[base]}.{kind}"


def convert(arch, config, name, t):
    heads = config.get("num_attention_heads") or config.get("n_head")
    if arch in PERMUTED and ".q_proj." in name:
        return permute(t, heads)
    if arch in PERMUTED and ".k_proj." in name:
        return permute(t, config.get("num_key_value_heads") or heads)
    if arch.startswith("gemma") and "norm" in name:
        return t[0], [x + 1 for x in t[1]]
    if arch == "gpt2" and len(t[0]) == 2 and (".c_" in name):
        return transpose(t)
    if arch == "gptneox" and "query_key_value" in name:
        return by_head_to_runs(t, heads)
    return t


def text(s):
    b = s.encode()
    return struct.pack("<Q", len(b)) + b


def key(name, kind, payload):
    return text(name) + struct.pack("<I", kind) + payload


def number(name, v):
    if isinstance(v, bool):
        return key(name, BOOL, struct.pack("<B", v))
    return key(name, U32, struct.pack("<I", v)) if isinstance(v, int) else key(name, F32, struct.pack("<f", v))


def array(name, kind, items):
    return key(name, ARRAY, struct.pack("<IQ", kind, len(items)) + b"".join(items))


def vocabulary(n):
    pieces = ["<unk>", "<s>", "</s>"] + [f"\u2581w{i}" for i in range(3, n)]
    return [key("tokenizer.ggml.model", STRING, text("llama")),
            array("tokenizer.ggml.tokens", STRING, [text(p) for p in pieces]),
            array("tokenizer.ggml.scores", F32, [struct.pack("<f", -i) for i in range(n)]),
            array("tokenizer.ggml.token_type", I32,
                  [struct.pack("<i", 2 if i == 0 else 3 if i < 3 else 1) for i in range(n)]),
            number("tokenizer.ggml.bos_token_id", 1)]


def metadata(arch, c, vocab):
    """The keys llama.cpp's converter writes, from the config of the folder."""
    rope = c.get("rope_parameters") or {}
    full = rope.get("full_attention", rope)
    heads = c.get("num_attention_heads") or c["n_head"]
    dim = c.get("hidden_size") or c["n_embd"]
    head_dim = c.get("head_dim") or dim // heads
    keys = {
        "context_length": c.get("max_position_embeddings") or c["n_positions"],
        "embedding_length": dim, "block_count": c.get("num_hidden_layers") or c["n_layer"],
        "feed_forward_length": c.get("intermediate_size") or 4 * dim, "attention.head_count": heads,
        "attention.head_count_kv": c.get("num_key_value_heads") or heads,
        "vocab_size": vocab,
    }
    if arch != "gpt2":
        partial = c.get("partial_rotary_factor", full.get("partial_rotary_factor", c.get("rotary_pct", 1.0)))
        keys["rope.dimension_count"] = int(head_dim * partial)
        keys["rope.freq_base"] = float(full.get("rope_theta", c.get("rope_theta", c.get("rotary_emb_base", 10000.0))))
    if c.get("head_dim"):
        keys["attention.key_length"] = keys["attention.value_length"] = head_dim
    for hf, gguf in (("rms_norm_eps", "attention.layer_norm_rms_epsilon"), ("layer_norm_eps", "attention.layer_norm_epsilon"),
                     ("layer_norm_epsilon", "attention.layer_norm_epsilon"), ("norm_epsilon", "attention.layer_norm_epsilon"),
                     ("embedding_multiplier", "embedding_scale"), ("residual_multiplier", "residual_scale"),
                     ("attention_multiplier", "attention.scale"), ("logits_scaling", "logit_scale"),
                     ("attn_logit_softcapping", "attn_logit_softcapping"), ("final_logit_softcapping", "final_logit_softcapping")):
        if c.get(hf) is not None:
            keys[gguf] = float(c[hf])
    if c.get("sliding_window") and arch in ("gemma2", "gemma3", "phi3"):
        keys["attention.sliding_window"] = c["sliding_window"]
    if arch == "gptneox":
        keys["use_parallel_residual"] = bool(c["use_parallel_residual"])
    if full.get("rope_type", "default") in ("linear", "yarn"):
        keys["rope.scaling.factor"] = float(full["factor"])
        if "original_max_position_embeddings" in full:
            keys["rope.scaling.original_context_length"] = full["original_max_position_embeddings"]
    out = [key("general.architecture", STRING, text(arch))] + [number(f"{arch}.{k}", v) for k, v in keys.items()]
    if "rope.scaling.factor" in keys:
        out.append(key(f"{arch}.rope.scaling.type", STRING, text(full["rope_type"])))
    return out


def write(arch, folder, path):
    with open(os.path.join(folder, "config.json")) as f:
        config = json.load(f)
    if "rope_scaling" in config or ("rope_theta" in config and "rope_parameters" not in config):
        scaling = config.get("rope_scaling") or {}
        config["rope_parameters"] = {**scaling, "rope_type": scaling.get("type", "default"),
                                     "rope_theta": config.get("rope_theta", 10000.0)}
    tensors = read_safetensors(os.path.join(folder, "model.safetensors"))
    vocab = config["vocab_size"]
    keys = metadata(arch, config, vocab) + vocabulary(vocab)
    infos, data, n_tensors = [], b"", 0
    for name, t in tensors.items():
        shape, values = convert(arch, config, name, floats(t))
        data += b"\0" * (-len(data) % 32)
        infos.append(text(rename(arch, name)) + struct.pack("<I", len(shape)) +
                     b"".join(struct.pack("<Q", d) for d in reversed(shape)) + struct.pack("<IQ", 0, len(data)))
        data += struct.pack(f"<{len(values)}f", *values)
        n_tensors += 1
    head = b"GGUF" + struct.pack("<IQQ", 3, n_tensors, len(keys)) + b"".join(keys) + b"".join(infos)
    with open(path, "wb") as f:
        f.write(head + b"\0" * (-len(head) % 32) + data)
