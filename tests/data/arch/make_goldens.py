"""Make the reference models of this folder: tiny random Hugging Face models and what
transformers computes with them in float32 on the CPU.

    python3 make_goldens.py OUT          (needs torch, transformers 5, safetensors)

Each OUT/<name>/ is an ordinary model folder (config.json, model.safetensors) plus
golden.safetensors: input_ids [n], logits [n,vocab] float32, greedy [24]. Weights are drawn
wide enough that logits spread and greedy choices are not near-ties (margin printed)."""
import json, os, shutil, sys
import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoConfig

V = 256
BASE = dict(vocab_size=V, hidden_size=64, intermediate_size=128, num_hidden_layers=3,
            num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=512,
            bos_token_id=1, eos_token_id=2, pad_token_id=0)
def rope(kind, theta=10000.0, **kw):
    return dict(rope_parameters=dict(rope_type=kind, rope_theta=theta, **kw))
HALF = 8  # rotary pairs of head_dim 16
SHORT = [1.0 + 0.05 * i for i in range(HALF)]
LONG = [1.5 + 0.8 * i for i in range(HALF)]

# name -> (model_type, config, prompt tokens, write config.json in the older spelling)
MODELS = {
    "phi3": ("phi3", dict(BASE, sliding_window=None), 40, False),
    "phi3-sliding-partial": ("phi3", dict(BASE, sliding_window=16, partial_rotary_factor=0.5), 40, True),
    "phi3-longrope-short": ("phi3", dict(BASE, original_max_position_embeddings=64, **rope("longrope",
        short_factor=SHORT, long_factor=LONG, original_max_position_embeddings=64)), 40, True),
    "phi3-longrope-long": ("phi3", dict(BASE, original_max_position_embeddings=32, **rope("longrope",
        short_factor=SHORT, long_factor=LONG, original_max_position_embeddings=32)), 40, False),
    "granite": ("granite", dict(BASE, embedding_multiplier=12.0, residual_multiplier=0.22,
        attention_multiplier=0.0625, logits_scaling=2.0, tie_word_embeddings=True), 40, False),
    "granite-bias": ("granite", dict(BASE, embedding_multiplier=3.0, residual_multiplier=0.5,
        attention_multiplier=0.2, logits_scaling=0.5, attention_bias=True, mlp_bias=True), 40, True),
    "olmo2": ("olmo2", dict(BASE), 40, False),
    "olmo2-mha": ("olmo2", dict(BASE, num_key_value_heads=4, rope_theta=500000.0), 40, True),
    "gpt-neox": ("gpt_neox", dict({k: v for k, v in BASE.items() if k != "num_key_value_heads"},
        rotary_pct=0.25, use_parallel_residual=True), 40, False),
    "gpt-neox-sequential": ("gpt_neox", dict({k: v for k, v in BASE.items() if k != "num_key_value_heads"},
        rotary_pct=1.0, use_parallel_residual=False, hidden_act="gelu_new"), 40, True),
    "llama-linear": ("llama", dict(BASE, **rope("linear", factor=4.0)), 40, True),
    "llama-dynamic": ("llama", dict(BASE, max_position_embeddings=32, **rope("dynamic", factor=4.0)), 40, False),
    "llama-yarn": ("llama", dict(BASE, **rope("yarn", factor=4.0, original_max_position_embeddings=32)), 40, True),
    "llama-bias": ("llama", dict(BASE, attention_bias=True, mlp_bias=True, head_dim=32), 40, False),
    "qwen2-yarn-sliding": ("qwen2", dict(BASE, use_sliding_window=True, sliding_window=16, max_window_layers=1,
        **rope("yarn", theta=1e6, factor=4.0, original_max_position_embeddings=32, attention_factor=1.2)), 40, False),
    "qwen3-sliding": ("qwen3", dict(BASE, head_dim=32, use_sliding_window=True, sliding_window=8, max_window_layers=2), 40, False),
    "qwen3-moe-dense-mix": ("qwen3_moe", dict(BASE, head_dim=16, num_experts=6, num_experts_per_tok=3,
        moe_intermediate_size=48, norm_topk_prob=True, mlp_only_layers=[1], decoder_sparse_step=1), 40, False),
    "mixtral-sliding": ("mixtral", dict(BASE, num_local_experts=5, num_experts_per_tok=2, sliding_window=12), 40, True),
    "mistral-headdim": ("mistral", dict(BASE, head_dim=24, sliding_window=None), 40, True),
    "gemma2-deep": ("gemma2", dict(BASE, num_hidden_layers=4, head_dim=32, sliding_window=8, query_pre_attn_scalar=48,
        attn_logit_softcapping=20.0, final_logit_softcapping=10.0), 40, True),
    "gemma3-linear": ("gemma3_text", dict(BASE, num_hidden_layers=7, head_dim=32, sliding_window=8, query_pre_attn_scalar=24,
        rope_parameters=dict(full_attention=dict(rope_type="linear", factor=8.0, rope_theta=1e6),
                             sliding_attention=dict(rope_type="default", rope_theta=1e4))), 40, False),
    "smollm3-untied": ("smollm3", dict(BASE, num_hidden_layers=5, no_rope_layers=[1, 0, 1, 1, 0], tie_word_embeddings=False,
        attention_bias=True), 40, False),
    "gpt2-untied": ("gpt2", dict(vocab_size=V, n_embd=48, n_layer=3, n_head=3, n_positions=128, bos_token_id=1,
        eos_token_id=2, scale_attn_by_inverse_layer_idx=True, tie_word_embeddings=False), 40, False),
    "phi2": ("phi", dict({k: v for k, v in BASE.items()}, partial_rotary_factor=0.5, num_key_value_heads=4), 40, False),
    "starcoder2": ("starcoder2", dict(BASE, use_bias=True, sliding_window=None), 40, False),
    "stablelm": ("stablelm", dict(BASE, partial_rotary_factor=0.25, use_qkv_bias=True), 40, False),
}

