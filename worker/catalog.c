/* catalog.c - the loaded models by id, and the references that keep them alive. */
#include "worker/catalog.h"
#include "protocol/mem.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <uthash.h>

struct model_ref {
	char *id;
	struct model *model;
	atomic_int n_refs;
	void *state;
	void (*free_state)(void *);
	UT_hash_handle hh; /* while published; guarded by the catalog's lock */
};

struct catalog {
	pthread_mutex_t lock;
	struct model_ref *models; /* by id; the table holds one reference each */
};

struct catalog *catalog_new(void)
{
	struct catalog *c = xcalloc(1, sizeof *c);
	pthread_mutex_init(&c->lock, NULL);
	return c;
}

void catalog_free(struct catalog *c)
{
	struct model_ref *r, *next;
	if (!c)
		return;
	HASH_ITER (hh, c->models, r, next) {
		HASH_DEL(c->models, r);
		model_ref_release(r);
	}
	pthread_mutex_destroy(&c->lock);
	free(c);
}

static struct model_ref *find(struct catalog *c, const char *model_id)
{
	struct model_ref *r;
	HASH_FIND_STR(c->models, model_id, r);
	return r;
}

static int not_loaded(const char *model_id, struct fault *f)
{
	fault_set(f, ERR_MODEL_NOT_LOADED, "Model not loaded: %s", model_id);
	fault_add_str(f, "model_id", model_id);
	return ERR_MODEL_NOT_LOADED;
}

struct model_ref *catalog_get(struct catalog *c, const char *model_id, struct fault *f)
{
	pthread_mutex_lock(&c->lock);
	struct model_ref *r = find(c, model_id);
	if (r)
		model_ref_take(r);
	pthread_mutex_unlock(&c->lock);
	if (!r)
		not_loaded(model_id, f);
	return r;
}

/* Takes the reference. */
static void publish(struct catalog *c, struct model_ref *r)
{
	pthread_mutex_lock(&c->lock);
	struct model_ref *old = find(c, r->id);
	if (old)
		HASH_DEL(c->models, old);
	HASH_ADD_KEYPTR(hh, c->models, r->id, strlen(r->id), r);
	pthread_mutex_unlock(&c->lock);
	/* Outside the lock: closing a model unmaps gigabytes. */
	if (old)
		model_ref_release(old);
}

void catalog_put(struct catalog *c, const char *model_id, struct model *m)
{
	struct model_ref *r = xcalloc(1, sizeof *r);
	r->id = xstrdup(model_id);
	r->model = m;
	atomic_init(&r->n_refs, 1);
	publish(c, r);
}

void catalog_restore(struct catalog *c, struct model_ref *r)
{
	publish(c, model_ref_take(r));
}

int catalog_remove(struct catalog *c, const char *model_id, struct fault *f)
{
	pthread_mutex_lock(&c->lock);
	struct model_ref *r = find(c, model_id);
	if (r)
		HASH_DEL(c->models, r);
	pthread_mutex_unlock(&c->lock);
	if (!r)
		return not_loaded(model_id, f);
	model_ref_release(r);
	return 0;
}

void catalog_each(struct catalog *c, void (*fn)(void *arg, const struct model_ref *r), void *arg)
{
	struct model_ref *r, *next;
	pthread_mutex_lock(&c->lock);
	HASH_ITER (hh, c->models, r, next)
		fn(arg, r);
	pthread_mutex_unlock(&c->lock);
}

struct model_ref *model_ref_take(struct model_ref *r)
{
	atomic_fetch_add(&r->n_refs, 1);
	return r;
}

void model_ref_release(struct model_ref *r)
{
	if (!r || atomic_fetch_sub(&r->n_refs, 1) > 1)
		return;
	if (r->free_state)
		r->free_state(r->state);
	model_close(r->model);
	free(r->id);
	free(r);
}

const struct model *model_ref_model(const struct model_ref *r)
{
	return r->model;
}

const char *model_ref_id(const struct model_ref *r)
{
	return r->id;
}

void *model_ref_state(const struct model_ref *r)
{
	return r->state;
}

void model_ref_set_state(struct model_ref *r, void *state, void (*free_fn)(void *))
{
	r->state = state;
	r->free_state = free_fn;
}
