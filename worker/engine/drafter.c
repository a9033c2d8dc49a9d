/* drafter.c - the next step's drafts: asked for, made by a second model, shared by all. */
#include "worker/engine/drafter.h"
#include "protocol/log.h"
#include "worker/engine/lane.h"

/* A new measurement's weight. */
#define WEIGHT 0.125
/* Of what a plain step takes, for each row that a model reads, until it was measured. */
#define FIRST_GUESS 0.1
/* A model reads this much of each text in every round anyway: the last token that held, and
 * the one that was not drafted. */
#define USUAL_LAG 2

static size_t smaller(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* -- one sequence --------------------------------------------------------------------------- */

static size_t context_of(const struct lane *l)
{
	return model_info(l->model)->context_length;
}

static size_t blocks_wanted(const struct sequence *s, const struct lane *d)
{
	const size_t n = smaller(s->n_limit, context_of(d));
	return (n + KV_BLOCK_TOKENS - 1) / KV_BLOCK_TOKENS;
}

static void find_prompt(struct sequence *s, struct lane *d)
{
	const struct job *j = s->job;
	const size_t n_plain = model_info(d->model)->plain_length;
	if (!j->cache_prompt || s->n_prompt > smaller(n_plain, context_of(d)))
		return;
	prefix_enter(&s->drafter.place, d->prefixes, j->cache_scope ? j->cache_scope : "");
	prefix_find(&s->drafter.place, &s->drafter.kv, s->ids, s->n_prompt);
}

void drafter_begin(struct sequence *s)
{
	struct drafter *x = &s->drafter;
	struct lane *d = s->job->draft_model ? model_ref_state(s->job->draft_model) : NULL;
	/* It comes here once more when its task was held or parked meanwhile. */
	if (!d || x->lane || s->spec.max == 0)
		return;
	const size_t n_blocks = blocks_wanted(s, d);
	if (n_blocks > d->capacity.blocks || d->promised.blocks > d->capacity.blocks - n_blocks) {
		log_debug("%s: no room to draft: %zu KV blocks", d->model_id, n_blocks);
		return;
	}
	d->promised.blocks += n_blocks;
	x->lane = d;
	x->n_blocks = n_blocks;
	kv_seq_init(&x->kv, d->kv);
	x->kv.n_prompt = s->n_prompt;
	find_prompt(s, d);
	s->spec.by_model = true;
	s->spec.purse = &d->purse;
	if (d->rate.judged > 0)
		s->spec.rate[DRAFT_MODEL] = draft_rate_prior(&d->rate);
}

void drafter_end(struct sequence *s)
{
	struct drafter *x = &s->drafter;
	if (!x->lane)
		return;
	prefix_leave(&x->place);
	kv_seq_release(&x->kv);
	x->lane->promised.blocks -= x->n_blocks;
	x->lane = NULL;
	x->n_wanted = x->n_made = x->n_rows = 0;
	s->spec.by_model = false;
	s->spec.purse = NULL;
}

void drafter_cut(struct sequence *s, size_t n_tokens)
{
	struct drafter *x = &s->drafter;
	if (x->lane && x->kv.n_tokens > n_tokens)
		kv_truncate(&x->kv, n_tokens);
}

/* -- what a draft would cost ---------------------------------------------------------------- */

struct round {
	struct lane *lane;
	size_t n_ready;  /* sequences that may draft */
	size_t n_models; /* of them from a model */
	size_t n_rows;   /* of the step so far, drafts included */
	double tokens;   /* expected from it so far */
};

static void price_model(const struct round *r, const struct sequence *s, struct draft_prices *p)
{
	const struct lane *d = s->drafter.lane;
	const size_t n = r->n_models > 0 ? r->n_models : 1;
	const size_t lag = s->n_settled - s->drafter.kv.n_tokens;
	const size_t late = lag > USUAL_LAG ? lag - USUAL_LAG : 0;
	double pass;
	/* Unmeasured, it is as fast as its weights are few. */
	if (step_cost_expect(&d->cost, n, 0, &pass) != 0)
		pass = p->rows[0] * (double)model_info(d->model)->weight_bytes /
		       (double)(model_info(r->lane->model)->weight_bytes + 1);
	const double row = d->reading > 0 ? d->reading : FIRST_GUESS * pass;
	p->model_token = pass / (double)n;
	p->model_late = (double)late * row;
	p->model_next = (double)smaller(late, ENGINE_CHUNK_ROWS / n) * row;
}

static void price(
	const struct round *r, const struct sequence *s, size_t n_max, struct draft_prices *p)
{
	p->others = r->tokens - 1;
	p->known = step_cost_expect(&r->lane->cost, r->n_rows, n_max, p->rows) == 0;
	if (p->known && s->drafter.lane)
		price_model(r, s, p);
}

/* -- what is asked for ---------------------------------------------------------------------- */

/* Every token of it is certain, and only the last is still to be computed. */
static bool is_ready(const struct sequence *s)
{
	return !s->ended && s->spec.max > 0 && s->n_ids == s->n_settled &&
	       s->kv.n_tokens + 1 == s->n_settled && s->n_settled > s->n_prompt;
}

static void judge(struct sequence *s)
{
	struct speculation *spec = &s->spec;
	const size_t n = spec->n_in_flight, n_held = s->n_held;
	s->n_held = 0;
	if (n == 0) {
		speculate_plain(spec);
		return;
	}
	if (s->drafter.lane && spec->source == DRAFT_MODEL)
		draft_rate_note(&s->drafter.lane->rate, n_held, n_held < n ? n_held + 1 : n);
	speculate_judged(spec, n_held);
}

void drafter_judge_last(struct sequence *s)
{
	if (s->spec.n_in_flight > 0)
		judge(s);
}

/* What the model can draft: its context and vocabulary may be smaller. */
static size_t model_room(const struct sequence *s)
{
	const struct lane *d = s->drafter.lane;
	const size_t n_context = context_of(d);
	if (s->n_settled >= n_context || (size_t)s->ids[s->n_settled - 1] >= d->vocab_size)
		return 0;
	return n_context - s->n_settled;
}

/* Drafts find the blocks that were promised, and no others. */
static size_t promised_room(const struct sequence *s)
{
	const struct task *t = s->task;
	const size_t n = t->blocks * KV_BLOCK_TOKENS;
	if (t->blocks == t->full_blocks)
		return SIZE_MAX;
	return n > s->n_settled ? n - s->n_settled : 0;
}

static void ask(struct round *r, struct sequence *s, size_t n_max)
{
	struct draft_prices p = { 0 };
	judge(s);
	s->drafter.n_wanted = s->drafter.n_made = 0;
	s->spec.n_left = s->n_limit - s->n_settled;
	n_max = smaller(smaller(n_max, s->spec.max), s->spec.n_left - 1);
	n_max = smaller(n_max, promised_room(s));
	price(r, s, n_max, &p);
	const size_t n =
		speculate_draft(&s->spec, &p, s->ids, s->n_settled, n_max, s->ids + s->n_settled);
	s->n_ids += n;
	if (n == 0 && s->drafter.lane)
		s->drafter.n_wanted = speculate_ask(&s->spec, &p, smaller(n_max, model_room(s)));
	r->n_rows += s->spec.n_in_flight;
	r->tokens += speculate_expected(&s->spec);
}

static void ask_all(struct lane *l)
{
	struct round r = { .lane = l, .n_rows = l->n_running, .tokens = (double)l->n_running };
	for (size_t i = 0; i < l->n_running; i++) {
		r.n_ready += is_ready(l->running[i]);
		r.n_models += is_ready(l->running[i]) && l->running[i]->drafter.lane;
	}
	/* Everyone's drafts together stay within what a step has room for. */
	for (size_t i = 0; i < l->n_running && r.n_ready > 0; i++)
		if (is_ready(l->running[i]))
			ask(&r, l->running[i], (size_t)2 * LIMIT_DRAFT / l->n_running);
}

/* -- what a model makes --------------------------------------------------------------------- */

/* Of l's sequences those that the model of d drafts for in this round. */
static struct sequence *member(const struct lane *l, const struct lane *d, size_t i)
{
	struct sequence *s = l->running[i];
	return !s->ended && s->drafter.lane == d && s->drafter.n_wanted > 0 ? s : NULL;
}

static bool make_room(struct lane *d, struct kv_seq *kv, size_t more)
{
	if (kv_reserve(kv, more) == 0)
		return true;
	prefix_yield(d->prefixes, more / KV_BLOCK_TOKENS + 2);
	return kv_reserve(kv, more) == 0;
}

/* The rows of s that come next, at most n_max; the last one says what follows, if the text ends
 * with it. */
static size_t add_rows(struct lane *d, struct sequence *s, size_t n_max, size_t at)
{
	struct drafter *x = &s->drafter;
	const size_t n_known = s->n_settled + x->n_made, have = x->kv.n_tokens;
	const size_t n = smaller(n_known - have, n_max);
	if (n == 0 || !make_room(d, &x->kv, n))
		return 0;
	for (size_t pos = have; pos < have + n; pos++)
		d->rows[at + pos - have] = (struct batch_row) { .token = s->ids[pos],
			.pos = (int32_t)pos,
			.seq = &x->kv,
			.prefill = pos < s->n_prompt,
			.want_logits = pos + 1 == n_known };
	return n;
}

static void take_token(
	const struct lane *l, struct lane *d, struct sequence *s, const float *logits)
{
	struct drafter *x = &s->drafter;
	struct sampled guess;
	enum stop_detail detail;
	sequence_guess(s, d->sampler, logits, x->n_made, &guess);
	/* A draft ends where it cannot go on. */
	if (guess.id < 0 || (size_t)guess.id >= l->vocab_size) {
		x->n_wanted = x->n_made;
		return;
	}
	s->ids[s->n_settled + x->n_made++] = guess.id;
	if (sequence_is_end(s, guess.id, &detail))
		x->n_wanted = x->n_made;
}

static void measure(struct lane *d, size_t n_rows, size_t n_members, double seconds)
{
	if (n_rows <= n_members * USUAL_LAG) {
		step_cost_note(&d->cost, n_rows, seconds);
		return;
	}
	const double row = seconds / (double)n_rows;
	d->reading = d->reading > 0 ? d->reading + WEIGHT * (row - d->reading) : row;
}

/* It cannot draft for them: they go on without. */
static void give_up(struct lane *l, const struct lane *d)
{
	for (size_t i = 0; i < l->n_running; i++) {
		struct sequence *s = l->running[i];
		if (s->ended || s->drafter.lane != d)
			continue;
		drafter_end(s);
		if (s->spec.source == DRAFT_MODEL)
			speculate_took(&s->spec, 0);
	}
}

/* Rows for everyone who wants another token. */
static size_t gather(const struct lane *l, struct lane *d, size_t *n_members)
{
	size_t n_rows = 0;
	*n_members = 0;
	for (size_t i = 0; i < l->n_running; i++) {
		struct sequence *s = member(l, d, i);
		if (!s)
			continue;
		struct drafter *x = &s->drafter;
		x->n_rows = 0;
		if (x->n_made < x->n_wanted)
			x->n_rows = add_rows(d, s, ENGINE_CHUNK_ROWS - n_rows, n_rows);
		if (x->n_rows == 0)
			x->n_wanted = x->n_made;
		n_rows += x->n_rows;
		*n_members += x->n_rows > 0;
	}
	return n_rows;
}

/* What a pass says to those who had rows in it. */
static void hand_out(const struct lane *l, struct lane *d, double seconds)
{
	const struct batch_row *row = d->rows;
	const float *logits = d->logits;
	for (size_t i = 0; i < l->n_running; i++) {
		struct sequence *s = l->running[i];
		struct drafter *x = &s->drafter;
		if (s->ended || x->lane != d || x->n_rows == 0)
			continue;
		row += x->n_rows;
		x->n_rows = 0;
		x->seconds += seconds;
		if (!row[-1].want_logits) {
			/* It has more to read than one pass holds. */
			x->n_wanted = x->n_made;
			continue;
		}
		take_token(l, d, s, logits);
		logits += d->vocab_size;
	}
}

/* One forward pass of the model; false when nobody wants one. */
static bool pass(struct lane *l, struct lane *d)
{
	struct fault f = { 0 };
	size_t n_members;
	const size_t n_rows = gather(l, d, &n_members);
	if (n_rows == 0)
		return false;
	const double began = clock_now();
	if (model_forward(d->context, d->rows, n_rows, d->logits, &f) != 0) {
		log_warn("%s cannot draft: %s", d->model_id, f.text);
		give_up(l, d);
		return false;
	}
	const double seconds = clock_now() - began;
	measure(d, n_rows, n_members, seconds);
	hand_out(l, d, seconds / (double)n_members);
	return true;
}

static void make_drafts(struct lane *l, struct lane *d)
{
	while (pass(l, d))
		;
	for (size_t i = 0; i < l->n_running; i++) {
		struct sequence *s = l->running[i];
		if (s->ended || s->drafter.lane != d || s->spec.source != DRAFT_MODEL ||
			s->spec.n_in_flight == 0)
			continue;
		prefix_publish(&s->drafter.place, &s->drafter.kv, s->ids, s->n_prompt);
		speculate_took(&s->spec, s->drafter.n_made);
		s->n_ids += s->drafter.n_made;
		s->drafter.n_wanted = 0;
	}
}

void drafter_run(struct lane *l)
{
	ask_all(l);
	for (size_t i = 0; i < l->n_running; i++)
		if (!l->running[i]->ended && l->running[i]->drafter.n_wanted > 0)
			make_drafts(l, l->running[i]->drafter.lane);
}
