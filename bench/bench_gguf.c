/* bench_gguf.c - a GGUF file of random weights in the shape of Llama-3.2-1B, for measuring.
 *
 *     bench_gguf Q4_0|Q8_0|Q4_K_M|BF16 FILE          Llama-3.2-1B
 *     bench_gguf TYPE FILE chain                     the same, and each token has its successor
 *     bench_gguf TYPE FILE draft PERCENT             a tenth of it, which agrees so often
 *
 * Which tensor has which type follows llama.cpp's recipes of those names: the embedding, which
 * is the head too, is Q6_K in the four-bit ones, as are some V and down projections in Q4_K_M.
 * The vocabulary has the real size, in bytes, pairs and triples of printable ones, with merges
 * that lead to them, so that any byte-level tokenizer reads it. Nothing here depends on values:
 * weights have deviation 0.02 and never overflow. About a second a gigabyte.
 *
 * In a chain the embedding outweighs what the layers add to it, and the head's row of a token
 * points where its predecessor's embedding does: so the likeliest next token is the successor,
 * whatever was before, at the whole cost of the layers. The head of a draft does so for PERCENT
 * of the tokens, and points anywhere for the others. */
#include "kernels/half.h"
#include "kernels/quant.h"
#include "protocol/buf.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FFN_MOST    8192
#define LAYERS_MOST 16
#define VOCABULARY  128256
#define N_SPECIAL   256 /* the last ids */
#define PRINTABLE   94  /* '!' to '~' */
#define ALIGNMENT   32
#define DEVIATION   0.02f
/* In a chain: the deviation of the embedding, beside which what the layers add is little (four
 * bits have a mean of minus half a step, so that it is some 70); and from a token to its
 * successor. */
#define LOUD   1000.0f
#define STRIDE 7919

struct shape {
	unsigned dim, kv_width, ffn, n_layers, n_heads; /* heads of 64 */
};
static const struct shape whole = { 2048, 512, 8192, 16, 32 };
static const struct shape tenth = { 512, 128, 2048, 14, 8 };

/* What is to be written. */
struct order {
	const struct recipe *recipe;
	const struct shape *shape;
	bool is_chain;
	unsigned percent; /* of the tokens whose successor it knows */
};

/* Type numbers of the file's metadata. */
enum { KEY_U32 = 4, KEY_I32 = 5, KEY_F32 = 6, KEY_STRING = 8, KEY_ARRAY = 9 };

struct tensor_plan {
	char name[48];
	enum dtype type;
	uint64_t n_in, n_out; /* n_out 1 for a vector */
};

/* A recipe: the type of most matrices, of the embedding, and of those worth more bits. */
struct recipe {
	const char *name;
	enum dtype most, embedding, better;
};

static const struct recipe recipes[] = {
	{ "Q4_0", DTYPE_Q4_0, DTYPE_Q6_K, DTYPE_Q4_0 },
	{ "Q8_0", DTYPE_Q8_0, DTYPE_Q8_0, DTYPE_Q8_0 },
	{ "Q4_K_M", DTYPE_Q4_K, DTYPE_Q6_K, DTYPE_Q6_K },
	{ "BF16", DTYPE_BF16, DTYPE_BF16, DTYPE_BF16 },
};

static void add_u32(struct buf *b, uint32_t v)
{
	buf_add(b, &v, sizeof v);
}

static void add_u64(struct buf *b, uint64_t v)
{
	buf_add(b, &v, sizeof v);
}

static void add_string(struct buf *b, const char *s)
{
	add_u64(b, strlen(s));
	buf_adds(b, s);
}

static void add_key_u32(struct buf *b, const char *key, uint32_t v)
{
	add_string(b, key);
	add_u32(b, KEY_U32);
	add_u32(b, v);
}

static void add_key_f32(struct buf *b, const char *key, float v)
{
	add_string(b, key);
	add_u32(b, KEY_F32);
	buf_add(b, &v, sizeof v);
}

static void add_key_string(struct buf *b, const char *key, const char *v)
{
	add_string(b, key);
	add_u32(b, KEY_STRING);
	add_string(b, v);
}

static void add_key_array(struct buf *b, const char *key, uint32_t type, uint64_t n)
{
	add_string(b, key);
	add_u32(b, KEY_ARRAY);
	add_u32(b, type);
	add_u64(b, n);
}

