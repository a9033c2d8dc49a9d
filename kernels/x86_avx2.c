/* x86_avx2.c - the templates compiled for AVX2; only selected where the CPU has it. */
#include "kernels/isa.h"

#if defined(__AVX2__)
#include "kernels/vec_attend.h"
#include "kernels/vec_elements.h"
#include "kernels/vec_mul.h"
#include "kernels/vec_rows.h"

void avx2_fill(struct kernels *k)
{
	fill_elements(k);
	fill_rows(k);
	fill_mul(k);
	fill_attend(k);
}

#else

void avx2_fill(struct kernels *k)
{
	(void)k;
}
#endif
