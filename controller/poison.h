/* poison.h - requests that are known to end workers: refused before another one dies.
 *
 * What was refused as poison (retry.h) is remembered for a time, if its last worker had nothing
 * else to do: then no other request and no kill from outside can have been the cause. The same
 * request is one of the same method with the same params, byte for byte, but for those that say
 * how it is delivered; whoever sends it gets the same error. A model that is loaded anew and
 * workers that are replaced may bear it: then nothing is remembered. Bounded, the oldest going
 * first. */
#ifndef CONTROLLER_POISON_H
#define CONTROLLER_POISON_H
#include "protocol/buf.h"
#include "protocol/json_scan.h"
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#define POISON_KEEP_US (600 * UINT64_C(1000000))
#define POISON_KEPT    64                /* requests, */
#define POISON_BYTES   ((size_t)4 << 20) /* all together */

struct poison {
	TAILQ_HEAD(poison_list, poison_entry) known; /* the oldest first */
	size_t n, n_bytes;
};

void poison_init(struct poison *p);
void poison_forget(struct poison *p); /* all of it */

/* params: an object. error: the error object it was answered with. */
void poison_note(struct poison *p, const char *method, struct json_span params,
	struct json_span error, uint64_t now_us);
/* True: it is known; *error, valid until p changes, is what to answer. */
bool poison_find(struct poison *p, const char *method, struct json_span params, uint64_t now_us,
	struct json_span *error);
#endif
