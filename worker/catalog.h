/* catalog.h - which models this worker has loaded, by model_id, and who uses them.
 *
 * A model_ref is a counted reference: a job holds one until it ends, so unloading never
 * pulls weights from under a decoder. Thread-safe. What the compute thread needs beside
 * the immutable model (KV pool, context) hangs off the ref and is touched by that thread
 * alone. */
#ifndef WORKER_CATALOG_H
#define WORKER_CATALOG_H
#include "protocol/err.h"
#include "worker/model/model.h"

struct catalog;
struct model_ref;

struct catalog *catalog_new(void);
void catalog_free(struct catalog *c);

/* The loaded model of that id, reference taken; NULL with ERR_MODEL_NOT_LOADED and
 * "Model not loaded: <id>", data.model_id, in *f. */
struct model_ref *catalog_get(struct catalog *c, const char *model_id, struct fault *f);
struct model_ref *model_ref_take(struct model_ref *r);
void model_ref_release(struct model_ref *r); /* the last one closes the model */
const struct model *model_ref_model(const struct model_ref *r);
const char *model_ref_id(const struct model_ref *r);

/* Publish a loaded model under an id (replacing one: running jobs keep the old). Takes m. */
void catalog_put(struct catalog *c, const char *model_id, struct model *m);
/* Take it out of the catalog; running jobs keep it until they end. ERR_MODEL_NOT_LOADED. */
int catalog_remove(struct catalog *c, const char *model_id, struct fault *f);
/* Publish once more what was taken out. Takes a reference of its own. */
void catalog_restore(struct catalog *c, struct model_ref *r);

/* A slot for the compute thread's per-model state, destroyed (by whichever thread drops
 * the last reference) with free_fn. */
void *model_ref_state(const struct model_ref *r);
void model_ref_set_state(struct model_ref *r, void *state, void (*free_fn)(void *));

/* Call fn for every loaded model, under the lock. */
void catalog_each(struct catalog *c, void (*fn)(void *arg, const struct model_ref *r), void *arg);
#endif
