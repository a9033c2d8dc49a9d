/* bench_kernels.c - every slot on every instruction set: time, rate, ratio to plain C.
 *
 * Figures of a shared machine swing; the ratios within one run are what counts. Each figure is
 * the best of several repetitions of about 10 ms. `bench_kernels [substring]` runs the rows
 * whose name contains it. */
#include "kernels/attention.h"
#include "kernels/gemm.h"
#include "kernels/kernels.h"
#include "kernels/packed.h"
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define REPEATS   5
#define TARGET_NS 1e7
#define DIM       ((size_t)2048)
#define OUTS      ((size_t)8192)
#define MOST_ROWS ((size_t)256)
#define N_CONTEXT ((size_t)2048)

/* Buffers large enough for every row; weights do not fit the last-level cache. */
struct data {
	float *x, *y, *out, *scratch;
	char *w;
	void *codes; /* [MOST_ROWS] rounded activations */
	const void *blocks_k[64], *blocks_v[64];
};

/* What one row of the table runs. `rows` is its size parameter. */
struct task {
	const char *name;
	void (*run)(const struct kernels *k, struct data *d, size_t rows);
	size_t rows;
	double bytes, flops; /* read from memory, and done, in one run; 0 = not of interest */
};

static double now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static struct mul product(struct data *d, size_t n_rows, size_t n_bytes)
{
	return (struct mul) { .x = d->x,
		.n_rows = n_rows,
		.x_stride = DIM,
		.w = d->w,
		.n_in = DIM,
		.w_stride = DIM * n_bytes,
		.o_end = OUTS,
		.out = d->out,
		.out_stride = OUTS };
}

static void run_f32(const struct kernels *k, struct data *d, size_t rows)
{
	struct mul m = product(d, rows, 4);

	k->mul_f32(&m);
}

static void run_f16(const struct kernels *k, struct data *d, size_t rows)
{
	struct mul m = product(d, rows, 2);

	k->mul_f16(&m);
}

static void run_bf16(const struct kernels *k, struct data *d, size_t rows)
{
	struct mul m = product(d, rows, 2);

	k->mul_bf16(&m);
}

/* Packed weights, random activations: the rounding is measured apart. */
static void multiply_packed(
	const struct kernels *k, struct data *d, size_t rows, enum packed_kind kind)
{
	k->packed_mul(&(struct packed_mul) { .kind = kind,
		.w = d->w,
		.n_out = OUTS,
		.n_in = DIM,
		.x = d->codes,
		.n_rows = rows,
		.o_end = OUTS,
		.out = d->out,
		.out_stride = OUTS });
}

static void run_packed_q4_0(const struct kernels *k, struct data *d, size_t rows)
{
	multiply_packed(k, d, rows, PACKED_Q4_0);
}

static void run_packed_q8_0(const struct kernels *k, struct data *d, size_t rows)
{
	multiply_packed(k, d, rows, PACKED_Q8_0);
}

static void run_packed_q4_k(const struct kernels *k, struct data *d, size_t rows)
{
	multiply_packed(k, d, rows, PACKED_Q4_K);
}

static void run_packed_q6_k(const struct kernels *k, struct data *d, size_t rows)
{
	multiply_packed(k, d, rows, PACKED_Q6_K);
}

static void run_packed_round(const struct kernels *k, struct data *d, size_t rows)
{
	k->packed_round(&(struct packed_round) { d->x, rows, DIM, DIM, d->codes });
}

static void run_panel(const struct kernels *k, struct data *d, size_t rows)
{
	struct mul m = product(d, rows, 2);

	gemm_panel(k, DTYPE_BF16, &m, d->scratch);
}

static void run_rmsnorm(const struct kernels *k, struct data *d, size_t rows)
{
	k->rmsnorm(&(struct norm) { d->x, d->out, rows, DIM, DIM, DIM, d->y, NULL, 1e-5f, 0 });
}

static void run_layernorm(const struct kernels *k, struct data *d, size_t rows)
{
	k->layernorm(&(struct norm) { d->x, d->out, rows, DIM, DIM, DIM, d->y, d->y, 1e-5f, 0 });
}

static void run_rope_half(const struct kernels *k, struct data *d, size_t rows)
{
	(void)rows;
	k->rope_half(&(struct rope) { d->out, 32, 64, 64, d->y, d->y });
}

