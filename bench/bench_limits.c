/* bench_limits.c - what this machine can do, and which part of it each kernel uses.
 *
 *     bench_limits [threads]        default: 1 and all
 *
 * Limits are the best of several short runs: reading a buffer that fits no cache, and chains of
 * multiply-adds in registers. Kernels run on one thread, on matrices that fit no
 * cache (1 to 16 rows) or do (256 rows), and each is set against the limit that binds it. */
#include "kernels/attention.h"
#include "kernels/kernels.h"
#include "kernels/packed.h"
#include "kernels/pairs.h"
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define BUFFER    ((size_t)512 << 20)
#define N_IN      ((size_t)2048)
#define MOST_ROWS ((size_t)256)
#define MOST      64 /* threads */
#define REPEATS   7

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

enum limit { LIMIT_READ, LIMIT_F32, LIMIT_BF16, LIMIT_INT8, N_LIMITS };

static const char *const limit_names[N_LIMITS] = { "read, GB/s", "f32, GFLOP/s", "bf16, GFLOP/s",
	"int8, GOP/s" };

#ifdef __x86_64__
#include <immintrin.h>
#define CHAINS 12 /* enough to hide the latency of any multiply-add */
#define ROUNDS 1000000
/* Variables and not an array: compilers leave an array that asm touches in memory. */
#define EACH_CHAIN(X) X(a) X(b) X(c) X(d) X(e) X(f) X(g) X(h) X(i) X(j) X(k) X(l)
#define KEEP(v)       __asm__ volatile("" : "+v"(v))

/* Each does ROUNDS · CHAINS operations of 16 lanes in registers, and returns how many
 * multiplications and additions one lane of one operation is. */
__attribute__((target("avx512f"))) static double chains_f32(void)
{
	__m512 x = _mm512_set1_ps(0.5f), y = _mm512_set1_ps(1);

#define BEGIN(v) __m512 v = x;
#define STEP(v)                       \
	v = _mm512_fmadd_ps(v, x, y); \
	KEEP(v);
	EACH_CHAIN(BEGIN)
	for (int round = 0; round < ROUNDS; round++) {
		EACH_CHAIN(STEP)
	}
#undef BEGIN
#undef STEP
	return 2;
}

__attribute__((target("avx512f,avx512bf16"))) static double chains_bf16(void)
{
	__m512bh x = _mm512_cvtne2ps_pbh(_mm512_set1_ps(0.5f), _mm512_set1_ps(0.5f));

#define BEGIN(v) __m512 v = _mm512_set1_ps(0);
#define STEP(v)                        \
	v = _mm512_dpbf16_ps(v, x, x); \
	KEEP(v);
	EACH_CHAIN(BEGIN)
	for (int round = 0; round < ROUNDS; round++) {
		EACH_CHAIN(STEP)
	}
#undef BEGIN
#undef STEP
	return 4;
}

__attribute__((target("avx512f,avx512vnni"))) static double chains_int8(void)
{
	__m512i x = _mm512_set1_epi8(3);

#define BEGIN(v) __m512i v = x;
#define STEP(v)                           \
	v = _mm512_dpbusd_epi32(v, x, x); \
	KEEP(v);
	EACH_CHAIN(BEGIN)
	for (int round = 0; round < ROUNDS; round++) {
		EACH_CHAIN(STEP)
	}
#undef BEGIN
#undef STEP
	return 8;
}

static bool has(enum limit what)
{
	switch (what) {
	case LIMIT_F32: return __builtin_cpu_supports("avx512f");
	case LIMIT_BF16: return __builtin_cpu_supports("avx512bf16");
	case LIMIT_INT8: return __builtin_cpu_supports("avx512vnni");
	case LIMIT_READ:
	case N_LIMITS: return true;
	}
	return false;
}

static double arithmetic(enum limit what)
{
	double began = now();
	double each = what == LIMIT_F32    ? chains_f32()
		      : what == LIMIT_BF16 ? chains_bf16()
					   : chains_int8();

	return each * 16 * ROUNDS * CHAINS / (now() - began) * 1e-9;
}
#else
static bool has(enum limit what)
{
	return what == LIMIT_READ;
}

static double arithmetic(enum limit what)
{
	(void)what;
	return 0;
}
#endif

/* Asked for this far ahead. One stretch is read, or four neighbouring ones at once, in turns:
 * which of them memory likes better differs with what else it does. */
#define AHEAD        4096
#define STREAMS(run) ((run) % 2 ? 1 : 4)

