/* options.h - the worker's command line. */
#ifndef WORKER_OPTIONS_H
#define WORKER_OPTIONS_H
#include "protocol/frame.h"
#include "worker/confine.h"
#include <stdbool.h>
#include <stddef.h>

enum options_outcome {
	OPTIONS_RUN,
	OPTIONS_HELP,
	OPTIONS_VERSION,
	OPTIONS_BAD, /* complaint says what */
};

struct worker_options {
	enum framing framing;
	const char *
		*roots; /* folders that hold models; the strings are argv's and TANDEM_MODELS' */
	size_t n_roots;
	bool roots_only; /* no model from elsewhere, whatever local_path says */
	char *roots_env; /* owned copy of TANDEM_MODELS, cut at its colons */
	int threads;
	bool pin;           /* those threads, each to a processor */
	size_t kv_bytes;    /* per model */
	size_t model_bytes; /* of all models' weights; 0 = without bounds */
	size_t max_running;
	size_t chunk_tokens; /* of prompts in one step; 0 = as many as pay */
	size_t max_frame;    /* bytes of one message in */
	size_t cache_bytes;  /* of packed weights kept for later loads */
	bool no_cache;
	int drain_ms;
	size_t window; /* tokens of a stream that may be unacknowledged; 0 = no matter */
	int stall_ms;  /* a reader may stay behind for so long; 0 = for ever */
	bool verbose;
	enum confinement confinement;
	bool confinement_is_asked; /* not the default: the worker runs so or not at all */
	long dev_crash_after;      /* abort after this many tokens were written; 0 = never */
	int dev_stall_ms;          /* before each step of the engine */
	bool dev_garbage;
	char complaint[256];
};

/* argv is borrowed for the life of *o; one positional argument (an old host's script path)
 * is ignored. models_env: the value of TANDEM_MODELS, or NULL. */
enum options_outcome options_parse(
	struct worker_options *o, int argc, char *const argv[], const char *models_env);
void options_release(struct worker_options *o);
extern const char options_help[];
#endif
