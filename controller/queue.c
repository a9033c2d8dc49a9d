/* queue.c - who waits and who goes next. Stop 7; next: dispatch.c */
#include "controller/queue.h"
#include "protocol/err.h"
#include "protocol/mem.h"
#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TURN_TOKENS  65536
#define RATE_SECONDS 4.0  /* how far back the departure rate remembers */
#define BUSY_S_MIN   1e-3 /* less time than this tells no rate */

void queue_init(struct queue *q, size_t max_calls, size_t max_bytes)
{
	memset(q, 0, sizeof *q);
	q->max_calls = max_calls;
	q->max_bytes = max_bytes;
}

static void lane_free(struct queue *q, struct queue_lane *lane)
{
	if (q->latest == lane)
		q->latest = NULL;
	HASH_DEL(lane->bucket->lanes, lane);
	free(lane);
}

static void bucket_free(struct queue *q, struct queue_bucket *b)
{
	HASH_DEL(q->buckets, b);
	free(b->name);
	free(b->model);
	free(b->beside);
	free(b);
}

void queue_release(struct queue *q)
{
	struct queue_bucket *b, *tmp;
	assert(q->n_calls == 0);
	HASH_ITER (hh, q->buckets, b, tmp)
		bucket_free(q, b);
}

void queue_settle(struct queue *q, struct queue_bucket *b)
{
	if (b->n_calls == 0 && b->n_in_flight == 0)
		bucket_free(q, b);
}

/* A model id holds no blank, so a blank separates. */
static struct queue_bucket *bucket_get(struct queue *q, const struct queue_place *p)
{
	char name[2048];
	int n = snprintf(name, sizeof name, "%s%c %s %s %d", p->method_name,
		p->is_suspect ? '!'
		: p->gathers  ? '+'
			      : '-',
		p->model, p->beside ? p->beside : "", p->worker);
	if (n < 0 || (size_t)n >= sizeof name)
		return NULL;
	struct queue_bucket *b;
	HASH_FIND_STR(q->buckets, name, b);
	if (b)
		return b;
	b = xcalloc(1, sizeof *b);
	b->name = xstrndup(name, (size_t)n);
	b->model = xstrdup(p->model);
	b->beside = p->beside ? xstrdup(p->beside) : NULL;
	b->worker = p->worker;
	b->method = p->method;
	b->gathers = p->gathers;
	b->is_suspect = p->is_suspect;
	for (int i = 0; i < QUEUE_N_PRIORITIES; i++)
		TAILQ_INIT(&b->turns[i]);
	TAILQ_INIT(&b->arrivals);
	HASH_ADD_KEYPTR(hh, q->buckets, b->name, (size_t)n, b);
	return b;
}

/* Behind those that had as much. */
static void stand_in_line(struct queue_lane *lane)
{
	struct queue_lanes *line = &lane->bucket->turns[lane->priority];
	struct queue_lane *at = TAILQ_LAST(line, queue_lanes);
	while (at && at->n_served > lane->n_served)
		at = TAILQ_PREV(at, queue_lanes, next);
	if (at)
		TAILQ_INSERT_AFTER(line, at, lane, next);
	else
		TAILQ_INSERT_HEAD(line, lane, next);
}

static struct queue_lane *lane_get(struct queue_bucket *b, const struct queue_place *p)
{
	size_t n = strlen(p->client) + 2;
	struct queue_lane *lane = xcalloc(1, sizeof *lane + n), *known;
	snprintf(lane->key, n, "%d%s", (int)p->priority, p->client);
	HASH_FIND_STR(b->lanes, lane->key, known);
	if (known) {
		free(lane);
		return known;
	}
	lane->bucket = b;
	lane->priority = p->priority;
	TAILQ_INIT(&lane->items);
	HASH_ADD_KEYPTR(hh, b->lanes, lane->key, n - 1, lane);
	struct queue_lane *least = TAILQ_FIRST(&b->turns[p->priority]);
	lane->n_served = least ? least->n_served : 0;
	stand_in_line(lane);
	return lane;
}

