/* bench_attention.c - tiled attention against the plain-matrix form through OpenBLAS.
 *
 *     bench_attention [substring of a shape] [--runs N] [--seconds S]
 *
 * Plain form, per query head: S = scale·Q·Kᵀ over all of the context, the causal or sliding
 * mask, softmax of each row, S·V, in float32 with contiguous K and V already widened. Ours reads
 * the paged cache (f16) as a forward pass does. Both on one thread, in turns. A shape is run
 * N (100) times, or as often as fits in S (60) seconds for each side, and at least three times.
 * The error is the largest difference between the two outputs, relative to the largest output. */
#include "kernels/attention.h"
#include "kernels/gemm.h"
#include "kernels/half.h"
#include <cblas.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PIECE_ROWS 32 /* rows of one attend() call, as the backend cuts them */
#define MOST_RUNS  1000

/* The last n_rows positions of n_tokens look at what precedes them. */
struct shape {
	const char *name;
	size_t n_tokens, n_rows, n_heads, n_kv_heads, head_dim, batch;
	size_t window; /* 0 = all */
};

static const struct shape shapes[] = {
	{ "prefill 512", 512, 512, 8, 2, 64, 1, 0 },
	{ "prefill 512 batch 4", 512, 512, 4, 1, 64, 4, 0 },
	{ "prefill 2048", 2048, 2048, 4, 1, 64, 1, 0 },
	{ "prefill 2048 wide heads", 2048, 2048, 2, 1, 128, 1, 0 },
	{ "prefill 4096 window 1024", 4096, 4096, 2, 1, 64, 1, 1024 },
	{ "prefill 8192", 8192, 8192, 2, 1, 64, 1, 0 },
	{ "prefill 16384", 16384, 16384, 1, 1, 64, 1, 0 },
	{ "chunk of 512 at 32768", 32768, 512, 4, 1, 64, 1, 0 },
	{ "decode 2048 batch 8", 2048, 1, 32, 8, 64, 8, 0 },
	{ "decode 8192", 8192, 1, 32, 8, 128, 1, 0 },
	{ "decode 32768", 32768, 1, 32, 8, 64, 1, 0 },
};
#define N_SHAPES (sizeof shapes / sizeof *shapes)

/* Paged K and V as the cache keeps them, and the plain form's own copies. */
struct data {
	const struct shape *s;
	uint16_t *k, *v; /* [batch][n_blocks][n_kv_heads][ATTEND_TILE * head_dim] */
	const void **k_blocks, **v_blocks; /* [batch][n_blocks] */
	size_t n_blocks;
	float *plain_k, *plain_v; /* [batch][n_kv_heads][n_tokens][head_dim] */
	float *q;                 /* [batch][n_rows][n_heads][head_dim] */
	float *out[2];            /* ours, plain; as q */
	float *scores;            /* [n_rows][n_tokens] */
	float *scratch;
	struct kernels kernels;
};

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void *allocate(size_t n, size_t each)
{
	size_t n_bytes = (n * each + 63) / 64 * 64;
	void *p = aligned_alloc(64, n_bytes); /* as the backend's arena */

	if (!p) {
		fputs("no memory\n", stderr);
		exit(1);
	}
	return memset(p, 0, n_bytes);
}

static float random_float(uint64_t *state)
{
	*state = *state * 6364136223846793005u + 1442695040888963407u;
	return (float)(int32_t)(*state >> 32) * 0x1p-30f;
}

/* One (sequence, KV head) of both caches. */
static void fill_head(struct data *d, size_t b, size_t head, uint64_t *state)
{
	const struct shape *s = d->s;

	for (size_t pos = 0; pos < s->n_tokens; pos++) {
		size_t plain = ((b * s->n_kv_heads + head) * s->n_tokens + pos) * s->head_dim;
		size_t block = b * d->n_blocks + pos / ATTEND_TILE;
		size_t tile = (block * s->n_kv_heads + head) * ATTEND_TILE * s->head_dim;
		for (size_t i = plain; i < plain + s->head_dim; i++) {
			d->plain_k[i] = f32_of_f16(f16_of_f32(random_float(state)));
			d->plain_v[i] = f32_of_f16(f16_of_f32(random_float(state)));
		}
		attend_store(&d->kernels,
			&(struct attend_entry) { DTYPE_F16, s->head_dim, pos % ATTEND_TILE,
				d->plain_k + plain, d->plain_v + plain, d->k + tile, d->v + tile });
	}
}

