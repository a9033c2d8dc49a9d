/* gguf_arch.c - one row per architecture of GGUF: llama.cpp's names for it, and ours. */
#include "worker/model/gguf_model.h"
#include <string.h>

static const struct gguf_rename NOTHING[] = { { NULL, NULL } };

static const struct gguf_rename MIXTRAL[] = {
	{ "blk.%N.ffn_gate_inp", "model.layers.%N.block_sparse_moe.gate" },
	{ "blk.%N.ffn_gate_exps", "model.layers.%N.block_sparse_moe.switch_mlp.gate_proj" },
	{ "blk.%N.ffn_up_exps", "model.layers.%N.block_sparse_moe.switch_mlp.up_proj" },
	{ "blk.%N.ffn_down_exps", "model.layers.%N.block_sparse_moe.switch_mlp.down_proj" },
	{ NULL, NULL },
};

static const struct gguf_rename QWEN3_MOE[] = {
	{ "blk.%N.ffn_gate_inp", "model.layers.%N.mlp.gate" },
	{ "blk.%N.ffn_gate_exps", "model.layers.%N.mlp.switch_mlp.gate_proj" },
	{ "blk.%N.ffn_up_exps", "model.layers.%N.mlp.switch_mlp.up_proj" },
	{ "blk.%N.ffn_down_exps", "model.layers.%N.mlp.switch_mlp.down_proj" },
	{ NULL, NULL },
};

static const struct gguf_rename GEMMA[] = {
	{ "blk.%N.post_attention_norm", "model.layers.%N.post_attention_layernorm" },
	{ "blk.%N.ffn_norm", "model.layers.%N.pre_feedforward_layernorm" },
	{ "blk.%N.post_ffw_norm", "model.layers.%N.post_feedforward_layernorm" },
	{ NULL, NULL },
};

static const struct gguf_rename OLMO2[] = {
	{ "blk.%N.post_attention_norm", "model.layers.%N.post_attention_layernorm" },
	{ "blk.%N.post_ffw_norm", "model.layers.%N.post_feedforward_layernorm" },
	{ NULL, NULL },
};

static const struct gguf_rename PHI3[] = {
	{ "blk.%N.ffn_up", "model.layers.%N.mlp.gate_up_proj" },
	{ NULL, NULL },
};

static const struct gguf_rename GPT_OSS[] = {
	{ "blk.%N.attn_sinks", "model.layers.%N.self_attn.sinks" },
	{ "blk.%N.post_attention_norm", "model.layers.%N.post_attention_layernorm" },
	{ "blk.%N.ffn_gate_inp", "model.layers.%N.mlp.router" },
	{ "blk.%N.ffn_gate_exps", "model.layers.%N.mlp.experts.gate_proj" },
	{ "blk.%N.ffn_up_exps", "model.layers.%N.mlp.experts.up_proj" },
	{ "blk.%N.ffn_down_exps", "model.layers.%N.mlp.experts.down_proj" },
	{ NULL, NULL },
};

static const struct gguf_rename GPT2[] = {
	{ "token_embd", "transformer.wte" },
	{ "position_embd", "transformer.wpe" },
	{ "output_norm", "transformer.ln_f" },
	{ "blk.%N.attn_norm", "transformer.h.%N.ln_1" },
	{ "blk.%N.attn_qkv", "transformer.h.%N.attn.c_attn" },
	{ "blk.%N.attn_output", "transformer.h.%N.attn.c_proj" },
	{ "blk.%N.ffn_norm", "transformer.h.%N.ln_2" },
	{ "blk.%N.ffn_up", "transformer.h.%N.mlp.c_fc" },
	{ "blk.%N.ffn_down", "transformer.h.%N.mlp.c_proj" },
	{ NULL, NULL },
};

static const struct gguf_rename GPT_NEOX[] = {
	{ "token_embd", "gpt_neox.embed_in" },
	{ "output", "embed_out" },
	{ "output_norm", "gpt_neox.final_layer_norm" },
	{ "blk.%N.attn_norm", "gpt_neox.layers.%N.input_layernorm" },
	{ "blk.%N.attn_qkv", "gpt_neox.layers.%N.attention.query_key_value" },
	{ "blk.%N.attn_output", "gpt_neox.layers.%N.attention.dense" },
	{ "blk.%N.ffn_norm", "gpt_neox.layers.%N.post_attention_layernorm" },
	{ "blk.%N.ffn_up", "gpt_neox.layers.%N.mlp.dense_h_to_4h" },
	{ "blk.%N.ffn_down", "gpt_neox.layers.%N.mlp.dense_4h_to_h" },
	{ NULL, NULL },
};

