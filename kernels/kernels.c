/* kernels.c - fills the slot table: plain C first, then what the CPU does better. */
#include "kernels/kernels.h"
#include "kernels/cpu.h"
#include "kernels/isa.h"
#include <string.h>

static const struct {
	const char *name;
	unsigned bit, allows; /* a set allows the smaller ones it builds on */
} sets[] = {
	{ "vnni", KERNELS_VNNI, KERNELS_VNNI | KERNELS_AVX512 | KERNELS_AVX2 },
	{ "bf16", KERNELS_BF16, KERNELS_BF16 | KERNELS_AVX512 | KERNELS_AVX2 },
	{ "avx512", KERNELS_AVX512, KERNELS_AVX512 | KERNELS_AVX2 },
	{ "avx2", KERNELS_AVX2, KERNELS_AVX2 },
	{ "dotprod", KERNELS_DOT, KERNELS_DOT | KERNELS_NEON },
	{ "neon", KERNELS_NEON, KERNELS_NEON },
	{ "scalar", KERNELS_SCALAR, KERNELS_SCALAR },
};
#define N_SETS (sizeof sets / sizeof *sets)

unsigned kernels_select(struct kernels *k, unsigned mask)
{
	unsigned used = cpu_detect() & mask;

	ref_fill_rows(k);
	ref_fill_elements(k);
	ref_fill_packed(k);
	if (used & KERNELS_AVX2) {
		avx2_fill(k);
		avx2_packed_fill(k);
	}
	if (used & KERNELS_AVX512)
		avx512_fill(k);
	if (used & KERNELS_VNNI)
		vnni_fill(k);
	if (used & KERNELS_BF16)
		bf16_fill(k);
	if (used & KERNELS_NEON)
		neon_fill(k);
	if (used & KERNELS_DOT)
		dot_fill(k);
	return used;
}

bool kernels_parse_mask(const char *names, unsigned *mask)
{
	unsigned allowed = 0;

	if (!names || !*names) {
		*mask = KERNELS_ALL;
		return true;
	}
	for (const char *at = names;; at++) {
		size_t i = 0, n = strcspn(at, ",");
		while (i < N_SETS &&
			(strlen(sets[i].name) != n || strncmp(sets[i].name, at, n) != 0))
			i++;
		if (i == N_SETS)
			return false;
		allowed |= sets[i].allows;
		at += n;
		if (!*at)
			break;
	}
	*mask = allowed;
	return true;
}

const char *kernels_name(unsigned used)
{
	size_t i = 0;

	while (i < N_SETS - 1 && !(used & sets[i].bit))
		i++;
	return sets[i].name;
}
