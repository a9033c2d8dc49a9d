/* residency.h - which loaded models make room for one more. Pure policy: data in, decision out.
 *
 * The weights of all models together stay within a budget of bytes. Who has been unused longest
 * goes first; never one that is in use, is pinned, or is being loaded. */
#ifndef WORKER_RESIDENCY_H
#define WORKER_RESIDENCY_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct resident {
	uint64_t n_bytes;
	double last_used;
	bool in_use; /* it may leave later */
	bool stays;  /* it may not */
	bool leaves; /* decided by residency_plan */
};

enum residency {
	RESIDENCY_FITS,  /* once those with `leaves` are gone */
	RESIDENCY_LATER, /* once calls have ended */
	RESIDENCY_NEVER,
};

/* Room for n_bytes more beside r[n] in a budget (0 = without bounds). Unless it is
 * RESIDENCY_FITS, nobody leaves. */
enum residency residency_plan(struct resident *r, size_t n, uint64_t n_bytes, uint64_t budget);
#endif
