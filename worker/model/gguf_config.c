/* gguf_config.c - a GGUF's metadata as the config.json the architectures read. */
#include "protocol/buf.h"
#include "protocol/mem.h"
#include "worker/model/gguf_model.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

struct translation {
	const struct gguf *g;
	const struct gguf_arch *arch;
	char prefix[72]; /* "llama." … */
	struct buf out;  /* the config object, open */
	struct fault *fault;
	int rc;
};

/* How a key's value is carried over. */
enum carry {
	CARRY_INT,
	CARRY_NUM,
	CARRY_IGNORE, /* says nothing about the maths, or is read elsewhere */
	CARRY_ZERO,   /* must be 0 or false: another value changes maths we do not have */
};

static const struct {
	const char *suffix, *field;
	enum carry carry;
} KEYS[] = {
	{ "context_length", "max_position_embeddings", CARRY_INT },
	{ "embedding_length", "hidden_size", CARRY_INT },
	{ "block_count", "num_hidden_layers", CARRY_INT },
	{ "feed_forward_length", "intermediate_size", CARRY_INT },
	{ "attention.head_count", "num_attention_heads", CARRY_INT },
	{ "attention.head_count_kv", "num_key_value_heads", CARRY_INT },
	{ "attention.key_length", "head_dim", CARRY_INT },
	{ "attention.layer_norm_rms_epsilon", "rms_norm_eps", CARRY_NUM },
	{ "attention.layer_norm_epsilon", "layer_norm_eps", CARRY_NUM },
	{ "attention.sliding_window", "sliding_window", CARRY_INT },
	{ "attention.scale", "attention_multiplier", CARRY_NUM },
	{ "attn_logit_softcapping", "attn_logit_softcapping", CARRY_NUM },
	{ "final_logit_softcapping", "final_logit_softcapping", CARRY_NUM },
	{ "embedding_scale", "embedding_multiplier", CARRY_NUM },
	{ "residual_scale", "residual_multiplier", CARRY_NUM },
	{ "logit_scale", "logits_scaling", CARRY_NUM },
	{ "expert_count", "num_experts", CARRY_INT },
	{ "expert_used_count", "num_experts_per_tok", CARRY_INT },
	{ "expert_feed_forward_length", "moe_intermediate_size", CARRY_INT },
	{ "pooling_type", "pooling_type", CARRY_INT },    /* pooling.c */
	{ "vocab_size", NULL, CARRY_IGNORE },             /* the embedding's rows say it */
	{ "attention.value_length", NULL, CARRY_IGNORE }, /* check_heads */
	{ "rope.freq_base", NULL, CARRY_IGNORE },         /* write_rope */
	{ "rope.freq_base_swa", NULL, CARRY_IGNORE },
	{ "rope.dimension_count", NULL, CARRY_IGNORE },
	{ "rope.scaling.type", NULL, CARRY_IGNORE },
	{ "rope.scaling.factor", NULL, CARRY_IGNORE },
	{ "rope.scaling.attn_factor", NULL, CARRY_IGNORE },
	{ "rope.scaling.original_context_length", NULL, CARRY_IGNORE },
	{ "rope.scaling.finetuned", NULL, CARRY_IGNORE },
	{ "rope.scaling.yarn_beta_fast", NULL, CARRY_IGNORE },
	{ "rope.scaling.yarn_beta_slow", NULL, CARRY_IGNORE },
	{ "rope.scale_linear", NULL, CARRY_IGNORE },
	{ "tensor_data_layout", NULL, CARRY_IGNORE },
	{ "expert_weights_scale", NULL, CARRY_IGNORE },  /* of other routers; 1 or absent here */
	{ "use_parallel_residual", NULL, CARRY_IGNORE }, /* write_flags */
	{ "expert_shared_count", NULL, CARRY_ZERO },
	{ "expert_shared_feed_forward_length", NULL, CARRY_ZERO },
	{ "attention.clamp_kqv", NULL, CARRY_ZERO },
	{ "attention.max_alibi_bias", NULL, CARRY_ZERO },
};

static void refuse(struct translation *t, const char *suffix, const char *why)
{
	if (t->rc == 0)
		t->rc = fault_set(t->fault, ERR_MODEL_LOAD, "%s: %s%s %s", gguf_where(t->g),
			t->prefix, suffix, why);
}

