/* models.h - what was loaded and how, what is being loaded, and who waits for either.
 *
 * The catalog (thread-safe) holds the models themselves; this holds what only the I/O
 * thread needs to know about them. Calls that name a model that is just being loaded wait
 * for it, so a host may write load_model and generate in one go. */
#ifndef WORKER_MODELS_H
#define WORKER_MODELS_H
#include "worker/handlers.h"
#include "worker/load_spec.h"
#include "worker/worker.h"

struct load; /* load.c: one model being loaded */

struct loaded {
	struct load_spec spec; /* owned */
	double load_ms;
	uint64_t n_bytes; /* of weights */
	double last_used; /* clock_now() */
	bool was_used;    /* since it was loaded */
	bool is_asleep;   /* out of memory until a call names it */
	struct loaded *next;
};

/* Two loaded models of which one was found fit to draft for the other. */
struct model_pair {
	const struct model_ref *primary, *draft;
	struct model_pair *next;
};

struct models {
	struct loaded *loaded;
	struct model_pair *pairs;
	struct load *loads;     /* running or queued, newest first */
	struct unload *unloads; /* waiting for running calls */
};

struct unload; /* models.c: an unload_model that waits for running calls */

struct models *models_new(void);
void models_free(struct models *m); /* nothing is being loaded any more */

struct loaded *models_find(const struct models *m, const char *model_id); /* NULL if not loaded */
/* Remember a model that goes into the catalog. Replaces an older record; strings are copied. */
struct loaded *models_remember(struct models *m, const struct loaded *l);
void models_forget(struct models *m, const char *model_id);

/* Comparing two vocabularies takes milliseconds: a good pair is remembered while both stay. */
bool models_is_pair(
	const struct models *m, const struct model_ref *primary, const struct model_ref *draft);
void models_note_pair(
	struct models *m, const struct model_ref *primary, const struct model_ref *draft);

/* If model_id is being loaded, or asleep and therefore woken: keep rq until that is decided, and
 * true. */
bool models_wait_for(const struct request *rq, const char *model_id);
/* Is any call using it? */
bool models_is_used(const struct worker *w, const char *model_id);
/* Out of memory, but not forgotten. Its calls have ended. */
void models_sleep(struct worker *w, struct loaded *l);

/* What a call ended may allow: an unload that waited for it. */
void models_call_over(struct worker *w);
/* The members of a loaded model as load_model, list_models and runtime/state show them:
 * written into an open object. */
void models_write(
	struct buf *out, const char *model_id, const struct model *m, const struct loaded *l);

handler_fn handle_unload_model;
#endif
