#include "protocol/mem.h"
#include <criterion/criterion.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

Test(mem, arithmetic_says_when_it_overflows_and_leaves_the_result_alone)
{
	size_t out = 7;
	cr_assert_not(mem_mul(SIZE_MAX, 2, &out));
	cr_assert_not(mem_add(SIZE_MAX, 1, &out));
	cr_assert_eq(out, 7);
	cr_assert(mem_mul(SIZE_MAX / 2, 2, &out));
	cr_assert_eq(out, SIZE_MAX - 1);
	cr_assert(mem_add(SIZE_MAX - 1, 1, &out));
	cr_assert_eq(out, SIZE_MAX);
	cr_assert(mem_mul(0, SIZE_MAX, &out));
	cr_assert_eq(out, 0);
}

Test(mem, sizes_from_outside_that_cannot_be_had_are_null)
{
	cr_assert_null(mem_try(SIZE_MAX));
	cr_assert_null(mem_try((size_t)PTRDIFF_MAX + 1));
	cr_assert_null(mem_try_array(SIZE_MAX / 2, 3));
	cr_assert_null(mem_try_array(PTRDIFF_MAX, 2));
}

Test(mem, sizes_that_can_be_had_are_there_even_when_zero)
{
	unsigned char *zeroed = mem_try_array(100, 3);
	for (int i = 0; i < 300; i++)
		cr_assert_eq(zeroed[i], 0);
	void *none = mem_try(0), *none2 = xmalloc(0);
	cr_assert_not_null(none);
	cr_assert_not_null(none2);
	free(zeroed);
	free(none);
	free(none2);
}

Test(mem, copies_are_terminated_and_formats_grow)
{
	char *cut = xstrndup("abcdef", 3), *whole = xstrdup("é"), *f = xasprintf("%d-%0100d", 1, 2);
	cr_assert_str_eq(cut, "abc");
	cr_assert_str_eq(whole, "é");
	cr_assert_eq(strlen(f), 102);
	free(cut);
	free(whole);
	free(f);
}

Test(mem, an_impossible_bookkeeping_size_ends_the_process, .signal = SIGABRT)
{
	xreallocarray(NULL, SIZE_MAX / 2, 4);
}