static const struct gguf_value *find(const struct translation *t, const char *suffix)
{
	char key[160];

	snprintf(key, sizeof key, "%s%s", t->prefix, suffix);
	return gguf_find(t->g, key);
}

/* A number, or an array that says the same number for every layer. */
static bool get_num(struct translation *t, const char *suffix, double *out)
{
	const struct gguf_value *v = find(t, suffix);
	char key[160];
	double other;

	if (!v)
		return false;
	snprintf(key, sizeof key, "%s%s", t->prefix, suffix);
	if (gguf_get_num(t->g, key, out))
		return true;
	if (!gguf_element_num(v, 0, out)) {
		refuse(t, suffix, "is not a number");
		return false;
	}
	for (size_t i = 1; i < v->n; i++)
		if (!gguf_element_num(v, i, &other) || other != *out)
			refuse(t, suffix, "differs from layer to layer, which is not supported");
	return true;
}

static const char *field_of(const struct gguf_arch *a, const char *field)
{
	static const char *const spelled[] = { "hidden_size", "num_hidden_layers",
		"num_attention_heads", "intermediate_size", "max_position_embeddings" };
	const char *const own[] = { a->dim_field, a->layers_field, a->heads_field, a->ffn_field,
		a->context_field };

	for (size_t i = 0; i < sizeof own / sizeof *own; i++)
		if (own[i] && strcmp(field, spelled[i]) == 0)
			return own[i];
	if (a->eps_field && strcmp(field, "layer_norm_eps") == 0)
		return a->eps_field;
	if (strcmp(a->model_type, "starcoder2") == 0 && strcmp(field, "layer_norm_eps") == 0)
		return "norm_epsilon";
	if ((strcmp(a->model_type, "mixtral") == 0 || strcmp(a->model_type, "gpt_oss") == 0) &&
		strcmp(field, "num_experts") == 0)
		return "num_local_experts";
	return field;
}

static void carry_over(struct translation *t, size_t row)
{
	double v = 0;

	if (KEYS[row].carry == CARRY_IGNORE || !get_num(t, KEYS[row].suffix, &v))
		return;
	if (KEYS[row].carry == CARRY_ZERO) {
		if (v != 0)
			refuse(t, KEYS[row].suffix, "is not supported");
		return;
	}
	if (KEYS[row].carry == CARRY_INT && (v != floor(v) || fabs(v) > 1e15)) {
		refuse(t, KEYS[row].suffix, "is not an integer");
		return;
	}
	/* One head count per file where Hugging Face has none: equal heads. */
	if (strcmp(t->arch->model_type, "gpt2") == 0 &&
		strcmp(KEYS[row].field, "num_key_value_heads") == 0)
		return;
	if (KEYS[row].carry == CARRY_INT)
		jout_key_int(&t->out, field_of(t->arch, KEYS[row].field), (int64_t)v);
	else
		jout_key_num(&t->out, field_of(t->arch, KEYS[row].field), v);
}

/* Every key of the architecture has a row above, or the model is refused. */
static void check_keys(struct translation *t)
{
	const char *key;
	const size_t n = strlen(t->prefix);

	for (size_t i = 0; (key = gguf_key(t->g, i)) && t->rc == 0; i++) {
		bool known = strncmp(key, t->prefix, n) != 0;
		for (size_t k = 0; k < sizeof KEYS / sizeof *KEYS && !known; k++)
			known = strcmp(key + n, KEYS[k].suffix) == 0;
		if (!known)
			refuse(t, key + n, "is not understood");
	}
}

/* -- rotary positions ------------------------------------------------------------------------ */

/* Factors of a tensor such as rope_freqs: [n_rot / 2] float32. */
static bool write_factors(struct translation *t, const char *field, const char *tensor)
{
	const struct tensor *x = gguf_tensor_named(t->g, tensor);

	if (!x)
		return false;
	if (x->n_dims != 1 || x->dtype != DTYPE_F32 || x->n_values > 4096) {
		refuse(t, tensor, "is no vector of float32");
		return false;
	}
	jout_key(&t->out, field);
	buf_addc(&t->out, '[');
	for (size_t i = 0; i < x->n_values; i++) {
		float v;
		memcpy(&v, (const uint8_t *)x->data + i * sizeof v, sizeof v);
		if (i)
			buf_addc(&t->out, ',');
		jout_float(&t->out, v);
	}
	buf_addc(&t->out, ']');
	return true;
}

