/* Weights with scales beside them, and products of every stored format. */
#include "kernels/half.h"
#include "kernels/quant.h"
#include "kernels/weight.h"
#include "tests/kernels/guard.h"
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#define OUTS ((size_t)21)
#define N_IN ((size_t)512)

/* Write n values of `bits` each, low bits first, one bit at a time: not how we read them. */
static void pack(uint8_t *to, const unsigned *q, size_t n, unsigned bits)
{
	for (size_t i = 0; i < n * bits; i++)
		if (q[i / bits] >> (i % bits) & 1)
			to[i / 8] |= (uint8_t)(1u << (i % 8));
}

static void check_affine(unsigned bits, unsigned group, enum dtype scale_type)
{
	struct kernels k;
	size_t n_groups = N_IN / group, n_row = weight_packed_bytes(N_IN, bits);
	uint8_t *data = guard_bytes(OUTS * n_row, false);
	size_t n_scale = scale_type == DTYPE_F32 ? 4 : 2;
	char *scales = guard_bytes(OUTS * n_groups * n_scale, false);
	char *biases = guard_bytes(OUTS * n_groups * n_scale, false);
	float wide[OUTS * N_IN / 32], shift[OUTS * N_IN / 32], *row = guard_floats(N_IN, false);
	unsigned q[N_IN];
	uint64_t seed = bits * 1000 + group;

	kernels_select(&k, KERNELS_ALL);
	cr_assert_eq(n_row, N_IN * bits / 8);
	for (size_t i = 0; i < OUTS * n_groups; i++) {
		wide[i] = f32_of_bf16((uint16_t)(0x3c00 + next_random(&seed) % 512));
		shift[i] = -wide[i] * 3;
		uint16_t h[2] = { bf16_of_f32(wide[i]), bf16_of_f32(shift[i]) };
		if (scale_type == DTYPE_F16) {
			h[0] = f16_of_f32(wide[i]);
			h[1] = f16_of_f32(shift[i]);
		}
		wide[i] = scale_type == DTYPE_F16 ? f32_of_f16(h[0]) : f32_of_bf16(h[0]);
		shift[i] = scale_type == DTYPE_F16 ? f32_of_f16(h[1]) : f32_of_bf16(h[1]);
		memcpy(scales + i * n_scale, n_scale == 4 ? (void *)&wide[i] : (void *)&h[0],
			n_scale);
		memcpy(biases + i * n_scale, n_scale == 4 ? (void *)&shift[i] : (void *)&h[1],
			n_scale);
	}
	struct weight w = { DTYPE_AFFINE, OUTS, N_IN, data, n_row, scales, biases, scale_type, bits,
		group };
	for (size_t o = 0; o < OUTS; o++) {
		for (size_t i = 0; i < N_IN; i++)
			q[i] = (unsigned)next_random(&seed) & ((1u << bits) - 1);
		pack(data + o * n_row, q, N_IN, bits);
		weight_row(&k, &w, o, row);
		for (size_t i = 0; i < N_IN; i++) {
			size_t g = o * n_groups + i / group;
			cr_assert_eq(row[i], wide[g] * (float)q[i] + shift[g],
				"%u bits, group %u: [%zu][%zu]", bits, group, o, i);
		}
	}
}

Test(weight, unpacks_mlx_rows_of_every_width_and_group)
{
	static const unsigned widths[] = { 2, 3, 4, 5, 6, 8 };

	for (size_t b = 0; b < 6; b++)
		for (unsigned group = 32; group <= 128; group *= 2) {
			check_affine(widths[b], group, DTYPE_BF16);
			check_affine(widths[b], group, DTYPE_F16);
			check_affine(widths[b], group, DTYPE_F32);
		}
}

Test(weight, packed_rows_are_whole_words)
{
	cr_assert_eq(weight_packed_bytes(64, 3), 24);
	cr_assert_eq(weight_packed_bytes(65, 3), 0);
	cr_assert_eq(weight_packed_bytes(SIZE_MAX, 8), 0);
}

Test(weight, unpacks_mxfp4_pairs_in_order)
{
	struct kernels k;
	uint8_t q[32], scales[2] = { 127, 129 };
	float row[64];

	kernels_select(&k, KERNELS_ALL);
	for (int i = 0; i < 32; i++)
		q[i] = (uint8_t)((2 * i & 15) | ((2 * i + 1) & 15) << 4);
	struct weight w = { .type = DTYPE_MXFP4_PAIRS,
		.n_out = 1,
		.n_in = 64,
		.data = q,
		.row_bytes = 32,
		.scales = scales,
		.bits = 4,
		.group = 32 };
	weight_row(&k, &w, 0, row);
	for (unsigned i = 0; i < 64; i++)
		cr_assert_eq(row[i], quant_fp4(i & 15, scales[i / 32]), "%u", i);
}

/* Bytes that make sensible numbers in every format: halves near 1 where scales are. */
static struct weight random_weight(enum dtype type)
{
	struct weight w = { .type = type,
		.n_out = OUTS,
		.n_in = N_IN,
		.bits = 4,
		.group = 32,
		.scale_type = DTYPE_F32 };
	uint8_t *data;

	w.row_bytes = quant_type(type)->block_elements ? quant_row_bytes(type, N_IN) : N_IN / 2;
	data = guard_bytes(OUTS * w.row_bytes, false);
	for (size_t i = 0; i < OUTS * w.row_bytes; i++)
		data[i] = (uint8_t)(0x20 + i * 7 % 29);
	if (!quant_type(type)->block_elements) {
		float *scales = guard_floats(OUTS * N_IN / 32, false);
		for (size_t i = 0; i < OUTS * N_IN / 32; i++)
			scales[i] = 0.25f;
		w.scales = w.biases = scales;
	}
	w.data = data;
	return w;
}

static float x[7][N_IN], all[7][OUTS], part[7][OUTS], row[OUTS][N_IN];

/* The product equals mul_f32 on the widened rows, bit for bit, in any cut. */
static void check_product(const struct path *p, enum dtype type)
{
	struct weight w = random_weight(type);
	float *scratch = guard_floats(weight_scratch(&w), false);
	struct mul m = { .x = x[0],
		.n_rows = 7,
		.x_stride = N_IN,
		.w = row,
		.n_in = N_IN,
		.w_stride = sizeof *row,
		.o_begin = 0,
		.o_end = OUTS,
		.out = all[0],
		.out_stride = OUTS };

	for (size_t o = 0; o < OUTS; o++)
		weight_row(&p->k, &w, o, row[o]);
	p->k.mul_f32(&m);
	m.out = part[0];
	for (size_t n = 1; n <= 7; n += 2)
		for (size_t begin = 0; begin < OUTS; begin += 5) {
			memset(part, 0, sizeof part);
			m.n_rows = n;
			m.o_begin = begin;
			m.o_end = begin + 18 < OUTS ? begin + 18 : OUTS;
			weight_mul(&p->k, &w, &m, scratch);
			for (size_t r = 0; r < n; r++)
				cr_assert(first_difference(all[r] + begin, part[r] + begin,
						  m.o_end - begin) < 0,
					"%s %s row %zu from %zu", p->name, quant_type(type)->name,
					r, begin);
		}
}

Test(weight, multiplies_every_format_as_its_widened_rows, .timeout = 60)
{
	struct path paths[MOST_PATHS];
	size_t n_paths = all_paths(paths);

	fill_random(x[0], 7 * N_IN, 9);
	for (size_t p = 0; p < n_paths; p++)
		for (int type = 0; type < DTYPE_COUNT; type++)
			check_product(&paths[p], (enum dtype)type);
}
