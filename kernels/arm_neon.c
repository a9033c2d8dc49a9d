/* arm_neon.c - the templates compiled for NEON, which every AArch64 CPU has. */
#include "kernels/isa.h"

#if defined(__aarch64__)
#include "kernels/vec_attend.h"
#include "kernels/vec_elements.h"
#include "kernels/vec_mul.h"
#include "kernels/vec_rows.h"

void neon_fill(struct kernels *k)
{
	fill_elements(k);
	fill_rows(k);
	fill_mul(k);
	fill_attend(k);
}

#else

void neon_fill(struct kernels *k)
{
	(void)k;
}
#endif