#ifdef __x86_64__
__attribute__((target("avx512f"))) static void read_wide(
	const char *at, size_t n_bytes, size_t n_streams)
{
	size_t part = n_bytes / n_streams / 64 * 64;
	__m512i sum = _mm512_setzero_si512();

	for (size_t i = 0; i < part; i += 64)
		for (size_t s = 0; s < n_streams; s++) {
			const char *line = at + s * part + i;
			__builtin_prefetch(line + AHEAD);
			sum = _mm512_xor_si512(sum, _mm512_loadu_si512(line));
		}
	KEEP(sum);
}
#endif

static void read_plain(const char *at, size_t n_bytes)
{
	uint64_t sum[8] = { 0 };

	for (size_t i = 0; i < n_bytes; i += 64) {
		uint64_t line[8];
		__builtin_prefetch(at + i + AHEAD);
		memcpy(line, at + i, sizeof line);
		for (int j = 0; j < 8; j++)
			sum[j] ^= line[j];
	}
	for (int j = 0; j < 8; j++)
		__asm__ volatile("" : : "r"(sum[j]));
}

static double reading(const char *at, size_t n_bytes, size_t n_streams)
{
	double began = now();

	(void)n_streams; /* the plain one is one stretch */
#ifdef __x86_64__
	if (has(LIMIT_F32))
		read_wide(at, n_bytes, n_streams);
	else
#endif
		read_plain(at, n_bytes);
	return (double)n_bytes / (now() - began) * 1e-9;
}

struct limit_job {
	enum limit what;
	const char *at;
	size_t n_bytes, n_streams;
	pthread_barrier_t *start;
	double best_together; /* of this thread, while all run */
};

static void *limit_thread(void *arg)
{
	struct limit_job *j = arg;

	pthread_barrier_wait(j->start);
	j->best_together = j->what == LIMIT_READ ? reading(j->at, j->n_bytes, j->n_streams)
						 : arithmetic(j->what);
	return NULL;
}

/* The sum over threads of run number `run`; all begin at once and take about as long. */
static double limit_once(enum limit what, size_t n_threads, const char *buffer, int run)
{
	pthread_t threads[MOST];
	struct limit_job jobs[MOST];
	pthread_barrier_t start;
	size_t part = BUFFER / n_threads / 64 * 64;
	double sum = 0;

	pthread_barrier_init(&start, NULL, (unsigned)n_threads);
	for (size_t i = 0; i < n_threads; i++) {
		jobs[i] = (struct limit_job) { what, buffer + i * part, part, STREAMS(run), &start,
			0 };
		if (pthread_create(&threads[i], NULL, limit_thread, &jobs[i]) != 0) {
			fputs("cannot start a thread\n", stderr);
			exit(71);
		}
	}
	for (size_t i = 0; i < n_threads; i++) {
		pthread_join(threads[i], NULL);
		sum += jobs[i].best_together;
	}
	pthread_barrier_destroy(&start);
	return sum;
}

static void print_limits(size_t n_threads, const char *buffer, double limits[N_LIMITS])
{
	for (enum limit what = 0; what < N_LIMITS; what++) {
		limits[what] = 0;
		if (!has(what))
			continue;
		for (int r = 0; r < REPEATS; r++) {
			double one = limit_once(what, n_threads, buffer, r);
			limits[what] = one > limits[what] ? one : limits[what];
		}
		printf("| %zu | %s | %.1f |\n", n_threads, limit_names[what], limits[what]);
	}
}

struct data {
	struct kernels k;
	char *w; /* BUFFER bytes, 64-byte aligned */
	float *x, *out, *scratch;
	void *codes; /* x rounded to int8, or to bf16 */
};

struct task {
	const char *name;
	void (*run)(struct data *d, const struct task *t);
	size_t rows, n_out;
	enum limit bound;
	double bytes_per_weight;
	enum packed_kind kind;
	enum dtype kv_type;
};

static void run_mul(struct data *d, const struct task *t)
{
	struct mul m = { .x = d->x,
		.n_rows = t->rows,
		.x_stride = N_IN,
		.w = d->w,
		.n_in = N_IN,
		.w_stride = (size_t)((double)N_IN * t->bytes_per_weight),
		.o_end = t->n_out,
		.out = d->out,
		.out_stride = t->n_out };

	if (t->bytes_per_weight > 2)
		d->k.mul_f32(&m);
	else
		d->k.mul_bf16(&m);
}

