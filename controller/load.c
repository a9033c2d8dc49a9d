/* load.c - what workers have to do, in tokens. */
#include "controller/load.h"

static bool has_work(const struct worker *w)
{
	return w->n_calls + w->n_streams > 0;
}

void load_add_calls(struct worker *w, size_t n, size_t n_tokens)
{
	if (!has_work(w))
		fleet_happened(w, SUP_WORK);
	w->n_calls += n;
	w->n_tokens += n_tokens;
}

void load_drop_calls(struct worker *w, size_t n, size_t n_tokens)
{
	w->n_calls -= n;
	w->n_tokens -= n_tokens;
	if (!has_work(w))
		fleet_happened(w, SUP_IDLE);
}

void load_add_stream(struct worker *w, struct stream *s, size_t n_tokens)
{
	if (!has_work(w))
		fleet_happened(w, SUP_WORK);
	s->worker = w->index;
	s->n_owed = n_tokens;
	w->n_streams++;
	w->n_tokens += n_tokens;
}

void load_advance(struct worker *w, struct stream *s, size_t n)
{
	size_t done = n < s->n_owed ? n : s->n_owed;
	s->n_owed -= done;
	w->n_tokens -= done;
}

void load_drop_stream(struct controller *c, struct stream *s)
{
	struct worker *w = fleet_worker(&c->fleet, s->worker);
	if (!w)
		return;
	load_advance(w, s, s->n_owed);
	w->n_streams--;
	s->worker = -1;
	if (!has_work(w))
		fleet_happened(w, SUP_IDLE);
}