static bool is_same(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

static bool is_of(const struct queue_bucket *b, const char *method_name)
{
	const size_t n = strlen(method_name);
	return strncmp(b->name, method_name, n) == 0 && strchr("!+-", b->name[n]);
}

/* Calls come in runs: most go where the one before them went. */
static bool is_latest(const struct queue *q, const struct queue_place *p)
{
	const struct queue_lane *lane = q->latest;
	const struct queue_bucket *b = lane ? lane->bucket : NULL;
	return lane && b->method == p->method && is_of(b, p->method_name) &&
	       b->worker == p->worker && b->gathers == p->gathers &&
	       b->is_suspect == p->is_suspect && is_same(b->model, p->model) &&
	       is_same(b->beside, p->beside) && lane->priority == p->priority &&
	       is_same(lane->key + 1, p->client);
}

static double rate(const struct queue *q)
{
	return q->n_left / (q->busy_s > BUSY_S_MIN ? q->busy_s : BUSY_S_MIN);
}

/* Time in which nobody waits says nothing about how fast calls leave. */
static void note_time(struct queue *q, uint64_t now)
{
	if (now == q->seen_us && q->n_calls)
		return;
	double dt = q->n_calls && now > q->seen_us ? (double)(now - q->seen_us) / 1e6 : 0;
	double left = q->n_calls ? q->n_told - rate(q) * dt : 0;
	double kept = exp(-dt / RATE_SECONDS);
	q->n_told = left > 0 ? left : 0;
	q->n_left *= kept;
	q->busy_s = q->busy_s * kept + dt;
	q->seen_us = now;
}

int queue_push(struct queue *q, const struct queue_place *p, struct queue_item *it, uint64_t now)
{
	size_t left = q->max_bytes > q->n_bytes ? q->max_bytes - q->n_bytes : 0;
	bool is_full = q->n_calls >= q->max_calls || (q->n_calls > 0 && it->n_bytes > left);
	note_time(q, now);
	if (is_full && !p->is_suspect)
		return ERR_OVERLOADED;
	if (!is_latest(q, p)) {
		struct queue_bucket *known = bucket_get(q, p);
		if (!known)
			return ERR_OVERLOADED;
		q->latest = lane_get(known, p);
	}
	struct queue_bucket *b = q->latest->bucket;
	it->lane = q->latest;
	it->since_us = now;
	TAILQ_INSERT_TAIL(&it->lane->items, it, next);
	TAILQ_INSERT_TAIL(&b->arrivals, it, in_order);
	b->n_calls++;
	q->n_calls++;
	q->n_bytes += it->n_bytes;
	return 0;
}

/* One call does not keep its client away for longer than the longest text would. */
static uint64_t cost_of_turn(const struct queue_item *it)
{
	return it->n_tokens < 1 ? 1 : it->n_tokens < TURN_TOKENS ? it->n_tokens : TURN_TOKENS;
}

/* Takes it out of its lane; an emptied lane goes, a served one has had its turn. */
static void take(struct queue *q, struct queue_item *it, bool served)
{
	struct queue_lane *lane = it->lane;
	assert(lane);
	struct queue_bucket *b = lane->bucket;
	TAILQ_REMOVE(&lane->items, it, next);
	TAILQ_REMOVE(&b->arrivals, it, in_order);
	b->n_calls--;
	q->n_calls--;
	q->n_bytes -= it->n_bytes;
	it->lane = NULL;
	bool empty = TAILQ_EMPTY(&lane->items);
	if (served || empty)
		TAILQ_REMOVE(&b->turns[lane->priority], lane, next);
	if (empty) {
		lane_free(q, lane);
	} else if (served) {
		lane->n_served += cost_of_turn(it);
		stand_in_line(lane);
	}
}

void queue_remove(struct queue *q, struct queue_item *it)
{
	struct queue_bucket *b = it->lane->bucket;
	take(q, it, false);
	queue_settle(q, b);
}

/* The call whose turn it is: of the three heads the one that arrived first, a level of
 * priority counting as AGE. */
struct queue_item *queue_peek(struct queue_bucket *b)
{
	struct queue_item *best = NULL;
	uint64_t best_rank = 0;
	for (int p = 0; p < QUEUE_N_PRIORITIES; p++) {
		struct queue_lane *lane = TAILQ_FIRST(&b->turns[p]);
		if (!lane)
			continue;
		struct queue_item *it = TAILQ_FIRST(&lane->items);
		uint64_t rank = it->since_us + (uint64_t)p * QUEUE_AGE_US;
		if (!best || rank < best_rank) {
			best = it;
			best_rank = rank;
		}
	}
	return best;
}

size_t queue_pop(struct queue *q, struct queue_bucket *b, struct queue_item **out,
	const struct batch_caps *caps, uint64_t now)
{
	size_t n = 0, room = caps->n_bytes;
	note_time(q, now);
	while (n < caps->n_calls && b->n_calls > 0) {
		struct queue_item *it = queue_peek(b);
		if (n > 0 && it->n_bytes > room)
			break;
		room -= it->n_bytes < room ? it->n_bytes : room;
		take(q, it, true);
		out[n++] = it;
	}
	q->n_left += (double)n;
	return n;
}

struct queue_item *queue_find_model(struct queue *q, const char *model)
{
	for (struct queue_bucket *b = q->buckets; b; b = b->hh.next)
		if (b->n_calls > 0 && (!model || !strcmp(b->model, model)))
			return TAILQ_FIRST(&b->arrivals);
	return NULL;
}

uint64_t queue_oldest(const struct queue_bucket *b)
{
	return TAILQ_FIRST(&b->arrivals)->since_us;
}

unsigned queue_retry_after_ms(struct queue *q, uint64_t now)
{
	note_time(q, now);
	double ahead = (double)q->n_calls + q->n_told++, r = rate(q);
	double ms = r > 1e-3 ? 1e3 * ahead / r : 30e3;
	return ms < 50 ? 50 : ms > 30e3 ? 30000 : (unsigned)ms;
}
