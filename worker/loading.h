/* loading.h - one model on its way into memory, as load.c, load_room.c and load_warmup.c share
 * it. Everything is the I/O thread's but what the lock guards. */
#ifndef WORKER_LOADING_H
#define WORKER_LOADING_H
#include "worker/load_spec.h"
#include "worker/models.h"
#include "worker/park.h"
#include "worker/progress.h"
#include <pthread.h>

#define STAGE_MAX 64

/* One load_model request; several may share a load. */
struct load_waiter {
	struct call call; /* first: a call * is a load_waiter * */
	struct load *load;
	struct reply *reply;
	struct progress progress;
	struct load_waiter *prev, *next;
};

struct load {
	struct worker *w;
	struct chore chore;
	struct letter letter;
	struct load_spec spec;
	uint64_t n_bytes; /* that it is expected to take */
	double began, line_at;
	bool has_room;   /* it is the loader thread's */
	bool is_wake;    /* of a model that was put to sleep: nobody may be waiting but calls */
	bool is_warming; /* its model is there and computes its first token */
	struct load_waiter *waiters;
	struct parked *parked;
	struct load *prev, *next;
	struct buf result; /* while its model is warmed up */

	pthread_mutex_t lock; /* what both threads touch: */
	bool cancelled, posted, ended;
	double fraction, reported_at;
	char stage[STAGE_MAX];
	struct model *model; /* the outcome, once ended */
	struct fault fault;
};

/* Takes what *spec owns. */
struct load *load_new(struct worker *w, const struct load_spec *spec);
void load_free(struct load *l);
/* To the loader thread. */
void load_run(struct load *l);
/* Its model is open, or l->fault says why not. Frees l, unless its model is to be warmed up. */
void load_end(struct load *l);
/* Answer all: result NULL: with the fault. */
void load_answer(struct load *l, const struct buf *result);
void load_tell(struct load *l, double fraction, const char *stage);

/* load_room.c: start the loads that wait, oldest first, as far as there is room for them. */
void load_start_waiting(struct worker *w);
/* load_warmup.c: compute a token, then answer with l->result and free l. Takes ref. */
void load_warm_up(struct load *l, struct model_ref *ref);
#endif