/* GPT-2's picture of a byte: itself where it prints, else the next unused code point. */
static void byte_piece(unsigned byte, char out[3])
{
	unsigned code = byte, hidden = 0;

	for (unsigned b = 0; b <= byte; b++) {
		bool prints = (b >= 33 && b <= 126) || (b >= 161 && b != 173);
		code = prints ? b : 256 + hidden++;
	}
	if (code < 128) {
		out[0] = (char)code;
		out[1] = 0;
		return;
	}
	out[0] = (char)(0xc0 | code >> 6);
	out[1] = (char)(0x80 | (code & 63));
	out[2] = 0;
}

/* The two pieces that merge i joins: first all pairs, then pairs with a third. */
static void merge_halves(unsigned i, char left[3], char right[2])
{
	bool pair = i < PRINTABLE * PRINTABLE;
	unsigned j = pair ? i : i - PRINTABLE * PRINTABLE, l = j / PRINTABLE;

	memset(left, 0, 3);
	left[0] = (char)('!' + (pair ? l : l / PRINTABLE));
	if (!pair)
		left[1] = (char)('!' + l % PRINTABLE);
	right[0] = (char)('!' + j % PRINTABLE);
	right[1] = 0;
}

static void add_vocabulary(struct buf *b)
{
	unsigned n_merges = VOCABULARY - N_SPECIAL - 256;
	char left[3], right[2], text[32];

	add_key_string(b, "tokenizer.ggml.model", "gpt2");
	add_key_string(b, "tokenizer.ggml.pre", "llama-bpe");
	add_key_array(b, "tokenizer.ggml.tokens", KEY_STRING, VOCABULARY);
	for (unsigned i = 0; i < 256; i++) {
		byte_piece(i, left);
		add_string(b, left);
	}
	for (unsigned i = 0; i < n_merges; i++) {
		merge_halves(i, left, right);
		snprintf(text, sizeof text, "%s%s", left, right);
		add_string(b, text);
	}
	for (unsigned i = 0; i < N_SPECIAL; i++) {
		snprintf(text, sizeof text, "<|special_%u|>", i);
		add_string(b, text);
	}
	add_key_array(b, "tokenizer.ggml.token_type", KEY_I32, VOCABULARY);
	for (unsigned i = 0; i < VOCABULARY; i++)
		add_u32(b, i < VOCABULARY - N_SPECIAL ? 1 : 3);
	add_key_array(b, "tokenizer.ggml.merges", KEY_STRING, n_merges);
	for (unsigned i = 0; i < n_merges; i++) {
		merge_halves(i, left, right);
		snprintf(text, sizeof text, "%s %s", left, right);
		add_string(b, text);
	}
	add_key_u32(b, "tokenizer.ggml.bos_token_id", VOCABULARY - N_SPECIAL);
	add_key_u32(b, "tokenizer.ggml.eos_token_id", VOCABULARY - N_SPECIAL + 1);
}

#define N_KEYS 19 /* what add_keys and add_vocabulary write */
static void add_keys(struct buf *b, const struct shape *s)
{
	add_key_string(b, "general.architecture", "llama");
	add_key_string(b, "general.name", "random weights");
	add_key_u32(b, "llama.block_count", s->n_layers);
	add_key_u32(b, "llama.context_length", 131072);
	add_key_u32(b, "llama.embedding_length", s->dim);
	add_key_u32(b, "llama.feed_forward_length", s->ffn);
	add_key_u32(b, "llama.attention.head_count", s->n_heads);
	add_key_u32(b, "llama.attention.head_count_kv", s->kv_width / 64);
	add_key_u32(b, "llama.vocab_size", VOCABULARY);
	add_key_u32(b, "llama.rope.dimension_count", 64);
	add_key_f32(b, "llama.rope.freq_base", 500000);
	add_key_f32(b, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
	add_vocabulary(b);
}

static void plan_add(struct tensor_plan *plan, size_t *n, const struct tensor_plan *t)
{
	plan[(*n)++] = *t;
}

/* Layers whose V and down projections get more bits: the first and last eighth, and every
 * third between. */
static bool is_better_layer(unsigned i, unsigned n)
{
	return i < n / 8 || i >= 7 * n / 8 || (i - n / 8) % 3 == 2;
}

static size_t plan_layer(struct tensor_plan *plan, const struct order *o, unsigned layer)
{
	const struct recipe *r = o->recipe;
	const struct shape *s = o->shape;
	enum dtype better = is_better_layer(layer, s->n_layers) ? r->better : r->most;
	const struct tensor_plan tensors[] = {
		{ "attn_norm", DTYPE_F32, s->dim, 1 },
		{ "attn_q", r->most, s->dim, s->dim },
		{ "attn_k", r->most, s->dim, s->kv_width },
		{ "attn_v", better, s->dim, s->kv_width },
		{ "attn_output", r->most, s->dim, s->dim },
		{ "ffn_norm", DTYPE_F32, s->dim, 1 },
		{ "ffn_gate", r->most, s->dim, s->ffn },
		{ "ffn_up", r->most, s->dim, s->ffn },
		{ "ffn_down", better, s->ffn, s->dim },
	};
	size_t n = 0;

	for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++) {
		struct tensor_plan t = tensors[i];
		snprintf(t.name, sizeof t.name, "blk.%u.%.16s.weight", layer, tensors[i].name);
		plan_add(plan, &n, &t);
	}
	return n;
}

