/* lanes.h - private to kernels/: the lane rule of kernels.h in plain C.
 *
 * The vector twins live in vec_*.h; test_kernels holds them to these bits. */
#ifndef KERNELS_LANES_H
#define KERNELS_LANES_H
#include <stddef.h>

#define LANES 16

/* The fixed reduction tree; uses up v. */
static inline float lanes_sum(float v[LANES])
{
	for (size_t half = LANES / 2; half > 0; half /= 2)
		for (size_t j = 0; j < half; j++)
			v[j] += v[j + half];
	return v[0];
}
#endif
