/* x86_avx2.c - nothing faster than plain C yet. */
#include "kernels/isa.h"

void avx2_fill(struct kernels *k)
{
	(void)k;
}
