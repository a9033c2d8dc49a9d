/* queue.h - admitted calls that no worker has yet: bounded, fair, aged.
 *
 * Calls wait in buckets (method, model, gathered or alone). Inside a bucket the three
 * priorities are served urgent first, except that one level of priority is worth AGE of
 * waiting, so that nothing waits for ever. Inside a priority the clients take turns by tokens: next
 * is who had the fewest, counted by what their calls asked for, and who comes new begins with
 * what the least served of those waiting had. Each client's calls keep their order. No clocks:
 * times come as arguments. A queued call is owned by the queue; the queue embeds `struct
 * queue_item` in it and never looks at the rest. */
#ifndef CONTROLLER_QUEUE_H
#define CONTROLLER_QUEUE_H
#include "controller/batch.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <uthash.h>

#define QUEUE_AGE_US      UINT64_C(2000000)
#define QUEUE_WORKERS_MAX 64

enum queue_priority { QUEUE_URGENT, QUEUE_DEFAULT, QUEUE_BACKGROUND, QUEUE_N_PRIORITIES };

struct queue_lane;

struct queue_item {
	TAILQ_ENTRY(queue_item) next;     /* in its lane */
	TAILQ_ENTRY(queue_item) in_order; /* of arrival, in its bucket */
	struct queue_lane *lane;          /* NULL = not queued */
	uint64_t since_us;
	size_t n_bytes;
	size_t n_tokens; /* of work it asks for, cost.h */
};
TAILQ_HEAD(queue_items, queue_item);

/* One client's calls of one priority. */
struct queue_lane {
	TAILQ_ENTRY(queue_lane) next;
	struct queue_bucket *bucket;
	enum queue_priority priority;
	uint64_t n_served; /* tokens; lanes of a priority stand in this order */
	struct queue_items items;
	UT_hash_handle hh;
	char key[]; /* priority digit, client */
};
TAILQ_HEAD(queue_lanes, queue_lane);

struct queue_bucket {
	char *name; /* the hash key; method_name is how it begins */
	char *model;
	char *beside;       /* a second model its calls need at the same worker, or NULL */
	int worker;         /* that has the stream its calls are about; -1 = any will do */
	const void *method; /* the caller's; the same for every call of the bucket */
	bool gathers, is_suspect;
	struct queue_lanes turns[QUEUE_N_PRIORITIES];
	struct queue_lane *lanes; /* the same, by key */
	struct queue_items arrivals;
	size_t n_calls;
	unsigned in_flight[QUEUE_WORKERS_MAX]; /* frames at each worker; kept by dispatch */
	unsigned n_in_flight;
	UT_hash_handle hh;
};

struct queue {
	struct queue_bucket *buckets; /* uthash, in order of creation */
	size_t n_calls, n_bytes;
	size_t max_calls, max_bytes;
	double n_left, busy_s; /* departures, and seconds in which calls waited; both decay */
	double n_told;         /* refused callers that are still to come back, as far as is known */
	uint64_t seen_us;      /* up to when these three count */
	struct queue_lane *latest; /* where the last call was put, if it is still there */
};

/* Where a call goes. */
struct queue_place {
	const char *method_name;
	const void *method;
	const char *model;
	const char *beside; /* or NULL */
	int worker;         /* or -1 */
	const char *client; /* "" = the anonymous one */
	enum queue_priority priority;
	bool gathers;
	bool is_suspect; /* its worker died: it goes by itself, and was let in before, so that the
			    bounds do not hold for it */
};

void queue_init(struct queue *q, size_t max_calls, size_t max_bytes);
void queue_release(struct queue *q); /* must be empty of calls */

/* 0, or ERR_OVERLOADED and nothing queued. An empty queue takes a call of any size: it would
 * not become smaller by waiting. */
int queue_push(struct queue *q, const struct queue_place *p, struct queue_item *it, uint64_t now);

/* The call that queue_pop() would take first; b->n_calls must not be 0. */
struct queue_item *queue_peek(struct queue_bucket *b);

/* The calls of the bucket that should leave, in order, within the caps; the first goes
 * whatever its size. Returns how many; out holds caps->n_calls. */
size_t queue_pop(struct queue *q, struct queue_bucket *b, struct queue_item **out,
	const struct batch_caps *caps, uint64_t now);

void queue_remove(struct queue *q, struct queue_item *it);

/* Any call of that model (of any, for NULL), still queued; NULL when there is none. */
struct queue_item *queue_find_model(struct queue *q, const char *model);

/* The earliest arrival in the bucket; b->n_calls must not be 0. */
uint64_t queue_oldest(const struct queue_bucket *b);

/* Frees the bucket if nothing waits or is in flight; it is looked up by name again. */
void queue_settle(struct queue *q, struct queue_bucket *b);

/* When the caller just refused should come back: the time that those waiting, and those refused
 * before it, need at the rate at which calls leave while any wait; 50 ms to 30 s. So a crowd
 * that is sent away does not come back all at once. */
unsigned queue_retry_after_ms(struct queue *q, uint64_t now);
#endif
