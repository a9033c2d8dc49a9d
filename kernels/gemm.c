/* gemm.c - prefill products through OpenBLAS, in calls of one fixed shape. */
#include "kernels/gemm.h"
#include <assert.h>
#include <cblas.h>
#include <stdint.h>
#include <string.h>

/* Where the parts of the caller's scratch begin, in floats. */
struct layout {
	float *w;      /* [GEMM_OUTS][n_in] a widened block */
	float *x;      /* [GEMM_ROWS][n_in] the last, padded panel */
	float *out[2]; /* [GEMM_ROWS][GEMM_OUTS] */
};

static struct layout layout_of(float *scratch, size_t n_in)
{
	struct layout l;

	l.w = scratch;
	l.x = l.w + GEMM_OUTS * n_in;
	l.out[0] = l.x + GEMM_ROWS * n_in;
	l.out[1] = l.out[0] + (size_t)GEMM_ROWS * GEMM_OUTS;
	return l;
}

size_t gemm_scratch(size_t n_in)
{
	return (GEMM_OUTS + GEMM_ROWS) * n_in + 2 * (size_t)GEMM_ROWS * GEMM_OUTS;
}

void gemm_init(void)
{
	openblas_set_num_threads(1);
}

bool gemm_pays(unsigned used)
{
	return !(used & KERNELS_AVX512);
}

const char *gemm_core_name(void)
{
	return openblas_get_corename();
}

/* out[GEMM_ROWS][GEMM_OUTS] = x[GEMM_ROWS][n_in] · w[n_outs][n_in]ᵀ: the one shape. */
static void panel(
	const float *x, size_t x_stride, const float *w, size_t n_in, size_t n_outs, float *out)
{
	cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, GEMM_ROWS, (int)n_outs, (int)n_in, 1,
		x, (int)x_stride, w, (int)n_in, 0, out, GEMM_OUTS);
}

static void widen_block(const struct kernels *k, enum dtype type, const struct mul *m, size_t o,
	size_t n_outs, float *w)
{
	for (size_t i = 0; i < n_outs; i++) {
		const char *row = (const char *)m->w + (o + i) * m->w_stride;
		switch (type) {
		case DTYPE_F16: k->f32_from_f16(w + i * m->n_in, row, m->n_in); break;
		case DTYPE_BF16: k->f32_from_bf16(w + i * m->n_in, row, m->n_in); break;
		default: memcpy(w + i * m->n_in, row, m->n_in * sizeof *w); break;
		}
	}
}

/* All panels of rows against one widened block of outputs [o, o + n_outs). */
static void block(const struct mul *m, size_t o, size_t n_outs, const struct layout *l)
{
	for (size_t r = 0; r < m->n_rows; r += GEMM_ROWS) {
		size_t n = m->n_rows - r < GEMM_ROWS ? m->n_rows - r : GEMM_ROWS;
		bool whole = n == GEMM_ROWS;
		panel(whole ? m->x + r * m->x_stride : l->x, whole ? m->x_stride : m->n_in, l->w,
			m->n_in, n_outs, l->out[0]);
		for (size_t i = 0; i < n; i++)
			memcpy(m->out + (r + i) * m->out_stride + o, l->out[0] + i * GEMM_OUTS,
				n_outs * sizeof(float));
	}
}

void gemm_panel(const struct kernels *k, enum dtype w_type, const struct mul *m, float *scratch)
{
	struct layout l = layout_of(scratch, m->n_in);
	size_t rest = m->n_rows % GEMM_ROWS;

	assert(w_type <= DTYPE_BF16 && m->o_begin % GEMM_OUTS == 0);
	memset(l.x, 0, GEMM_ROWS * m->n_in * sizeof(float));
	for (size_t i = 0; i < rest; i++)
		memcpy(l.x + i * m->n_in, m->x + (m->n_rows - rest + i) * m->x_stride,
			m->n_in * sizeof(float));
	for (size_t o = m->o_begin; o < m->o_end; o += GEMM_OUTS) {
		size_t n_outs = m->o_end - o < GEMM_OUTS ? m->o_end - o : GEMM_OUTS;
		widen_block(k, w_type, m, o, n_outs, l.w);
		block(m, o, n_outs, &l);
	}
}

static uint32_t step(uint32_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 17;
	*state ^= *state << 5;
	return *state;
}

static void fill(float *x, size_t n, uint32_t *state)
{
	for (size_t i = 0; i < n; i++)
		x[i] = (float)(int32_t)step(state) * 0x1p-31f;
}

/* Move every row one place on: after GEMM_ROWS turns each has been everywhere. */
static void turn(float *x, size_t n_in)
{
	for (size_t i = 0; i < n_in; i++) {
		float last = x[(GEMM_ROWS - 1) * n_in + i];
		for (size_t r = GEMM_ROWS - 1; r > 0; r--)
			x[r * n_in + i] = x[(r - 1) * n_in + i];
		x[i] = last;
	}
}

/* Row r of the first product is row (r + turns) % GEMM_ROWS of this one, for r < n_rows. */
static bool same_turned(const float *first, const float *now, size_t turns, const size_t shape[2])
{
	for (size_t r = 0; r < shape[0]; r++)
		if (memcmp(first + r * GEMM_OUTS, now + (r + turns) % GEMM_ROWS * GEMM_OUTS,
			    shape[1] * sizeof *now) != 0)
			return false;
	return true;
}

bool gemm_is_row_exact(size_t n_in, size_t n_outs, float *scratch)
{
	struct layout l = layout_of(scratch, n_in);
	uint32_t state = 2463534242u;
	size_t half = GEMM_ROWS / 2;

	fill(l.w, n_outs * n_in, &state);
	fill(l.x, GEMM_ROWS * n_in, &state);
	panel(l.x, n_in, l.w, n_in, n_outs, l.out[0]);
	for (size_t turns = 1; turns < GEMM_ROWS; turns++) {
		turn(l.x, n_in);
		panel(l.x, n_in, l.w, n_in, n_outs, l.out[1]);
		if (!same_turned(l.out[0], l.out[1], turns, (size_t[]) { GEMM_ROWS, n_outs }))
			return false;
	}
	turn(l.x, n_in);
	fill(l.x + half * n_in, half * n_in, &state); /* home again, with other neighbours */
	panel(l.x, n_in, l.w, n_in, n_outs, l.out[1]);
	return same_turned(l.out[0], l.out[1], 0, (size_t[]) { half, n_outs });
}