static void run_pairs(struct data *d, const struct task *t)
{
	d->k.mul_pairs(&(struct mul_pairs) { .x = d->codes,
		.n_rows = t->rows,
		.w = d->w,
		.n_in = N_IN,
		.w_stride = 2 * N_IN,
		.o_end = t->n_out,
		.out = d->out,
		.out_stride = t->n_out });
}

static void run_packed(struct data *d, const struct task *t)
{
	d->k.packed_mul(&(struct packed_mul) { .kind = t->kind,
		.w = d->w,
		.n_out = t->n_out,
		.n_in = N_IN,
		.x = d->codes,
		.n_rows = t->rows,
		.o_end = t->n_out,
		.out = d->out,
		.out_stride = t->n_out });
}

/* `rows` positions at the end of n_out, one KV head of 64, four query heads. */
static void run_attend(struct data *d, const struct task *t)
{
	static const void *blocks[2][65536 / ATTEND_TILE];
	struct attend_row rows[32];
	struct attend a = { rows, t->rows, 4, 64, blocks[0], blocks[1], t->kv_type, 0, 0.125f, 0,
		NULL };

	for (size_t i = 0; i < t->n_out / ATTEND_TILE; i++)
		for (size_t j = 0; j < 2; j++)
			blocks[j][i] = d->w + (2 * i + j) * attend_tile_bytes(t->kv_type, 64);
	for (size_t i = 0; i < t->rows; i++)
		rows[i] = (struct attend_row) { d->x + i * 256, d->out + i * 256, 0,
			t->n_out - t->rows + i + 1 };
	attend(&d->k, &a, d->scratch);
}

static const struct task tasks[] = {
	{ "mul_f32", run_mul, 1, 32768, LIMIT_READ, 4, PACKED_NONE, DTYPE_F32 },
	{ "mul_bf16", run_mul, 1, 65536, LIMIT_READ, 2, PACKED_NONE, DTYPE_F32 },
	{ "mul_bf16", run_mul, 8, 65536, LIMIT_READ, 2, PACKED_NONE, DTYPE_F32 },
	{ "mul_bf16", run_mul, 256, 2048, LIMIT_F32, 2, PACKED_NONE, DTYPE_F32 },
	{ "mul_f32", run_mul, 256, 2048, LIMIT_F32, 4, PACKED_NONE, DTYPE_F32 },
	{ "mul_pairs", run_pairs, 1, 65536, LIMIT_READ, 2, PACKED_NONE, DTYPE_F32 },
	{ "mul_pairs", run_pairs, 8, 65536, LIMIT_READ, 2, PACKED_NONE, DTYPE_F32 },
	{ "mul_pairs", run_pairs, 256, 2048, LIMIT_BF16, 2, PACKED_NONE, DTYPE_F32 },
	{ "packed_mul Q4_0", run_packed, 1, 131072, LIMIT_READ, 0, PACKED_Q4_0, DTYPE_F32 },
	{ "packed_mul Q8_0", run_packed, 1, 131072, LIMIT_READ, 0, PACKED_Q8_0, DTYPE_F32 },
	{ "packed_mul Q4_K", run_packed, 1, 131072, LIMIT_READ, 0, PACKED_Q4_K, DTYPE_F32 },
	{ "packed_mul Q6_K", run_packed, 1, 131072, LIMIT_READ, 0, PACKED_Q6_K, DTYPE_F32 },
	{ "packed_mul Q4_0", run_packed, 8, 131072, LIMIT_READ, 0, PACKED_Q4_0, DTYPE_F32 },
	{ "packed_mul Q4_0", run_packed, 256, 2048, LIMIT_INT8, 0, PACKED_Q4_0, DTYPE_F32 },
	{ "packed_mul Q8_0", run_packed, 256, 2048, LIMIT_INT8, 0, PACKED_Q8_0, DTYPE_F32 },
	{ "packed_mul Q4_K", run_packed, 256, 2048, LIMIT_INT8, 0, PACKED_Q4_K, DTYPE_F32 },
	{ "packed_mul Q6_K", run_packed, 256, 2048, LIMIT_INT8, 0, PACKED_Q6_K, DTYPE_F32 },
	{ "attend, f16", run_attend, 1, 65536, LIMIT_READ, 0, PACKED_NONE, DTYPE_F16 },
	{ "attend, int8", run_attend, 1, 65536, LIMIT_READ, 0, PACKED_NONE, DTYPE_INT8 },
	{ "attend, f16", run_attend, 32, 4096, LIMIT_F32, 0, PACKED_NONE, DTYPE_F16 },
};

