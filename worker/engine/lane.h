/* lane.h - one model's share of the engine: its KV pool, who waits, who runs.
 *
 * Hangs off the model_ref (catalog.h), so it lives as long as the model does. Compute
 * thread only, but for lane_free. */
#ifndef WORKER_ENGINE_LANE_H
#define WORKER_ENGINE_LANE_H
#include "worker/catalog.h"
#include "worker/engine/sched.h"
#include "worker/engine/sequence.h"
#include "worker/engine/step_cost.h"
#include "worker/engine/task.h"
#include "worker/engine/turns.h"

struct pool;
struct kernels;

struct lane {
	const struct model *model;
	const char *model_id;
	size_t vocab_size, dim;
	struct kv_pool *kv;
	struct prefix_cache *prefixes;
	struct model_context *context;
	struct sampler *sampler;
	struct sched_demand capacity, promised;
	struct sched_budget budget;
	struct task *waiting; /* in line, by rank (utlist) */
	struct task *active;  /* let in */
	struct task *held;    /* let in, but out of `running` while its reader is behind: hold.c */
	struct task *dead;    /* over; the engine frees them */
	struct turn *turns;   /* a table: the clients of all these */
	uint64_t n_steps;
	struct sequence **running;
	size_t n_running, cap_running;
	size_t n_parked; /* times that a task was */
	struct step_cost cost;
	struct sched_pace pace;
	double decode_s; /* of this step, had it no prompt rows; 0 = nobody decodes */
	bool is_paced;   /* chunks are as long as those who decode can bear */
	double reading;  /* seconds per row when it reads a text to draft for it; 0 = unknown */
	struct draft_rate rate; /* how its drafts fared with all who had it draft */
	double purse;           /* what they gained beyond what these kept */
	/* scratch of a step, sized once: no step allocates */
	struct sched_seq *wants;      /* [cap_running] */
	struct sched_share *shares;   /* [cap_running] */
	struct sched_holder *holders; /* [cap_running] */
	struct turn_seat *seats;      /* [cap_running] */
	size_t *n_logits;             /* [cap_running] logits rows of each */
	struct batch_row *rows;       /* [budget] */
	float *logits;                /* [exact_rows + cap_running][vocab_size] */
	float *hidden;                /* [prefill_rows][dim], JOB_EMBED's */
	struct lane *prev, *next;     /* of the engine's busy lanes */
	bool busy;                    /* in that list */
};

struct lane_options {
	struct pool *pool; /* outlives the lane's last step */
	const struct kernels *kernels;
	size_t kv_bytes, max_running, chunk_rows;
};

/* The model's lane, opened at its first job. NULL with ERR_NOMEM in *f. */
struct lane *lane_get(struct model_ref *ref, const struct lane_options *opt, struct fault *f);

/* What the first prompts of a model would wait for is in memory afterwards: scratch, and K and V
 * for a whole context, but not more than LANE_TOUCH_BYTES of them. */
#define LANE_TOUCH_BYTES ((size_t)256 << 20)
void lane_touch(struct lane *l, struct pool *threads);

/* Put a task in line, or end it at once: it can never run, or has nothing to do. */
void lane_take(struct lane *l, struct task *t);
/* Between steps: end who was cancelled or is too late, let in who fits. */
void lane_tick(struct lane *l, double now);
/* One forward pass over everyone's rows, and what comes of it (step.c). */
void lane_step(struct lane *l);
bool lane_has_work(const struct lane *l);
/* After endings: forget sequences that are over; tasks that are move to `dead`. */
void lane_settle(struct lane *l);
/* A new sequence, or NULL: all of that choice was resumed, and it has ended so. */
struct sequence *lane_begin(struct lane *l, struct task *t, int choice);
/* It takes part in the coming steps. */
void lane_run(struct lane *l, struct sequence *s);

/* Between steps: who is held leaves, who was let go comes back as places allow. */
void hold_tick(struct lane *l, double now);
#endif
