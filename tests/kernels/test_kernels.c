#include "kernels/kernels.h"
#include <criterion/criterion.h>
#include <string.h>

Test(kernels, every_slot_is_filled_on_every_path)
{
	for (unsigned mask = 0; mask <= KERNELS_ALL; mask++) {
		struct kernels k = { 0 };
		cr_assert_eq(kernels_select(&k, mask) & ~mask, 0);
#define X(name, ret, params, tolerance, reason) cr_assert(k.name != NULL, #name);
		KERNEL_SLOTS(X)
#undef X
	}
}

Test(kernels, a_mask_hides_what_the_cpu_has)
{
	struct kernels plain, best;

	cr_assert_eq(kernels_select(&plain, KERNELS_SCALAR), 0);
	cr_assert_str_eq(kernels_name(0), "scalar");
	if (kernels_select(&best, KERNELS_ALL) == 0)
		cr_skip_test("this CPU has nothing beyond plain C");
	cr_assert(best.mul_bf16 != plain.mul_bf16);
}

Test(kernels, reads_masks_by_name_and_refuses_unknown_ones)
{
	unsigned mask = 99;

	cr_assert(kernels_parse_mask(NULL, &mask) && mask == KERNELS_ALL);
	cr_assert(kernels_parse_mask("", &mask) && mask == KERNELS_ALL);
	cr_assert(kernels_parse_mask("scalar", &mask) && mask == 0);
	cr_assert(kernels_parse_mask("avx2", &mask) && mask == KERNELS_AVX2);
	cr_assert(kernels_parse_mask("avx512", &mask) && mask == (KERNELS_AVX2 | KERNELS_AVX512));
	cr_assert(kernels_parse_mask("vnni", &mask) &&
		  mask == (KERNELS_AVX2 | KERNELS_AVX512 | KERNELS_VNNI));
	cr_assert(kernels_parse_mask("bf16", &mask) &&
		  mask == (KERNELS_AVX2 | KERNELS_AVX512 | KERNELS_BF16));
	cr_assert(kernels_parse_mask("dotprod", &mask) && mask == (KERNELS_NEON | KERNELS_DOT));
	cr_assert(kernels_parse_mask("scalar,avx2,neon", &mask) &&
		  mask == (KERNELS_AVX2 | KERNELS_NEON));
	cr_assert(!kernels_parse_mask("avx", &mask));
	cr_assert(!kernels_parse_mask("avx2,", &mask));
	cr_assert(!kernels_parse_mask("avx2 ", &mask));
	cr_assert(!kernels_parse_mask(",", &mask));
}