/* Giga-somethings of one run: bytes read, or multiplications and additions. */
static double work(const struct task *t)
{
	double n = (double)t->n_out;

	if (t->run == run_attend)
		return (t->bound == LIMIT_READ ? n / ATTEND_TILE * 2 *
							 (double)attend_tile_bytes(t->kv_type, 64)
					       : n * 64 * 4 * 4 * (double)t->rows) *
		       1e-9;
	if (t->bound != LIMIT_READ)
		return 2 * n * (double)N_IN * (double)t->rows * 1e-9;
	if (t->run == run_packed)
		return (double)packed_bytes(t->kind, t->n_out, N_IN) * 1e-9;
	return n * (double)N_IN * t->bytes_per_weight * 1e-9;
}

static void prepare(struct data *d, const struct task *t)
{
	for (size_t i = 0; t->run == run_pairs && i < packed_tiles(t->rows); i++) {
		size_t r = packed_tile_row(t->rows, i);
		pairs_round(&d->k, &(struct pairs_round) { d->x + r * N_IN,
					   packed_tile_row(t->rows, i + 1) - r, N_IN, N_IN,
					   (char *)d->codes + pairs_rows_bytes(r, N_IN) });
	}
	for (size_t i = 0; t->run == run_packed && i < packed_tiles(t->rows); i++) {
		size_t r = packed_tile_row(t->rows, i);
		d->k.packed_round(&(struct packed_round) { d->x + r * N_IN,
			packed_tile_row(t->rows, i + 1) - r, N_IN, N_IN,
			(char *)d->codes + packed_rows_bytes(r, N_IN) });
	}
}

/* The limit is taken again beside each run, so that a busy moment meets both. */
static void print_task(struct data *d, const struct task *t, double limits[N_LIMITS])
{
	double best = 0, *limit = &limits[t->bound];

	prepare(d, t);
	t->run(d, t);
	for (int r = 0; r < REPEATS; r++) {
		double peak = has(t->bound) ? limit_once(t->bound, 1, d->w, r) : 0, began = now();
		t->run(d, t);
		double rate = work(t) / (now() - began);
		best = rate > best ? rate : best;
		*limit = peak > *limit ? peak : *limit;
	}
	printf("| %s | %zu | %s | %.1f | %.1f |", t->name, t->rows, limit_names[t->bound], best,
		*limit);
	if (*limit > 0)
		printf(" %.0f %% |\n", 100 * best / *limit);
	else
		printf(" – |\n");
	fflush(stdout);
}

static void *allocate(size_t n_bytes)
{
	void *p = aligned_alloc((size_t)2 << 20, (n_bytes + ((size_t)2 << 20) - 1) >> 21 << 21);

	if (!p) {
		fputs("no memory\n", stderr);
		exit(71);
	}
	madvise(p, n_bytes, MADV_HUGEPAGE); /* as the loader does for packed weights, if it can */
	return p;
}

static void set_up(struct data *d)
{
	d->w = allocate(BUFFER);
	memset(d->w, 0x3c, BUFFER); /* small numbers in every type */
	d->x = allocate(MOST_ROWS * N_IN * sizeof *d->x);
	for (size_t i = 0; i < MOST_ROWS * N_IN; i++)
		d->x[i] = (float)((i * 37) % 101) * 0.01f - 0.5f;
	d->out = allocate((size_t)8 * 131072 * sizeof *d->out);
	d->codes = allocate(MOST_ROWS * N_IN * sizeof(uint16_t));
	d->scratch = allocate(attend_scratch(32, 4, 64) * sizeof *d->scratch);
}

int main(int argc, char **argv)
{
	double all[N_LIMITS], one[N_LIMITS];
	long n = argc > 1 ? strtol(argv[1], NULL, 10) : sysconf(_SC_NPROCESSORS_ONLN);
	size_t n_threads = n < 1 ? 1 : n > MOST ? MOST : (size_t)n;
	struct data d;

	kernels_select(&d.k, KERNELS_ALL);
	set_up(&d);
	puts("| threads | limit | |\n|---|---|---|");
	if (n_threads > 1)
		print_limits(n_threads, d.w, all);
	print_limits(1, d.w, one);
	puts("\n| kernel, one thread | rows | bound by | reached | of the limit "
	     "|\n|---|---|---|---|---|");
	for (size_t i = 0; i < sizeof tasks / sizeof *tasks; i++)
		print_task(&d, &tasks[i], one);
	free(d.w);
	free(d.x);
	free(d.out);
	free(d.codes);
	free(d.scratch);
	return 0;
}
