/* run_options.h - the command line of `tandem run`. */
#ifndef CONTROLLER_RUN_OPTIONS_H
#define CONTROLLER_RUN_OPTIONS_H
#include "controller/options.h"

#define RUN_STOPS_MAX     10
#define RUN_SELFTEST      8 /* prompts, unless it says how many */
#define RUN_SELFTEST_MOST 1000

struct run_options {
	struct options base; /* of the controller it runs in itself */
	const char *model;
	const char *draft_model; /* drafts for it; NULL: nobody does */
	const char *prompt;      /* "-" = stdin */
	struct buf sampling;     /* members of generate's params, as JSON: `,"top_k":5` … */
	const char *stops[RUN_STOPS_MAX];
	size_t n_stops;
	bool is_json;
	size_t n_selftest; /* prompts; if not 0, no text is wanted: prompt is NULL */
};

/* The strings are argv's. */
int run_options_parse(struct run_options *o, int argc, char **argv, struct fault *f);
void run_options_release(struct run_options *o);
extern const char run_options_help[];
#endif