static void run_rope_pairs(const struct kernels *k, struct data *d, size_t rows)
{
	(void)rows;
	k->rope_pairs(&(struct rope) { d->out, 32, 64, 64, d->y, d->y });
}

static void run_silu(const struct kernels *k, struct data *d, size_t rows)
{
	k->silu(d->out, d->x, d->y, rows);
}

static void run_gelu_tanh(const struct kernels *k, struct data *d, size_t rows)
{
	k->gelu_tanh(d->out, d->x, d->y, rows);
}

static void run_gelu_erf(const struct kernels *k, struct data *d, size_t rows)
{
	k->gelu_erf(d->out, d->x, d->y, rows);
}

static void run_add(const struct kernels *k, struct data *d, size_t rows)
{
	k->add(d->out, d->x, d->y, rows);
}

static void run_softcap(const struct kernels *k, struct data *d, size_t rows)
{
	k->softcap(d->out, d->x, 30, rows);
}

static void run_f32_from_bf16(const struct kernels *k, struct data *d, size_t rows)
{
	k->f32_from_bf16(d->out, d->w, rows);
}

static void run_f16_from_f32(const struct kernels *k, struct data *d, size_t rows)
{
	k->f16_from_f32(d->out, d->x, rows);
}

static void run_argmax(const struct kernels *k, struct data *d, size_t rows)
{
	d->out[0] = (float)k->argmax(d->x, rows);
}

static void run_sum_exp(const struct kernels *k, struct data *d, size_t rows)
{
	d->out[0] = k->sum_exp(d->x, 1, rows);
}

static void run_softmax(const struct kernels *k, struct data *d, size_t rows)
{
	memcpy(d->out, d->x, rows * sizeof *d->x);
	k->softmax(d->out, rows);
}

/* One KV head of 64 with a group of four query heads: the last `rows` of the context. */
static void run_attend(const struct kernels *k, struct data *d, size_t rows)
{
	struct attend_row list[MOST_ROWS];

	for (size_t i = 0; i < rows; i++)
		list[i] = (struct attend_row) { d->x + i * 256, d->out + i * 256, 0,
			N_CONTEXT - rows + i + 1 };
	attend(k,
		&(struct attend) { .rows = list,
			.n_rows = rows,
			.n_group = 4,
			.head_dim = 64,
			.k = d->blocks_k,
			.v = d->blocks_v,
			.kv_type = DTYPE_F16,
			.scale = 0.125f },
		d->scratch);
}

