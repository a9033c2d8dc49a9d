/* model_op.h - one load_model or unload_model on several workers: sent, gathered, answered.
 * Private to models.c and model_op.c. */
#ifndef CONTROLLER_MODEL_OP_H
#define CONTROLLER_MODEL_OP_H
#include "controller/controller.h"

enum op_kind { OP_LOAD, OP_UNLOAD };

struct model_op {
	TAILQ_ENTRY(model_op) next;
	enum op_kind kind;
	struct controller *c;
	struct model *model;
	struct call *call;     /* to answer */
	int replicas;          /* OP_LOAD: how many workers are wanted */
	bool everywhere;       /* OP_LOAD: as many as there are, now and later */
	bool force;            /* OP_UNLOAD */
	bool is_overruled;     /* OP_UNLOAD: it would have waited, a later one does not */
	bool is_called_off;    /* OP_UNLOAD: nobody waits for it; where it runs the model stays */
	size_t n_sent, n_left; /* parts at workers; not answered yet */
	size_t n_ok;
	uint64_t done;                     /* bit per worker: it has loaded it for this op */
	uint64_t ids[OPTIONS_WORKERS_MAX]; /* on the pipe of each worker; 0 = not sent there */
	struct buf result;                 /* of the first worker that did it */
	struct buf error;                  /* the first one */
};

/* Start it, if its workers are ready for it; it may end (and be freed) at once. */
void model_op_start(struct model_op *op);
/* The unloads of m that come next no longer wait for what runs. */
void model_op_force(struct model *m);
/* The caller no longer wants it: it ends with ERR_CANCELLED soon, or now. */
void model_op_cancel(struct model_op *op);

/* For models.c and model_op.c. */
void model_free(struct models *ms, struct model *m);
void model_fail_waiting(struct controller *c, const struct model *m);

#endif
