/* guard.c - guarded memory and hostile numbers for kernel tests. */
#include "tests/kernels/guard.h"
#include "kernels/half.h"
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

const size_t odd_sizes[] = { 0, 1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 23, 31, 32, 33, 47, 48, 49, 63, 64,
	65, 127, 128, 129, 255, 257, 1000, SIZE_MAX };

void *guard_bytes(size_t n_bytes, bool front)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t inner = (n_bytes + page - 1) / page * page;
	char *p = mmap(NULL, inner + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	cr_assert(p != MAP_FAILED);
	if (inner)
		cr_assert_eq(mprotect(p + page, inner, PROT_READ | PROT_WRITE), 0);
	return front ? p + page : p + page + inner - n_bytes;
}

float *guard_floats(size_t n, bool front)
{
	return guard_bytes(n * sizeof(float), front);
}

/* splitmix64 */
uint64_t next_random(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

static float ordinary(uint64_t *state)
{
	return (float)(int32_t)next_random(state) * 0x1p-30f;
}

void fill_random(float *x, size_t n, uint64_t seed)
{
	static const float odd[] = { 0, -0.0f, 1e-40f, -3e-39f, 1e-20f, 700, -1500, 88.5f,
		-103.7f };

	for (size_t i = 0; i < n; i++) {
		uint64_t r = next_random(&seed);
		x[i] = r % 16 == 0 ? odd[r / 16 % 9] : ordinary(&seed);
	}
}

void fill_bytes(void *p, size_t n_bytes, uint64_t seed)
{
	for (size_t i = 0; i < n_bytes; i++)
		((unsigned char *)p)[i] = (unsigned char)next_random(&seed);
}

void fill_bf16(void *p, size_t n, uint64_t seed)
{
	for (size_t i = 0; i < n; i++) {
		uint16_t h = bf16_of_f32(ordinary(&seed));
		memcpy((char *)p + 2 * i, &h, 2);
	}
}

void fill_f16(void *p, size_t n, uint64_t seed)
{
	for (size_t i = 0; i < n; i++) {
		uint16_t h = f16_of_f32(ordinary(&seed));
		memcpy((char *)p + 2 * i, &h, 2);
	}
}

size_t all_paths(struct path paths[MOST_PATHS])
{
	static const unsigned masks[] = { KERNELS_AVX2, KERNELS_AVX2 | KERNELS_AVX512,
		KERNELS_AVX2 | KERNELS_AVX512 | KERNELS_VNNI,
		KERNELS_AVX2 | KERNELS_AVX512 | KERNELS_BF16, KERNELS_NEON,
		KERNELS_NEON | KERNELS_DOT };
	size_t n = 0;

	kernels_select(&paths[n++].k, KERNELS_SCALAR);
	paths[0].name = "scalar";
	for (size_t i = 0; i < sizeof masks / sizeof *masks; i++)
		if (kernels_select(&paths[n].k, masks[i]) == masks[i]) {
			paths[n].name = kernels_name(masks[i]);
			n++;
		}
	return n;
}

long first_difference(const float *a, const float *b, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (bits_of_f32(a[i]) != bits_of_f32(b[i]) && !(isnan(a[i]) && isnan(b[i])))
			return (long)i;
	return -1;
}