#define PRODUCT_BYTES(n) ((double)(DIM * OUTS * (n)))
#define PRODUCT_FLOPS(r) (2.0 * (double)(DIM * OUTS * (r)))
#define ATTEND_BYTES     ((double)(N_CONTEXT * 64 * 4))
#define ATTEND_FLOPS(r)  (4.0 * (double)(N_CONTEXT * 64 * 4 * (r)))
static const struct task tasks[] = {
	{ "mul_f32", run_f32, 1, PRODUCT_BYTES(4), PRODUCT_FLOPS(1) },
	{ "mul_f16", run_f16, 1, PRODUCT_BYTES(2), PRODUCT_FLOPS(1) },
	{ "mul_bf16", run_bf16, 1, PRODUCT_BYTES(2), PRODUCT_FLOPS(1) },
	{ "mul_bf16", run_bf16, 2, PRODUCT_BYTES(2), PRODUCT_FLOPS(2) },
	{ "mul_bf16", run_bf16, 4, PRODUCT_BYTES(2), PRODUCT_FLOPS(4) },
	{ "mul_bf16", run_bf16, 8, PRODUCT_BYTES(2), PRODUCT_FLOPS(8) },
	{ "mul_bf16", run_bf16, 32, 0, PRODUCT_FLOPS(32) },
	{ "mul_bf16", run_bf16, 256, 0, PRODUCT_FLOPS(256) },
	{ "mul_f16", run_f16, 256, 0, PRODUCT_FLOPS(256) },
	{ "mul_f32", run_f32, 256, 0, PRODUCT_FLOPS(256) },
	{ "gemm_panel (OpenBLAS)", run_panel, 32, 0, PRODUCT_FLOPS(32) },
	{ "gemm_panel (OpenBLAS)", run_panel, 256, 0, PRODUCT_FLOPS(256) },
	{ "packed_mul q4_0", run_packed_q4_0, 1, PRODUCT_BYTES(0.5625), PRODUCT_FLOPS(1) },
	{ "packed_mul q4_0", run_packed_q4_0, 2, PRODUCT_BYTES(0.5625), PRODUCT_FLOPS(2) },
	{ "packed_mul q4_0", run_packed_q4_0, 4, PRODUCT_BYTES(0.5625), PRODUCT_FLOPS(4) },
	{ "packed_mul q4_0", run_packed_q4_0, 8, PRODUCT_BYTES(0.5625), PRODUCT_FLOPS(8) },
	{ "packed_mul q4_0", run_packed_q4_0, 16, PRODUCT_BYTES(0.5625), PRODUCT_FLOPS(16) },
	{ "packed_mul q4_0", run_packed_q4_0, 256, 0, PRODUCT_FLOPS(256) },
	{ "packed_mul q8_0", run_packed_q8_0, 1, PRODUCT_BYTES(1.0625), PRODUCT_FLOPS(1) },
	{ "packed_mul q8_0", run_packed_q8_0, 8, PRODUCT_BYTES(1.0625), PRODUCT_FLOPS(8) },
	{ "packed_mul q8_0", run_packed_q8_0, 16, PRODUCT_BYTES(1.0625), PRODUCT_FLOPS(16) },
	{ "packed_mul q8_0", run_packed_q8_0, 256, 0, PRODUCT_FLOPS(256) },
	{ "packed_mul q4_k", run_packed_q4_k, 1, PRODUCT_BYTES(0.578), PRODUCT_FLOPS(1) },
	{ "packed_mul q4_k", run_packed_q4_k, 8, PRODUCT_BYTES(0.578), PRODUCT_FLOPS(8) },
	{ "packed_mul q4_k", run_packed_q4_k, 16, PRODUCT_BYTES(0.578), PRODUCT_FLOPS(16) },
	{ "packed_mul q4_k", run_packed_q4_k, 256, 0, PRODUCT_FLOPS(256) },
	{ "packed_mul q6_k", run_packed_q6_k, 1, PRODUCT_BYTES(0.82), PRODUCT_FLOPS(1) },
	{ "packed_mul q6_k", run_packed_q6_k, 8, PRODUCT_BYTES(0.82), PRODUCT_FLOPS(8) },
	{ "packed_mul q6_k", run_packed_q6_k, 16, PRODUCT_BYTES(0.82), PRODUCT_FLOPS(16) },
	{ "packed_mul q6_k", run_packed_q6_k, 256, 0, PRODUCT_FLOPS(256) },
	{ "packed_round", run_packed_round, PACKED_ROWS, PACKED_ROWS *DIM * 4, 0 },
	{ "rmsnorm", run_rmsnorm, 16, 16.0 * DIM * 4, 0 },
	{ "layernorm", run_layernorm, 16, 16.0 * DIM * 4, 0 },
	{ "rope_half", run_rope_half, 1, DIM * 4.0, 0 },
	{ "rope_pairs", run_rope_pairs, 1, DIM * 4.0, 0 },
	{ "silu", run_silu, 8192, 8192 * 8.0, 0 },
	{ "gelu_tanh", run_gelu_tanh, 8192, 8192 * 8.0, 0 },
	{ "gelu_erf", run_gelu_erf, 8192, 8192 * 8.0, 0 },
	{ "add", run_add, 8192, 8192 * 8.0, 0 },
	{ "softcap", run_softcap, 8192, 8192 * 4.0, 0 },
	{ "f32_from_bf16", run_f32_from_bf16, 8192, 8192 * 2.0, 0 },
	{ "f16_from_f32", run_f16_from_f32, 8192, 8192 * 4.0, 0 },
	{ "argmax", run_argmax, 131072, 131072 * 4.0, 0 },
	{ "sum_exp", run_sum_exp, 131072, 131072 * 4.0, 0 },
	{ "softmax", run_softmax, 131072, 131072 * 4.0, 0 },
	{ "attend", run_attend, 1, ATTEND_BYTES, ATTEND_FLOPS(1) },
	{ "attend", run_attend, 64, 0, ATTEND_FLOPS(64) },
};
#define N_TASKS (sizeof tasks / sizeof *tasks)

