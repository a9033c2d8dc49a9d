/* isa.h - private to kernels/: who fills which slots. Each call overwrites the slots its
 * instruction set does better; files for a CPU we are not built for fill nothing. */
#ifndef KERNELS_ISA_H
#define KERNELS_ISA_H
#include "kernels/kernels.h"

void ref_fill_rows(struct kernels *k);     /* ref.c: products, norms, rope, attention */
void ref_fill_elements(struct kernels *k); /* ref_elements.c: the rest */
void ref_fill_packed(struct kernels *k);   /* ref_packed.c: int8 products */
void avx2_fill(struct kernels *k);
void avx2_packed_fill(struct kernels *k);
void avx512_fill(struct kernels *k);
void vnni_fill(struct kernels *k);
void bf16_fill(struct kernels *k);
void neon_fill(struct kernels *k);
void dot_fill(struct kernels *k);
#endif
