/* x86_avx512.c - nothing faster than plain C yet. */
#include "kernels/isa.h"

void avx512_fill(struct kernels *k)
{
	(void)k;
}
