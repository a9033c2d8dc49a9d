/* poison.c - what is remembered of requests that ended workers. */
#include "controller/poison.h"
#include "controller/splice.h"
#include "protocol/mem.h"
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

struct poison_entry {
	uint64_t digest;
	uint64_t at_us;
	struct buf asked, error;
	TAILQ_ENTRY(poison_entry) next;
};

void poison_init(struct poison *p)
{
	TAILQ_INIT(&p->known);
	p->n = p->n_bytes = 0;
}

static void drop(struct poison *p, struct poison_entry *e)
{
	TAILQ_REMOVE(&p->known, e, next);
	p->n--;
	p->n_bytes -= e->asked.n_bytes + e->error.n_bytes;
	buf_release(&e->asked);
	buf_release(&e->error);
	free(e);
}

void poison_forget(struct poison *p)
{
	while (!TAILQ_EMPTY(&p->known))
		drop(p, TAILQ_FIRST(&p->known));
}

/* What a request asks for, without what says how, when and to whom. */
static void write_asked(struct buf *out, const char *method, struct json_span params)
{
	static const char *const delivery[] = { "timeout_ms", "_meta", "workDoneToken",
		"idempotency_key", "stream_id", "client", "priority", "resume", NULL };
	buf_adds(out, method);
	splice_without(out, params, delivery);
}

/* The digest finds, the bytes decide: nobody can have another's request refused. */
static struct poison_entry *find(const struct poison *p, const struct buf *asked)
{
	const uint64_t digest = XXH3_64bits(asked->data, asked->n_bytes);
	struct poison_entry *e;
	TAILQ_FOREACH (e, &p->known, next)
		if (e->digest == digest && e->asked.n_bytes == asked->n_bytes &&
			!memcmp(e->asked.data, asked->data, asked->n_bytes))
			return e;
	return NULL;
}

static void settle(struct poison *p, uint64_t now_us)
{
	struct poison_entry *e;
	while ((e = TAILQ_FIRST(&p->known)) != NULL &&
		(p->n > POISON_KEPT || p->n_bytes > POISON_BYTES ||
			now_us - e->at_us > POISON_KEEP_US))
		drop(p, e);
}

void poison_note(struct poison *p, const char *method, struct json_span params,
	struct json_span error, uint64_t now_us)
{
	struct poison_entry *e = xcalloc(1, sizeof *e), *old;
	write_asked(&e->asked, method, params);
	if ((old = find(p, &e->asked)) != NULL)
		drop(p, old);
	e->digest = XXH3_64bits(e->asked.data, e->asked.n_bytes);
	e->at_us = now_us;
	buf_add(&e->error, error.at, error.n);
	p->n++;
	p->n_bytes += e->asked.n_bytes + e->error.n_bytes;
	TAILQ_INSERT_TAIL(&p->known, e, next);
	settle(p, now_us);
}

bool poison_find(struct poison *p, const char *method, struct json_span params, uint64_t now_us,
	struct json_span *error)
{
	struct buf asked = BUF_INIT;
	const struct poison_entry *e = NULL;
	settle(p, now_us);
	if (p->n > 0) {
		write_asked(&asked, method, params);
		e = find(p, &asked);
		buf_release(&asked);
	}
	if (e)
		*error = (struct json_span) { e->error.data, e->error.n_bytes };
	return e != NULL;
}
