/* cost.h - how much work a call asks for, in tokens, guessed before anybody has tokenized it.
 *
 * Pure policy, and one measure for all that weighs calls against each other: whose turn it is,
 * which worker has less to do. */
#ifndef CONTROLLER_COST_H
#define CONTROLLER_COST_H
#include "protocol/methods.h"

#define COST_BYTES_PER_TOKEN 4   /* of text; JSON around it included */
#define COST_MAX_TOKENS      512 /* of a generate that does not say how many */

/* At least 1. A generate: its prompt and all it may generate, for each of n choices; any other
 * call: its text. params is an object that json_scan() accepted. */
size_t cost_estimate(const struct method *m, struct json_span params);
#endif
