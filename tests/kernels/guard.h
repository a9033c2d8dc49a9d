/* guard.h - what kernel tests share: guarded memory, hostile numbers, every instruction set.
 *
 * A guarded buffer lies between two pages that no one may touch, flush against the one after
 * it (or, with front, the one before it), so that a kernel that reads or writes one byte too
 * many dies. Buffers live until the test's process ends. */
#ifndef TESTS_KERNELS_GUARD_H
#define TESTS_KERNELS_GUARD_H
#include "kernels/kernels.h"

void *guard_bytes(size_t n_bytes, bool front);
float *guard_floats(size_t n, bool front);

/* n random floats in about [-2, 2], some of them 0, -0, tiny or large; the seed is printed
 * when a test fails because it is part of its name. */
void fill_random(float *x, size_t n, uint64_t seed);
void fill_bytes(void *p, size_t n_bytes, uint64_t seed);
/* n bf16 or f16 numbers of ordinary size at any byte address. */
void fill_bf16(void *p, size_t n, uint64_t seed);
void fill_f16(void *p, size_t n, uint64_t seed);
uint64_t next_random(uint64_t *state);

/* Plain C in [0], then each instruction set this CPU has; returns how many. */
#define MOST_PATHS 7
struct path {
	struct kernels k;
	const char *name;
};
size_t all_paths(struct path paths[MOST_PATHS]);

/* Sizes around every boundary a kernel may have; ends with SIZE_MAX. */
extern const size_t odd_sizes[];

/* Index of the first float that differs in its bits, or -1; any NaN equals any NaN. */
long first_difference(const float *a, const float *b, size_t n);
#endif
