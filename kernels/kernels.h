/* kernels.h - the slot table: every operation that is worth an instruction set.
 *
 * kernels_select() fills a struct of function pointers with plain C (ref.c), which defines
 * what is correct, and then lets each instruction set the CPU has replace what it does
 * better. The caller owns the struct; after selection it is read-only and may be shared by
 * threads. Kernels neither allocate nor lock, and check nothing beyond asserts.
 *
 * The lane rule. Every sum over n elements is taken in 16 lanes: element i goes to lane
 * i % 16 by one fused multiply-add in rising i, the last step padded with zeros, and then
 * lane j += lane j+8, += j+4, += j+2, += j+1. This order is a function of n alone: never of
 * how many rows are multiplied together, which outputs a call covers, the instruction set
 * or the thread. So a row's bits do not depend on its company, and plain C, AVX2, AVX-512
 * and NEON agree bit for bit wherever the table says tolerance 0.
 *
 * Pointers need no alignment; `const void *` operands may have any byte address. No kernel
 * touches a byte outside the elements it is told about. n may be 0. An `out` may be the
 * same pointer as an input of the same shape, but not overlap it otherwise. */
#ifndef KERNELS_KERNELS_H
#define KERNELS_KERNELS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* out[r][o] = sum over i of x[r][i] * w[o][i], by the lane rule, for every row r and for o in
 * [o_begin, o_end). Any n_rows: 1 is decode and bound by memory, many is prefill and bound
 * by arithmetic; the bits are the same. out may not overlap x. */
struct mul {
	const float *x; /* [n_rows][n_in], rows x_stride floats apart */
	size_t n_rows, x_stride;
	const void *w; /* [n_out][n_in] row-major, of the slot's type, rows w_stride bytes apart */
	size_t n_in, w_stride;
	size_t o_begin, o_end;
	float *out; /* out[r * out_stride + o]: o is absolute, so chunks of outputs share one out */
	size_t out_stride;
};

/* The same of bf16 with bf16, pair by pair. Lane j takes elements 2j+1 and then 2j of each 32 by
 * one fused multiply-add each, the last step padded with zeros; subnormal numbers count as zeros
 * of their sign, going in and coming out, as AVX512-BF16 has it. Lanes are added as above. */
struct mul_pairs {
	const void *x; /* bf16 tiles of rows (pairs.h) */
	size_t n_rows;
	const void *w; /* bf16 [n_out][n_in], rows w_stride bytes apart */
	size_t n_in, w_stride;
	size_t o_begin, o_end;
	float *out; /* as in struct mul */
	size_t out_stride;
};

/* rmsnorm: out = x * (1 / sqrt(mean(x²) + eps)) * (weight + offset); offset is 1 for Gemma.
 * layernorm: out = (x - mean) * (1 / sqrt(var + eps)) * (weight + offset) + bias.
 * weight and bias are f32 [n]; NULL means weight 1 (offset unused), bias 0. */
struct norm {
	const float *x; /* [n_rows][n], rows x_stride apart */
	float *out;     /* [n_rows][n], rows out_stride apart; may be x */
	size_t n_rows, n, x_stride, out_stride;
	const float *weight, *bias;
	float eps, offset;
};

/* Rotate the first n_rot (even) elements of each head of one row, in place. With h =
 * n_rot / 2 and i < h, the pair is (x[i], x[i+h]) in rope_half (Hugging Face, NeoX) and
 * (x[2i], x[2i+1]) in rope_pairs (GPT-J, GGUF Llama): a' = a·cos[i] - b·sin[i],
 * b' = b·cos[i] + a·sin[i], each product rounded. Scaling such as YaRN's is in the tables. */
struct rope {
	float *x; /* [n_heads][head_dim], heads head_stride floats apart */
	size_t n_heads, head_stride, n_rot;
	const float *cos, *sin; /* [n_rot / 2], this row's position */
};

struct attend_tile; /* attention.h */
struct packed_mul;  /* packed.h */
struct packed_round;

/* X(name, return type, parameters, tolerance, reason)
 * tolerance: largest difference from plain C on any path, relative to the largest term. */