static void set_up(struct data *d, const struct shape *s)
{
	size_t width = s->n_kv_heads * s->head_dim, n_q = s->batch * s->n_rows * s->n_heads;
	uint64_t state = 7;

	*d = (struct data) { .s = s };
	kernels_select(&d->kernels, KERNELS_ALL);
	d->n_blocks = (s->n_tokens + ATTEND_TILE - 1) / ATTEND_TILE;
	size_t n_kv = s->batch * d->n_blocks * ATTEND_TILE * width;
	d->k = allocate(n_kv, sizeof *d->k);
	d->v = allocate(n_kv, sizeof *d->v);
	d->plain_k = allocate(n_kv, sizeof *d->plain_k);
	d->plain_v = allocate(n_kv, sizeof *d->plain_v);
	d->k_blocks = allocate(s->batch * d->n_blocks, sizeof *d->k_blocks);
	d->v_blocks = allocate(s->batch * d->n_blocks, sizeof *d->v_blocks);
	d->q = allocate(n_q * s->head_dim, sizeof *d->q);
	d->out[0] = allocate(n_q * s->head_dim, sizeof **d->out);
	d->out[1] = allocate(n_q * s->head_dim, sizeof **d->out);
	d->scores = allocate(s->n_rows * s->n_tokens, sizeof *d->scores);
	d->scratch = allocate(
		attend_scratch(PIECE_ROWS, s->n_heads / s->n_kv_heads, s->head_dim), sizeof(float));
	for (size_t i = 0; i < s->batch * d->n_blocks; i++) {
		d->k_blocks[i] = d->k + i * ATTEND_TILE * width;
		d->v_blocks[i] = d->v + i * ATTEND_TILE * width;
	}
	for (size_t b = 0; b < s->batch; b++)
		for (size_t head = 0; head < s->n_kv_heads; head++)
			fill_head(d, b, head, &state);
	for (size_t i = 0; i < n_q * s->head_dim; i++)
		d->q[i] = random_float(&state);
}

static void tear_down(struct data *d)
{
	free(d->k);
	free(d->v);
	free(d->plain_k);
	free(d->plain_v);
	free(d->k_blocks);
	free(d->v_blocks);
	free(d->q);
	free(d->out[0]);
	free(d->out[1]);
	free(d->scores);
	free(d->scratch);
}

/* First position that row i sees, and one past its last. */
static void seen_by(const struct shape *s, size_t i, size_t *begin, size_t *end)
{
	*end = s->n_tokens - s->n_rows + i + 1;
	*begin = s->window > 0 && *end > s->window ? *end - s->window : 0;
}

/* One piece of rows of one sequence and KV head. */
static void tiled_piece(struct data *d, size_t b, size_t head, size_t from)
{
	const struct shape *s = d->s;
	struct attend_row rows[PIECE_ROWS];
	size_t n_group = s->n_heads / s->n_kv_heads;
	struct attend a = { .rows = rows,
		.n_group = n_group,
		.head_dim = s->head_dim,
		.k = d->k_blocks + b * d->n_blocks,
		.v = d->v_blocks + b * d->n_blocks,
		.kv_type = DTYPE_F16,
		.kv_offset = head * attend_tile_bytes(DTYPE_F16, s->head_dim),
		.scale = 1 / sqrtf((float)s->head_dim) };

	for (size_t i = from; i < s->n_rows && a.n_rows < PIECE_ROWS; i++) {
		size_t at = ((b * s->n_rows + i) * s->n_heads + head * n_group) * s->head_dim;
		struct attend_row *r = &rows[a.n_rows++];
		*r = (struct attend_row) { .q = d->q + at, .out = d->out[0] + at };
		seen_by(s, i, &r->begin, &r->end);
	}
	attend(&d->kernels, &a, d->scratch);
}

static void tiled(struct data *d)
{
	for (size_t b = 0; b < d->s->batch; b++)
		for (size_t head = 0; head < d->s->n_kv_heads; head++)
			for (size_t i = 0; i < d->s->n_rows; i += PIECE_ROWS)
				tiled_piece(d, b, head, i);
}