/* llama.cpp keeps Llama 3's scaling as ready factors, and longrope's as two sets. */
static bool write_factor_rope(struct translation *t, double factor)
{
	double magnitude = 1, trained = 0;
	const bool one = gguf_tensor_named(t->g, "rope_freqs.weight") != NULL;

	if (!one && !gguf_tensor_named(t->g, "rope_factors_short.weight"))
		return false;
	jout_key_cstr(&t->out, "rope_type", "longrope");
	write_factors(t, "short_factor", one ? "rope_freqs.weight" : "rope_factors_short.weight");
	if (!write_factors(
		    t, "long_factor", one ? "rope_freqs.weight" : "rope_factors_long.weight"))
		refuse(t, "rope_factors_long.weight", "is missing");
	/* Without a magnitude of its own, longrope's follows from the stretch of the context. */
	if (one || get_num(t, "rope.scaling.attn_factor", &magnitude))
		jout_key_num(&t->out, "attention_factor", magnitude);
	if (get_num(t, "rope.scaling.original_context_length", &trained))
		jout_key_int(&t->out, "original_max_position_embeddings", (int64_t)trained);
	(void)factor;
	return true;
}

static void write_scaled_rope(struct translation *t, double factor)
{
	struct gguf_string type = { "none", 4 };
	char key[160];
	double v;

	snprintf(key, sizeof key, "%srope.scaling.type", t->prefix);
	gguf_get_str(t->g, key, &type);
	if (type.n == 4 && memcmp(type.at, "none", 4) == 0) {
		jout_key_cstr(&t->out, "rope_type", "default");
		return;
	}
	jout_key_str(&t->out, "rope_type", type.at, type.n);
	jout_key_num(&t->out, "factor", factor);
	if (get_num(t, "rope.scaling.original_context_length", &v))
		jout_key_int(&t->out, "original_max_position_embeddings", (int64_t)v);
	if (get_num(t, "rope.scaling.yarn_beta_fast", &v))
		jout_key_num(&t->out, "beta_fast", v);
	if (get_num(t, "rope.scaling.yarn_beta_slow", &v))
		jout_key_num(&t->out, "beta_slow", v);
	if (strcmp(t->arch->model_type, "gpt_oss") == 0)
		jout_key_bool(&t->out, "truncate", false);
}

static double head_dim(struct translation *t)
{
	double dim = 0, heads = 1, key = 0;

	get_num(t, "embedding_length", &dim);
	get_num(t, "attention.head_count", &heads);
	return get_num(t, "attention.key_length", &key) ? key : heads > 0 ? dim / heads : 0;
}

static void write_rope_object(struct translation *t, double theta, double partial)
{
	double factor = 1;

	if (!get_num(t, "rope.scaling.factor", &factor))
		get_num(t, "rope.scale_linear", &factor);
	buf_addc(&t->out, '{');
	jout_key_num(&t->out, "rope_theta", theta);
	if (partial < 1)
		jout_key_num(&t->out, "partial_rotary_factor", partial);
	if (!write_factor_rope(t, factor))
		write_scaled_rope(t, factor);
	buf_addc(&t->out, '}');
}

static void write_rope(struct translation *t)
{
	double theta = 10000, local = 10000, n_rot, width = head_dim(t), partial = 1;
	const bool by_layer = strcmp(t->arch->model_type, "gemma3_text") == 0;

	if (strcmp(t->arch->model_type, "gpt2") == 0)
		return;
	get_num(t, "rope.freq_base", &theta);
	get_num(t, "rope.freq_base_swa", &local);
	if (get_num(t, "rope.dimension_count", &n_rot) && width > 0)
		partial = n_rot / width;
	jout_key(&t->out, "rope_parameters");
	if (by_layer)
		buf_adds(&t->out, "{\"full_attention\":");
	write_rope_object(t, theta, partial);
	if (!by_layer)
		return;
	buf_adds(&t->out, ",\"sliding_attention\":{");
	jout_key_num(&t->out, "rope_theta", local);
	jout_key_cstr(&t->out, "rope_type", "default");
	buf_adds(&t->out, "}}");
}

/* -- what follows from the tensors ----------------------------------------------------------- */

static bool has_tensor(const struct translation *t, const char *name)
{
	return gguf_tensor_named(t->g, name) != NULL;
}

static void check_heads(struct translation *t)
{
	double key, value;

	if (get_num(t, "attention.key_length", &key) &&
		get_num(t, "attention.value_length", &value) && key != value)
		refuse(t, "attention.value_length", "differs from attention.key_length");
}