#define KERNEL_SLOTS(X)                                                                          \
	/* products; see struct mul */                                                           \
	X(mul_f32, void, (const struct mul *m), 0, "lane rule")                                  \
	X(mul_f16, void, (const struct mul *m), 0, "lane rule, exact widening")                  \
	X(mul_bf16, void, (const struct mul *m), 0, "lane rule, exact widening")                 \
	X(mul_pairs, void, (const struct mul_pairs *m), 0, "lane rule of pairs")                 \
	/* products of quantized weights with activations rounded to int8; see packed.h */       \
	X(packed_round, void, (const struct packed_round *a), 0, "one rounding")                 \
	X(packed_mul, void, (const struct packed_mul *m), 0, "exact integers, block by block")   \
	/* rows */                                                                               \
	X(rmsnorm, void, (const struct norm *a), 0, "lane rule")                                 \
	X(layernorm, void, (const struct norm *a), 0, "lane rule")                               \
	X(rope_half, void, (const struct rope *a), 0, "one rounding per product and sum")        \
	X(rope_pairs, void, (const struct rope *a), 0, "one rounding per product and sum")       \
	/* elements. act: out[i] = act(gate[i]) * up[i]; up NULL: out[i] = act(gate[i]) */       \
	X(silu, void, (float *out, const float *gate, const float *up, size_t n), 0,             \
		"one exp polynomial everywhere")                                                 \
	X(gelu_tanh, void, (float *out, const float *gate, const float *up, size_t n), 0,        \
		"one exp polynomial everywhere")                                                 \
	X(gelu_erf, void, (float *out, const float *gate, const float *up, size_t n), 0,         \
		"one exp polynomial everywhere")                                                 \
	X(add, void, (float *out, const float *a, const float *b, size_t n), 0, "one rounding")  \
	/* out = fma(s, b, a): residual multipliers, experts weighted by their router */         \
	X(add_scaled, void, (float *out, const float *a, const float *b, float s, size_t n), 0,  \
		"one rounding")                                                                  \
	X(scale, void, (float *out, const float *x, float s, size_t n), 0, "one rounding")       \
	/* out = cap * tanh(x / cap) */                                                          \
	X(softcap, void, (float *out, const float *x, float cap, size_t n), 0,                   \
		"one exp polynomial everywhere")                                                 \
	X(exp, void, (float *out, const float *x, size_t n), 0, "one exp polynomial everywhere") \
	/* conversions: to narrow types round to nearest even, NaN stays NaN */                  \
	X(f32_from_f16, void, (float *out, const void *in, size_t n), 0, "exact")                \
	X(f32_from_bf16, void, (float *out, const void *in, size_t n), 0, "exact")               \
	X(f32_from_int8, void, (float *out, const void *in, size_t n), 0, "exact")               \
	X(f16_from_f32, void, (void *out, const float *in, size_t n), 0, "one rounding")         \
	X(bf16_from_f32, void, (void *out, const float *in, size_t n), 0, "one rounding")        \
	/* reductions. max of nothing is -inf; NaN is ignored by max and argmax */               \
	X(max, float, (const float *x, size_t n), 0, "order-free")                               \
	X(argmax, size_t, (const float *x, size_t n), 0, "lowest index of the largest value")    \
	/* sum of exp(x[i] - shift), by the lane rule (no product: plain additions) */           \
	X(sum_exp, float, (const float *x, float shift, size_t n), 0, "lane rule")               \
	/* softmax in place of a whole row: exp(x - max) / sum */                                \
	X(softmax, void, (float *x, size_t n), 0, "lane rule")                                   \
	/* one tile of attention for queries that share a KV head; see attention.h */            \
	X(attend_scores, void, (const struct attend_tile *t), 0, "rising element")               \
	X(attend_weights, void, (const struct attend_tile *t), 0, "lane rule")                   \
	X(attend_values, void, (const struct attend_tile *t), 0, "rising position")

struct kernels {
#define X(name, ret, params, tolerance, reason) ret(*name) params;
	KERNEL_SLOTS(X)
#undef X
};

/* The instruction sets that have kernels; a mask is a set of them. Plain C is always there. */
enum kernels_isa {
	KERNELS_SCALAR = 0,
	KERNELS_AVX2 = 1 << 0,   /* AVX2, FMA, F16C */
	KERNELS_AVX512 = 1 << 1, /* F, BW, VL, DQ; never without AVX2 */
	KERNELS_NEON = 1 << 2,   /* AArch64 */
	KERNELS_VNNI = 1 << 3,   /* AVX-512 VNNI; never without AVX512 */
	KERNELS_BF16 = 1 << 4,   /* AVX512-BF16; never without AVX512 */
	KERNELS_DOT = 1 << 5,    /* NEON's dot product; never without NEON */
	KERNELS_ALL = (1 << 6) - 1,
};

/* Fill *k with the best of what this CPU has and `mask` allows; returns the set used. */
unsigned kernels_select(struct kernels *k, unsigned mask);

/* The value of KERNELS_MASK: comma-separated names of what may be used ("scalar", "avx2",
 * "avx512", "vnni", "bf16", "neon", "dotprod"). NULL or empty allows all. False for a name we do
 * not know: the caller says so and stops, since a silent fall-back would test the wrong path. */
bool kernels_parse_mask(const char *names, unsigned *mask);

/* Short name of the best set in `used`, for logs and runtime/info: "avx512" … "scalar". */
const char *kernels_name(unsigned used);
#endif
