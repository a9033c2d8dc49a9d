/* models.h - which models are loaded where, and the calls that change it.
 *
 * load_model and unload_model of one model run one after the other in the order they came;
 * calls for a model that is being loaded wait in the queue. Each model remembers the
 * parameters of its load, so that a worker started again gets it back before it serves. */
#ifndef CONTROLLER_MODELS_H
#define CONTROLLER_MODELS_H
#include "protocol/buf.h"
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <uthash.h>

struct call;
struct controller;
struct worker;
struct model_op; /* one load or unload */
TAILQ_HEAD(model_ops, model_op);

struct model {
	char *id;
	struct buf params;    /* of its load, without progress tokens */
	char type[16];        /* "text" */
	uint64_t wanted;      /* bit per worker: it should have it */
	uint64_t has;         /* bit per worker: it has it */
	uint64_t coming;      /* bit per worker: it is loading it for the first op */
	bool is_failed;       /* the workers that had it are given up */
	bool is_everywhere;   /* its load named no number of workers: new ones get it, too */
	struct model_ops ops; /* the first one runs, or waits for its turn */
	bool is_running;      /* the first one was sent to workers */
	UT_hash_handle hh;
};

struct models {
	struct model *by_id;
	size_t n_ops; /* waiting or running, all models together */
};

/* NULL if nobody loaded or is loading it. */
struct model *models_find(struct models *ms, const char *id);
/* A call may be queued for it: it is loaded, or will be unless its load fails. */
bool model_is_expected(const struct model *m);
uint64_t model_bit(int worker); /* in wanted, has, coming */
bool model_is_at(const struct model *m, int worker);

/* Take over a load_model, unload_model or list_models call; they answer it. */
void models_load(struct controller *c, struct call *call);
void models_unload(struct controller *c, struct call *call);
void models_list(struct controller *c, struct call *call);
/* Give up the load or unload that `call` asked for: it is answered -32800 soon. False if
 * it is neither. */
bool models_cancel(struct controller *c, struct call *call);

/* Start what can start; call after queues or workers changed. */
void models_advance(struct controller *c);
/* Load into w what it should have, then report SUP_MODELS_BACK. */
void models_reload(struct controller *c, struct worker *w);
/* Load m into workers that came while it was being loaded elsewhere. */
void models_spread(struct controller *c, struct model *m);
/* `to`, not up yet, gets what `from` has. */
void models_inherit(struct controller *c, const struct worker *from, const struct worker *to);
/* Load elsewhere what only w has. */
void models_move(struct controller *c, const struct worker *w);
/* Whatever w has, another has and serves, or nobody can. */
bool models_can_spare(const struct controller *c, const struct worker *w);
/* Its process is gone (for_good: and will not come back). */
void models_worker_lost(struct controller *c, struct worker *w, bool for_good);
void models_free(struct models *ms); /* no op may be left */
#endif
