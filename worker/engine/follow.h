/* follow.h - checking a draft for a text that is being generated.
 *
 * The check takes over what the text has so far (prompt, generated tokens, what ends it) and
 * shares its KV blocks; the text itself is not touched. Where its blocks are gone (it is parked,
 * or over by the time the check is let in) the check computes them anew, to the same bits.
 * Compute thread only. */
#ifndef WORKER_ENGINE_FOLLOW_H
#define WORKER_ENGINE_FOLLOW_H
#include "worker/engine/lane.h"

/* Fill in j, if it follows a text. ERR_INVALID_PARAMS with data.path: there is no such text, or
 * it has not come that far. */
int follow_begin(const struct lane *l, struct job *j, struct fault *f);
/* Give s, which has no KV yet, what the text that its job follows has. False if that is nothing. */
bool follow_share(const struct lane *l, struct sequence *s);
#endif
