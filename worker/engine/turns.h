/* turns.h - clients take turns by tokens. Pure policy.
 *
 * Of the texts of one class those decode whose client has had the fewest tokens: a client
 * with one text keeps pace with one that has a hundred. Whoever is ahead waits a few steps and
 * then has all its texts in one again, so that steps stay either short or full. Who comes new,
 * or comes back, begins with what the least served of the others has had: nobody saves up
 * (virtual token counters; Sheng et al., "Fairness in Serving Large Language Models", 2024).
 * Prompts are not counted, nor held up. */
#ifndef WORKER_ENGINE_TURNS_H
#define WORKER_ENGINE_TURNS_H
#include "worker/engine/engine.h"
#include <uthash.h>

/* One client in one class. */
struct turn {
	uint64_t n_tokens;  /* it had, or was lifted to */
	uint64_t last_step; /* that it had something to decode in */
	size_t n_tasks;     /* that refer to it */
	size_t n_running;   /* scratch of who counts them */
	enum job_priority priority;
	UT_hash_handle hh;
	char key[]; /* class digit, client */
};

/* *turns: a table; NULL = empty. client NULL = "". */
struct turn *turns_join(struct turn **turns, enum job_priority priority, const char *client);
void turns_leave(struct turn **turns, struct turn *t);

/* A sequence of the coming step. */
struct turn_seat {
	struct turn *turn; /* NULL: takes no part, and may always */
	bool decodes;      /* it has nothing but tokens to compute */
	bool may;          /* out */
};

/* step: 1, 2, 3 … Of those with something to decode at least one may. */
void turns_plan(struct turn_seat *seats, size_t n, uint64_t step);
#endif