#define MOST_TENSORS (3 + 9 * LAYERS_MOST)
static size_t make_plan(struct tensor_plan *plan, const struct order *o)
{
	const enum dtype ends = o->recipe->embedding;
	const unsigned dim = o->shape->dim;
	size_t n = 0;

	plan_add(plan, &n, &(struct tensor_plan) { "token_embd.weight", ends, dim, VOCABULARY });
	plan_add(plan, &n, &(struct tensor_plan) { "output_norm.weight", DTYPE_F32, dim, 1 });
	if (o->is_chain)
		plan_add(
			plan, &n, &(struct tensor_plan) { "output.weight", ends, dim, VOCABULARY });
	for (unsigned i = 0; i < o->shape->n_layers; i++)
		n += plan_layer(plan + n, o, i);
	return n;
}

static uint64_t tensor_bytes(const struct tensor_plan *t)
{
	return t->n_out * quant_row_bytes(t->type, t->n_in);
}

static void add_header(
	struct buf *b, const struct order *o, const struct tensor_plan *plan, size_t n)
{
	uint64_t offset = 0;

	buf_adds(b, "GGUF");
	add_u32(b, 3);
	add_u64(b, n);
	add_u64(b, N_KEYS);
	add_keys(b, o->shape);
	for (size_t i = 0; i < n; i++) {
		add_string(b, plan[i].name);
		add_u32(b, plan[i].n_out == 1 ? 1 : 2);
		add_u64(b, plan[i].n_in);
		if (plan[i].n_out > 1)
			add_u64(b, plan[i].n_out);
		add_u32(b, (uint32_t)quant_type(plan[i].type)->gguf_id);
		add_u64(b, offset);
		offset += (tensor_bytes(&plan[i]) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
	}
	while (b->n_bytes % ALIGNMENT != 0)
		buf_addc(b, 0);
}

static void fill_random(uint8_t *row, size_t n_bytes, uint64_t *state)
{
	for (size_t i = 0; i < n_bytes; i += 8) {
		*state ^= *state << 13;
		*state ^= *state >> 7;
		*state ^= *state << 17;
		memcpy(row + i, state, n_bytes - i < 8 ? n_bytes - i : 8);
	}
}

static void put_f16(uint8_t at[2], float v)
{
	uint16_t h = f16_of_f32(v);

	memcpy(at, &h, sizeof h);
}

/* Uniform levels deviate by 4.6 (four bits), 18.5 (six) and 74 (eight) of their own steps. */
static void set_scales(uint8_t *block, enum dtype type, float deviation)
{
	if (type == DTYPE_Q4_0) {
		put_f16(((struct block_q4_0 *)block)->d, deviation / 4.6f);
	} else if (type == DTYPE_Q8_0) {
		put_f16(((struct block_q8_0 *)block)->d, deviation / 74);
	} else if (type == DTYPE_Q4_K) {
		struct block_q4_k *k = (struct block_q4_k *)block;
		put_f16(k->d, deviation / (32 * 4.6f));
		put_f16(k->dmin, 7.5f * deviation / (32 * 4.6f));
		memset(k->scales, 0xa0, 8); /* every scale and minimum is 32 */
		memset(k->scales + 8, 0, 4);
	} else if (type == DTYPE_Q6_K) {
		struct block_q6_k *k = (struct block_q6_k *)block;
		put_f16(k->d, deviation / (64 * 18.5f));
		memset(k->scales, 64, sizeof k->scales);
	}
}

static void fill_row(uint8_t *row, const struct tensor_plan *t, float deviation, uint64_t *state)
{
	size_t n_bytes = quant_row_bytes(t->type, t->n_in);

	if (t->type == DTYPE_F32) {
		for (size_t i = 0; i < t->n_in; i++)
			memcpy(row + 4 * i, &(float) { 1 }, 4);
		return;
	}
	fill_random(row, n_bytes, state);
	if (t->type == DTYPE_BF16) /* magnitudes from 2^-7 to 2^-5 */
		for (size_t i = 1; i < n_bytes; i += 2)
			row[i] = (uint8_t)((row[i] & 0x80) | 0x3c);
	for (size_t i = 0; i < n_bytes; i += quant_type(t->type)->block_bytes)
		set_scales(row + i, t->type, deviation);
}

/* Whether the draft knows what follows a token: by a mixed number (splitmix64, Steele et al.,
 * 2014), since with equal steps from token to token a mere product would miss in regular runs. */
static bool is_known(const struct order *o, uint64_t token)
{
	uint64_t z = token * 0x9e3779b97f4a7c15;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return (z ^ (z >> 31)) % 100 < o->percent;
}

/* The number that a row of an end of the chain begins with: the same where both are to point
 * the same way. */
static uint64_t chain_state(const struct order *o, bool is_head, uint64_t token)
{
	const uint64_t from = token + (is_head ? VOCABULARY - STRIDE : 0);
	uint64_t of = from % VOCABULARY + 1;
	if (is_head && !is_known(o, of))
		of += VOCABULARY;
	/* xorshift needs a while to leave the neighbourhood of a small number. */
	return (of * 0xbf58476d1ce4e5b9) ^ 0x94d049bb133111eb;
}

static void write_tensor(
	FILE *file, const struct order *o, const struct tensor_plan *t, uint64_t *state)
{
	static uint8_t row[FFN_MOST * 4];
	bool is_head = strcmp(t->name, "output.weight") == 0;
	bool is_end = o->is_chain && (is_head || strcmp(t->name, "token_embd.weight") == 0);
	size_t n_bytes = quant_row_bytes(t->type, t->n_in);
	size_t n_pad = (ALIGNMENT - tensor_bytes(t) % ALIGNMENT) % ALIGNMENT;

	for (uint64_t i = 0; i < t->n_out; i++) {
		uint64_t own = is_end ? chain_state(o, is_head, i) : 0;
		fill_row(row, t, is_end && !is_head ? LOUD : DEVIATION, is_end ? &own : state);
		fwrite(row, 1, n_bytes, file);
	}
	memset(row, 0, n_pad);
	fwrite(row, 1, n_pad, file);
}

static int write_file(const char *path, const struct order *o)
{
	static struct tensor_plan plan[MOST_TENSORS];
	size_t n = make_plan(plan, o);
	uint64_t state = 0x9e3779b97f4a7c15;
	struct buf header = BUF_INIT;
	FILE *file = fopen(path, "wb");

	if (!file) {
		perror(path);
		return 73;
	}
	add_header(&header, o, plan, n);
	fwrite(header.data, 1, header.n_bytes, file);
	buf_release(&header);
	for (size_t i = 0; i < n; i++)
		write_tensor(file, o, &plan[i], &state);
	bool failed = ferror(file);
	if (fclose(file) != 0 || failed) {
		perror(path);
		remove(path);
		return 73;
	}
	return 0;
}

static bool read_order(struct order *o, int argc, char **argv)
{
	*o = (struct order) { .shape = &whole, .percent = 100 };
	if (argc < 3 || argc > 5)
		return false;
	for (size_t i = 0; i < sizeof recipes / sizeof *recipes; i++)
		if (strcmp(argv[1], recipes[i].name) == 0)
			o->recipe = &recipes[i];
	if (argc == 4 || argc == 5) {
		bool is_draft = argc == 5 && strcmp(argv[3], "draft") == 0;
		if (!is_draft && (argc != 4 || strcmp(argv[3], "chain") != 0))
			return false;
		o->is_chain = true;
		o->shape = is_draft ? &tenth : &whole;
		o->percent = is_draft ? (unsigned)strtoul(argv[4], NULL, 10) : 100;
	}
	return o->recipe && o->percent <= 100;
}

int main(int argc, char **argv)
{
	struct order o;

	if (read_order(&o, argc, argv))
		return write_file(argv[2], &o);
	fputs("usage: bench_gguf Q4_0|Q8_0|Q4_K_M|BF16 FILE [chain | draft PERCENT]\n", stderr);
	return 64;
}