static const struct gguf_rename PHI2[] = {
	{ "output_norm", "model.final_layernorm" },
	{ "blk.%N.attn_output", "model.layers.%N.self_attn.dense" },
	{ "blk.%N.ffn_up", "model.layers.%N.mlp.fc1" },
	{ "blk.%N.ffn_down", "model.layers.%N.mlp.fc2" },
	{ NULL, NULL },
};

static const struct gguf_rename STARCODER2[] = {
	{ "blk.%N.ffn_up", "model.layers.%N.mlp.c_fc" },
	{ "blk.%N.ffn_down", "model.layers.%N.mlp.c_proj" },
	{ NULL, NULL },
};

/* llama.cpp's converter writes Gemma's norms with the 1 added, GPT-2's matrices turned, and
 * GPT-NeoX's query, key and value rows in three runs: the fields of ours in `fixed` say so. */
static const struct gguf_arch ARCHES[] = {
	{ .name = "llama",
		.model_type = "llama",
		.names = NOTHING,
		.fixed = "",
		.rope_pairs = true },
	/* llama with experts is Mixtral; gguf_arch_of tells them apart. */
	{ .name = "llama-experts",
		.model_type = "mixtral",
		.names = MIXTRAL,
		.fixed = "",
		.rope_pairs = true },
	{ .name = "qwen2", .model_type = "qwen2", .names = NOTHING, .fixed = "" },
	{ .name = "qwen3", .model_type = "qwen3", .names = NOTHING, .fixed = "" },
	{ .name = "qwen3moe",
		.model_type = "qwen3_moe",
		.names = QWEN3_MOE,
		.fixed = "\"norm_topk_prob\":true" },
	{ .name = "gemma2",
		.model_type = "gemma2",
		.names = GEMMA,
		.fixed = "\"norm_weight_offset\":0,\"hidden_activation\":\"gelu_pytorch_tanh\"" },
	{ .name = "gemma3",
		.model_type = "gemma3_text",
		.names = GEMMA,
		.fixed = "\"norm_weight_offset\":0,\"hidden_activation\":\"gelu_pytorch_tanh\"" },
	{ .name = "phi3", .model_type = "phi3", .names = PHI3, .fixed = "" },
	{ .name = "granite",
		.model_type = "granite",
		.names = NOTHING,
		.fixed = "",
		.rope_pairs = true },
	{ .name = "smollm3",
		.model_type = "smollm3",
		.names = NOTHING,
		.fixed = "",
		.rope_pairs = true },
	{ .name = "olmo2", .model_type = "olmo2", .names = OLMO2, .fixed = "" },
	{ .name = "gpt-oss", .model_type = "gpt_oss", .names = GPT_OSS, .fixed = "" },
	{ .name = "gpt2",
		.model_type = "gpt2",
		.names = GPT2,
		.fixed = "\"straight_weights\":true",
		.eps_field = "layer_norm_epsilon",
		.dim_field = "n_embd",
		.layers_field = "n_layer",
		.heads_field = "n_head",
		.ffn_field = "n_inner",
		.context_field = "n_positions" },
	{ .name = "gptneox",
		.model_type = "gpt_neox",
		.names = GPT_NEOX,
		.fixed = "\"straight_weights\":true" },
	{ .name = "phi2", .model_type = "phi", .names = PHI2, .fixed = "" },
	{ .name = "starcoder2", .model_type = "starcoder2", .names = STARCODER2, .fixed = "" },
	{ .name = "stablelm", .model_type = "stablelm", .names = NOTHING, .fixed = "" },
};

const struct gguf_arch *gguf_arch_of(const struct gguf *g, struct fault *f)
{
	struct gguf_string name = { "", 0 };
	int64_t n_experts = 0;
	const char *word;

	if (!gguf_get_str(g, "general.architecture", &name)) {
		fault_set(f, ERR_MODEL_LOAD, "%s: general.architecture is missing", gguf_where(g));
		return NULL;
	}
	gguf_get_int(g, "llama.expert_count", &n_experts);
	for (size_t i = 0; i < sizeof ARCHES / sizeof *ARCHES; i++) {
		word = ARCHES[i].name;
		if (n_experts > 0 && strcmp(word, "llama") == 0)
			word = "";
		else if (n_experts > 0 && strcmp(word, "llama-experts") == 0)
			word = "llama";
		if (name.n == strlen(word) && memcmp(name.at, word, name.n) == 0)
			return &ARCHES[i];
	}
	fault_set(f, ERR_MODEL_LOAD, "%s: general.architecture: \"%.*s\" is not supported",
		gguf_where(g), name.n < 64 ? (int)name.n : 64, name.at);
	return NULL;
}
