/* vec.h - private: the vector vocabulary of the instruction set this file is compiled for.
 *
 * The flags that Makefile gives an object choose it. Without any, VEC_LANES is not defined and
 * the templates are empty, so that they can be read by any compiler. */
#ifndef KERNELS_VEC_H
#define KERNELS_VEC_H

#if defined(__AVX512F__)
#include "kernels/vec_avx512.h"
#define VEC_LANES 16
#elif defined(__AVX2__)
#include "kernels/vec_avx2.h"
#define VEC_LANES 16
#elif defined(__aarch64__)
#include "kernels/vec_neon.h"
#define VEC_LANES 16
#endif

#if defined(VEC_LANES) && defined(__x86_64__)
#include "kernels/vec_x86_sum.h"
#endif
#endif