/* Best time of one run. */
static double measure(const struct task *t, const struct kernels *k, struct data *d)
{
	double best = 1e18, begin = now_ns();

	t->run(k, d, t->rows); /* also warms up */
	double once = now_ns() - begin;
	int inner = once > TARGET_NS ? 1 : (int)(TARGET_NS / (once + 1)) + 1;
	for (int r = 0; r < REPEATS; r++) {
		begin = now_ns();
		for (int i = 0; i < inner; i++)
			t->run(k, d, t->rows);
		double each = (now_ns() - begin) / inner;
		best = each < best ? each : best;
	}
	return best;
}

static void print_row(const struct task *t, const char *isa, double ns, double plain)
{
	printf("%-22s %6zu  %-8s %14.0f", t->name, t->rows, isa, ns);
	if (t->bytes > 0)
		printf(" %8.1f", t->bytes / ns);
	else
		printf(" %8s", "");
	if (t->flops > 0)
		printf(" %8.1f", t->flops / ns);
	else
		printf(" %8s", "");
	printf(" %8.1fx\n", plain / ns);
	fflush(stdout);
}

static void *filled(size_t n_bytes, unsigned char pattern)
{
	unsigned char *p = aligned_alloc(64, (n_bytes + 63) & ~(size_t)63);

	if (!p) {
		fputs("no memory\n", stderr);
		exit(1);
	}
	memset(p, pattern, n_bytes);
	return p;
}

static void set_up(struct data *d)
{
	size_t n_floats = MOST_ROWS * OUTS;

	d->x = filled(n_floats * 4, 0);
	d->y = filled(n_floats * 4, 0x3e);
	d->out = filled(n_floats * 4, 0);
	d->scratch = filled((gemm_scratch(DIM) + attend_scratch(MOST_ROWS, 4, 64)) * 4, 0);
	d->codes = filled(packed_rows_bytes(MOST_ROWS, DIM), 0);
	d->w = filled(DIM * OUTS * 4, 0x3c); /* 0.01 in f32 and bf16, 1.06 in f16 */
	for (size_t i = 0; i < n_floats; i++)
		d->x[i] = (float)((i * 37) % 101) * 0.01f - 0.5f;
	for (size_t i = 0; i < 64; i++) {
		d->blocks_k[i] = d->w + i * ATTEND_TILE * 64 * 2;
		d->blocks_v[i] = d->w + (64 + i) * ATTEND_TILE * 64 * 2;
	}
}

/* Plain C's time. Its products take as long for each row, so one row stands for all: with
 * 256 it would take minutes. */
static double measure_plain(const struct task *t, struct data *d)
{
	bool by_row = t->flops > 0;
	struct task plain = *t;
	struct kernels k;

	kernels_select(&k, KERNELS_SCALAR);
	if (t->run == run_panel)
		plain.run = run_bf16;
	if (by_row)
		plain.rows = 1;
	return measure(&plain, &k, d) * (by_row ? (double)t->rows : 1);
}

static void run_task(const struct task *t, struct data *d)
{
	static const unsigned masks[] = { KERNELS_AVX2, KERNELS_AVX2 | KERNELS_AVX512,
		KERNELS_AVX2 | KERNELS_AVX512 | KERNELS_VNNI, KERNELS_NEON,
		KERNELS_NEON | KERNELS_DOT };
	double plain = measure_plain(t, d);

	print_row(t, "scalar", plain, plain);
	for (size_t i = 0; i < sizeof masks / sizeof *masks; i++) {
		struct kernels k;
		if (kernels_select(&k, masks[i]) != masks[i])
			continue;
		print_row(t, kernels_name(masks[i]), measure(t, &k, d), plain);
	}
}

int main(int argc, char **argv)
{
	struct data d;

	gemm_init();
	set_up(&d);
	printf("one thread; products %zu x %zu; OpenBLAS kernel: %s\n", OUTS, DIM,
		gemm_core_name());
	printf("%-22s %6s  %-8s %14s %8s %8s %9s\n", "slot", "rows/n", "isa", "ns", "GB/s",
		"GFLOP/s", "vs plain");
	for (size_t i = 0; i < N_TASKS; i++)
		if (argc < 2 || strstr(tasks[i].name, argv[1]))
			run_task(&tasks[i], &d);
	free(d.x);
	free(d.y);
	free(d.out);
	free(d.scratch);
	free(d.w);
	free(d.codes);
	return 0;
}