static void plain_softmax(struct data *d)
{
	const struct shape *s = d->s;

	for (size_t i = 0; i < s->n_rows; i++) {
		float *row = d->scores + i * s->n_tokens;
		size_t begin, end;
		seen_by(s, i, &begin, &end);
		memset(row, 0, begin * sizeof *row);
		d->kernels.softmax(row + begin, end - begin);
		memset(row + end, 0, (s->n_tokens - end) * sizeof *row);
	}
}

static void plain_head(struct data *d, size_t b, size_t head)
{
	const struct shape *s = d->s;
	size_t kv = (b * s->n_kv_heads + head / (s->n_heads / s->n_kv_heads)) * s->n_tokens;
	size_t at = (b * s->n_rows * s->n_heads + head) * s->head_dim;
	int n_rows = (int)s->n_rows, n = (int)s->n_tokens, dim = (int)s->head_dim;
	int q_stride = (int)(s->n_heads * s->head_dim);

	cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, n_rows, n, dim,
		1 / sqrtf((float)s->head_dim), d->q + at, q_stride, d->plain_k + kv * s->head_dim,
		dim, 0, d->scores, n);
	plain_softmax(d);
	cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, n_rows, dim, n, 1, d->scores, n,
		d->plain_v + kv * s->head_dim, dim, 0, d->out[1] + at, q_stride);
}

static void plain(struct data *d)
{
	for (size_t b = 0; b < d->s->batch; b++)
		for (size_t head = 0; head < d->s->n_heads; head++)
			plain_head(d, b, head);
}

static double timed(void (*run)(struct data *), struct data *d)
{
	double began = now();

	run(d);
	return now() - began;
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double percentile(const double *sorted, size_t n, double q)
{
	size_t i = (size_t)(q * (double)n);

	return sorted[i < n ? i : n - 1];
}

static double error(const struct data *d)
{
	size_t n = d->s->batch * d->s->n_rows * d->s->n_heads * d->s->head_dim;
	double most = 0, largest = 0;

	for (size_t i = 0; i < n; i++) {
		most = fmax(most, fabs((double)d->out[0][i] - (double)d->out[1][i]));
		largest = fmax(largest, fabs((double)d->out[1][i]));
	}
	return most / largest;
}

static void measure(const struct shape *s, size_t n_runs, double seconds)
{
	static double times[2][MOST_RUNS];
	double spent = 0;
	size_t n = 0;
	struct data d;

	set_up(&d, s);
	timed(tiled, &d); /* also warms up */
	timed(plain, &d);
	for (; n < n_runs && (n < 3 || spent < 2 * seconds); n++) {
		times[0][n] = timed(tiled, &d);
		times[1][n] = timed(plain, &d);
		spent += times[0][n] + times[1][n];
	}
	qsort(times[0], n, sizeof **times, by_size);
	qsort(times[1], n, sizeof **times, by_size);
	printf("| %s | %zu/%zu × %zu | %zu |", s->name, s->n_heads, s->n_kv_heads, s->head_dim, n);
	for (int side = 0; side < 2; side++)
		for (int i = 0; i < 3; i++)
			printf(" %.3f |", 1e3 * percentile(times[side], n,
							(double[]) { 0.5, 0.95, 0.99 }[i]));
	printf(" %.2f | %.1e |\n", percentile(times[1], n, 0.5) / percentile(times[0], n, 0.5),
		error(&d));
	fflush(stdout);
	tear_down(&d);
}

int main(int argc, char **argv)
{
	const char *only = "";
	size_t n_runs = 100;
	double seconds = 60;

	for (int i = 1; i < argc; i++)
		if (strcmp(argv[i], "--runs") == 0 && i + 1 < argc)
			n_runs = strtoul(argv[++i], NULL, 10);
		else if (strcmp(argv[i], "--seconds") == 0 && i + 1 < argc)
			seconds = strtod(argv[++i], NULL);
		else
			only = argv[i];
	n_runs = n_runs < 3 ? 3 : n_runs > MOST_RUNS ? MOST_RUNS : n_runs;
	gemm_init();
	printf("one thread; OpenBLAS kernel: %s; milliseconds\n\n", gemm_core_name());
	puts("| shape | heads | runs | tiled p50 | p95 | p99 | plain p50 | p95 | p99 | ratio | "
	     "error |\n"
	     "|---|---|---|---|---|---|---|---|---|---|---|");
	for (size_t i = 0; i < N_SHAPES; i++)
		if (strstr(shapes[i].name, only))
			measure(&shapes[i], n_runs, seconds);
	return 0;
}