def older_spelling(path):
    """As configs on the hub were written for years: rope_theta + rope_scaling, torch_dtype."""
    c = json.load(open(path))
    rp = c.pop("rope_parameters", None)
    if rp:
        c["rope_theta"] = rp.pop("rope_theta", 10000.0)
        if "partial_rotary_factor" in rp:
            c["partial_rotary_factor"] = rp.pop("partial_rotary_factor")
        kind = rp.pop("rope_type", "default")
        c["rope_scaling"] = None if kind == "default" else dict(rp, type=kind)
    if "dtype" in c:
        c["torch_dtype"] = c.pop("dtype")
    if c["model_type"] == "gpt_neox":
        c["rotary_emb_base"] = c.pop("rope_theta", 10000)
        c["rotary_pct"] = c.pop("partial_rotary_factor", c.get("rotary_pct", 0.25))
        c.pop("rope_scaling", None)
    json.dump(c, open(path, "w"), indent=1)

def make(name, model_type, conf, n, old, out):
    torch.manual_seed(sum(map(ord, name)))
    config = AutoConfig.for_model(model_type, **conf)
    config._attn_implementation = "eager"
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    with torch.no_grad():
        for key, p in model.named_parameters():
            if p.dim() >= 2:
                p.normal_(0, 1.0 if "emb" in key or "wte" in key else 2.2 / p.shape[-1] ** 0.5)
            elif key.endswith("bias"):
                p.normal_(0, 0.2)
            else:
                p.add_(0.2 * torch.randn_like(p))
            p.copy_(p.to(torch.bfloat16).float())
    ids = torch.randint(3, V, (1, n))
    with torch.no_grad():
        logits = model(ids, use_cache=False).logits[0].float()
        greedy, margin, run = [], 1e9, ids
        for _ in range(24):
            last = model(run, use_cache=False).logits[0, -1].float()
            top = last.topk(2).values
            margin = min(margin, (top[0] - top[1]).item())
            greedy.append(int(last.argmax()))
            run = torch.cat([run, torch.tensor([[greedy[-1]]])], 1)
    folder = os.path.join(out, name)
    shutil.rmtree(folder, ignore_errors=True)
    model.to(torch.bfloat16).save_pretrained(folder)
    for extra in os.listdir(folder):
        if extra not in ("config.json", "model.safetensors", "generation_config.json"):
            os.remove(os.path.join(folder, extra))
    if old:
        older_spelling(os.path.join(folder, "config.json"))
    save_file({"input_ids": ids[0].to(torch.int32), "logits": logits.contiguous(),
               "greedy": torch.tensor(greedy, dtype=torch.int32)}, os.path.join(folder, "golden.safetensors"))
    print(f"{name}: std {logits.std():.3f} margin {margin:.5f}", flush=True)

if __name__ == "__main__":
    for name, (model_type, conf, n, old) in MODELS.items():
        if len(sys.argv) > 2 and name not in sys.argv[2:]:
            continue
        try:
            make(name, model_type, conf, n, old, sys.argv[1])
        except Exception as e:
            print(f"{name}: FAILED {type(e).__name__}: {e}", flush=True)
