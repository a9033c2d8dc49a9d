/* unheard.h - a job that is computed for its times or for what it warms: nobody hears its text. */
#ifndef WORKER_UNHEARD_H
#define WORKER_UNHEARD_H
#include "worker/worker.h"

/* A greedy job of max_tokens behind the model's BOS, which no end of text ends; it is the
 * caller's to complete and submit. ref is given away. */
struct job *unheard_new(struct worker *w, struct model_ref *ref, size_t max_tokens);

/* A job_sink's on_tokens. */
void unheard_tokens(void *arg, const struct job_token *t, size_t n);
#endif
