/* progress.h - what a host was told of a request's progress.
 *
 * Workers report (worker/progress.h), the controller passes on. A call that lost its worker begins
 * anew at another; the host hears no step again, so that what it reads only ever rises. */
#ifndef CONTROLLER_PROGRESS_H
#define CONTROLLER_PROGRESS_H
#include "controller/registry.h"

/* The token a call's params name, or NULL: it asked for no progress. Freed with free(). */
struct progress *progress_of(struct json_span params);

/* Who asked for it has left: nothing of it is news any more. p may be NULL. */
void progress_silence(struct progress *p);

/* A worker's notification about one of the live calls: is it news to the host? What belongs to
 * none of them is. */
bool progress_is_news(struct registry *r, bool is_lsp, struct json_span params);
#endif