/* Gemma's queries are scaled by the head's width, but in its largest models by the model's
 * width over the heads; the metadata does not say which, the depth does. */
static void write_gemma_scale(struct translation *t)
{
	double layers = 0, dim = 0, heads = 1, width = head_dim(t);

	get_num(t, "block_count", &layers);
	get_num(t, "embedding_length", &dim);
	get_num(t, "attention.head_count", &heads);
	if (layers == 46 || layers == 62)
		width = heads > 0 ? dim / heads : width;
	jout_key_num(&t->out, "query_pre_attn_scalar", width);
	if (!find(t, "attn_logit_softcapping"))
		buf_adds(&t->out, ",\"attn_logit_softcapping\":null");
	if (!find(t, "final_logit_softcapping"))
		buf_adds(&t->out, ",\"final_logit_softcapping\":null");
}

static void write_flags(struct translation *t)
{
	const struct tensor *embedding = gguf_tensor_named(t->g, "token_embd.weight");
	const char *type = t->arch->model_type;
	char key[160];
	bool parallel;

	if (!embedding || embedding->n_dims != 2) {
		refuse(t, "token_embd.weight", "is missing or no matrix");
		return;
	}
	jout_key_int(&t->out, "vocab_size", (int64_t)embedding->dims[0]);
	jout_key_bool(&t->out, "tie_word_embeddings", !has_tensor(t, "output.weight"));
	if (t->arch->rope_pairs)
		jout_key_bool(&t->out, "rope_interleaved", true);
	if (strcmp(type, "llama") == 0 || strcmp(type, "granite") == 0 ||
		strcmp(type, "qwen3") == 0 || strcmp(type, "smollm3") == 0) {
		jout_key_bool(&t->out, "attention_bias", has_tensor(t, "blk.0.attn_q.bias"));
		if (strcmp(type, "llama") == 0 || strcmp(type, "granite") == 0)
			jout_key_bool(&t->out, "mlp_bias", has_tensor(t, "blk.0.ffn_up.bias"));
	}
	if (strcmp(type, "stablelm") == 0)
		jout_key_bool(&t->out, "use_qkv_bias", has_tensor(t, "blk.0.attn_q.bias"));
	if (strncmp(type, "gemma", 5) == 0)
		write_gemma_scale(t);
	snprintf(key, sizeof key, "%suse_parallel_residual", t->prefix);
	if (gguf_get_bool(t->g, key, &parallel))
		jout_key_bool(&t->out, "use_parallel_residual", parallel);
}

/* Every id that ends a text. */
static void write_eos(struct translation *t)
{
	static const char *const keys[] = { "tokenizer.ggml.eos_token_id",
		"tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id" };
	int64_t id, ids[3], n = 0;

	for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
		if (gguf_get_int(t->g, keys[i], &id) && id >= 0 && id <= INT32_MAX)
			ids[n++] = id;
	if (n == 0)
		return;
	jout_key(&t->out, "eos_token_id");
	for (int64_t i = 0; i < n; i++) {
		buf_addc(&t->out, i ? ',' : '[');
		jout_int(&t->out, ids[i]);
	}
	buf_addc(&t->out, ']');
}

int gguf_config(
	const struct gguf *g, const struct gguf_arch *arch, struct config **out, struct fault *f)
{
	struct translation t = { .g = g, .arch = arch, .out = BUF_INIT, .fault = f };
	struct gguf_string name;

	gguf_get_str(g, "general.architecture", &name); /* gguf_arch_of read it */
	snprintf(t.prefix, sizeof t.prefix, "%.*s.", (int)name.n, name.at);
	buf_addc(&t.out, '{');
	jout_key_cstr(&t.out, "model_type", arch->model_type);
	if (*arch->fixed)
		buf_addf(&t.out, ",%s", arch->fixed);
	check_keys(&t);
	for (size_t i = 0; i < sizeof KEYS / sizeof *KEYS && t.rc == 0; i++)
		carry_over(&t, i);
	if (t.rc == 0)
		check_heads(&t);
	if (t.rc == 0)
		write_flags(&t);
	if (t.rc == 0)
		write_rope(&t);
	write_eos(&t);
	buf_addc(&t.out, '}');
	if (t.rc == 0)
		t.rc = config_parse(t.out.data, t.out.n_bytes, gguf_where(g), out, f);
	buf_release(&t.out);
	return t.rc;
}
