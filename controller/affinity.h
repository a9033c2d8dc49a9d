/* affinity.h - which worker was given which beginnings of prompts, for routing.
 *
 * A prompt's text is cut into blocks; each block's hash continues the one before, so that equal
 * hashes mean equal beginnings. The table remembers for a hash the workers that were
 * given such a prompt. It is of fixed size, newer entries take the place of older ones, and it
 * is never more than a hint: what a worker really has in its KV cache only it knows. */
#ifndef CONTROLLER_AFFINITY_H
#define CONTROLLER_AFFINITY_H
#include "protocol/json_scan.h"

#define AFFINITY_BLOCK_BYTES 128 /* shorter prompts go anywhere */
#define AFFINITY_BLOCKS      128 /* of a prompt that are looked at */
#define AFFINITY_SLOTS       8192

struct affinity {
	struct {
		uint64_t hash;
		uint64_t workers; /* bit per worker */
	} slots[AFFINITY_SLOTS];
};

struct affinity_prompt {
	uint64_t hashes[AFFINITY_BLOCKS];
	size_t n;
};

/* The blocks of a generate's prompt; none if it may not share its cache. */
void affinity_read(struct affinity_prompt *p, const char *model, struct json_span params);
/* Blocks at p's beginning that the worker was given before. */
size_t affinity_match(const struct affinity *a, const struct affinity_prompt *p, int worker);
/* The worker is given p. */
void affinity_note(struct affinity *a, const struct affinity_prompt *p, int worker);
/* Its process, and what that had cached, is gone. */
void affinity_forget(struct affinity *a, int worker);
#endif
