/* worker.c - the parts of one worker, put together and taken apart. */
#include "worker/worker.h"
#include "worker/models.h"
#include <stdlib.h>
#include <time.h>

/* --dev-stall-ms, between steps. */
static void stall(void *arg)
{
	const struct worker *w = arg;
	const int ms = w->options.dev_stall_ms;
	nanosleep(&(struct timespec) { ms / 1000, (long)(ms % 1000) * 1000000 }, NULL);
}

static void *compute(void *arg)
{
	struct worker *w = arg;
	engine_run(w->engine);
	return NULL;
}

int worker_start(struct worker *w, int out)
{
	if (mailbox_init(&w->mail) != 0)
		return ERR_IO;
	w->started = clock_now();
	outbox_init(&w->out, out);
	w->out.garbage = w->options.dev_garbage;
	const bool may_write = w->options.confinement != CONFINE_STRICT;
	char *cache = w->options.no_cache || !may_write ? NULL : artifact_store_default();
	artifact_store_init(&w->cache, cache, w->options.cache_bytes);
	free(cache);
	w->catalog = catalog_new();
	w->models = models_new();
	w->engine = engine_new(&(struct engine_options) { .threads = w->options.threads,
		.pin = w->options.pin,
		.kv_bytes = w->options.kv_bytes,
		.max_running = w->options.max_running,
		.chunk_rows = w->options.chunk_tokens,
		.gate = w->options.dev_stall_ms > 0 ? stall : NULL,
		.gate_arg = w });
	if (!w->engine || workq_start(&w->loader, "loader", 1) != 0 ||
		workq_start(&w->aux, "aux", w->options.threads) != 0 ||
		pthread_create(&w->compute, NULL, compute, w) != 0)
		return ERR_IO;
	pthread_setname_np(w->compute, "compute");
	return 0;
}

void worker_stop(struct worker *w)
{
	engine_stop(w->engine, false);
	pthread_join(w->compute, NULL);
	workq_stop(&w->loader);
	workq_stop(&w->aux);
	engine_free(w->engine);
	models_free(w->models);
	catalog_free(w->catalog);
	outbox_release(&w->out);
	mailbox_release(&w->mail);
	artifact_store_release(&w->cache);
	options_release(&w->options);
}
