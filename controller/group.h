/* group.h - answers that travel together: a JSON-RPC batch array, the results[] of a
 * batch_* method whose items were admitted as calls of their own, or the one of a tools/call.
 *
 * The registry puts each member's answer here instead of writing it; the last one sends
 * the whole. A group frees itself then. Members stay allocated until the bytes are
 * written, since a stream may only start after its handshake. */
#ifndef CONTROLLER_GROUP_H
#define CONTROLLER_GROUP_H
#include "controller/registry.h"

/* A batch array of n elements; each must be finished, refused or skipped once. */
struct group *group_new_array(size_t n);
/* The results of `parent`, n >= 1 items in slots 0..n-1; parent is finished by the last. */
struct group *group_new_results(size_t n, struct call *parent);
/* The one answer that `parent`, a tools/call, is answered with: mcp.h. */
struct group *group_new_tool(struct call *parent);

/* Member c is answered; body NULL = silence. True when it was the last: group_complete(). */
bool group_put(struct group *g, struct call *c, enum answer a, struct json_span body);
/* An element that never became a call; body absent for one that gets no answer. */
bool group_put_raw(
	struct group *g, size_t slot, enum answer a, struct json_span id, struct json_span body);

/* What became of a group, which is freed. */
struct group_whole {
	struct call *parent;  /* NULL: a batch array */
	struct call *members; /* to be released */
	enum answer answer;   /* parent's */
	struct buf text;      /* the message (empty: write nothing), or parent's answer; owned */
};
struct group_whole group_complete(struct group *g);
#endif
