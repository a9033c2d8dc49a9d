/* flow.c - credit for workers, from what the host has read. */
#include "controller/flow.h"

/* Tokens that an acknowledgement is worth sending for: a quarter of the window keeps the
 * worker going and costs little. */
static size_t step(const struct stream *s)
{
	return s->window / 4 ? s->window / 4 : 1;
}

static void tell(struct controller *c, struct stream *s)
{
	const struct worker *w = fleet_worker(&c->fleet, s->worker);
	const size_t n = s->is_acked ? s->n_acked : s->n_read;
	if (!w || !w->peer || n < s->n_told + step(s))
		return;
	struct buf params = BUF_INIT;
	buf_addc(&params, '{');
	jout_key_cstr(&params, "stream_id", s->id);
	jout_key_int(&params, "index", (int64_t)(s->n_before + n) - 1);
	buf_addc(&params, '}');
	peer_notify(w->peer, "stream.ack", (struct json_span) { params.data, params.n_bytes });
	buf_release(&params);
	s->n_told = n;
}

void flow_passed(struct controller *c, struct stream *s)
{
	if (!s->window || !s->is_open || s->is_marked || s->is_acked ||
		s->n_tokens < s->n_read + step(s))
		return;
	s->is_marked = true;
	s->mark_at = host_given(c->host);
	s->mark_tokens = s->n_tokens;
	TAILQ_INSERT_TAIL(&c->marks, s, marks);
}

static void unmark(struct controller *c, struct stream *s)
{
	if (s->is_marked)
		TAILQ_REMOVE(&c->marks, s, marks);
	s->is_marked = false;
}

void flow_drained(struct controller *c)
{
	struct stream *s;
	const uint64_t taken = host_taken(c->host);
	/* Marks are made at the end of what was given, so they lie in order. */
	while ((s = TAILQ_FIRST(&c->marks)) != NULL && s->mark_at <= taken) {
		unmark(c, s);
		s->n_read = s->mark_tokens;
		tell(c, s);
		flow_passed(c, s);
	}
}

void flow_acked(struct controller *c, struct stream *s, size_t n)
{
	s->is_acked = true;
	unmark(c, s);
	n = n > s->n_before ? n - s->n_before : 0;
	if (n > s->n_tokens)
		n = s->n_tokens;
	if (n > s->n_acked)
		s->n_acked = n;
	tell(c, s);
}

void flow_begin(struct stream *s)
{
	s->n_told = s->n_tokens;
}

void flow_forget(struct controller *c, struct stream *s)
{
	unmark(c, s);
}
