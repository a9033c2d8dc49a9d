/* calibrate.c - check_draft's measure: the same text with drafts and without. */
#include "worker/calibrate.h"
#include "protocol/mem.h"
#include "worker/check_draft.h"
#include "worker/generate_request.h"
#include "worker/models.h"
#include "worker/params.h"
#include "worker/unheard.h"
#include <stdlib.h>

#define TEXT_TOKENS  48
#define FIXED_DRAFT  6 /* long enough to see how acceptance falls */
#define USUAL_DRAFT  16
#define DRAFT_LENGTH 16 /* longest that is weighed */

enum round { ROUND_WARM, ROUND_PLAIN, ROUND_FIXED, ROUND_ADAPTIVE, ROUNDS };

struct measuring {
	struct call call; /* first: a call * is a measuring * */
	struct worker *w;
	struct letter letter;
	struct reply *reply;
	struct json_object *params;
	struct model_ref *primary, *draft;
	double arrived;
	uint64_t key; /* of the round's job */
	int round;
	bool cancelled, silent;
	struct job_result results[ROUNDS]; /* their times and counts */
};

/* -- arithmetic ------------------------------------------------------------------------------ */

/* A draft's token is looked at if all before it held. */
static double acceptance(const struct draft_counts *c)
{
	double judged = 0, held = 0;
	for (size_t i = 0; i < LIMIT_DRAFT && c->drafted[i] > 0; i++) {
		const uint32_t came = i == 0 ? c->drafted[0] : c->accepted[i - 1];
		judged += came < c->drafted[i] ? came : c->drafted[i];
		held += c->accepted[i];
	}
	return judged > 0 ? held / judged : 0;
}

static double rate(const struct job_result *r)
{
	return r->completion_tokens > 1 && r->decode_ms > 0
		       ? (double)(r->completion_tokens - 1) / (r->decode_ms / 1e3)
		       : 0;
}

/* The length that yields most tokens per second (Leviathan et al., 2023). */
static size_t best_length(const struct calibration *c)
{
	double tokens = 1, power = 1, best = c->step_s > 0 ? 1 / c->step_s : 0;
	size_t length = 0;
	for (size_t k = 1; k <= DRAFT_LENGTH; k++) {
		power *= c->acceptance;
		tokens += power;
		const double took = c->step_s + (double)k * (c->draft_row_s + c->drafted_token_s);
		if (took <= 0 || tokens / took <= best)
			continue;
		best = tokens / took;
		length = k;
	}
	return length;
}

static void conclude(const struct job_result results[ROUNDS], struct calibration *c)
{
	const struct job_result *fixed = &results[ROUND_FIXED];
	const double n_drafted = (double)fixed->n_drafted;
	/* The first token is not decoded; every other step gave one beside what held. */
	const double n_steps = (double)fixed->completion_tokens - 1 - (double)fixed->accepted;
	*c = (struct calibration) { .acceptance = acceptance(&fixed->by_position),
		.plain = rate(&results[ROUND_PLAIN]),
		.drafted = rate(&results[ROUND_ADAPTIVE]) };
	c->step_s = c->plain > 0 ? 1 / c->plain : 0;
	if (n_drafted > 0 && n_steps > 0) {
		const double step = (fixed->decode_ms - fixed->draft_ms) / 1e3 / n_steps;
		const double rows = (step - c->step_s) / (n_drafted / n_steps);
		c->draft_row_s = rows > 0 ? rows : 0;
		c->drafted_token_s = fixed->draft_ms / 1e3 / n_drafted;
	}
	c->best_draft = best_length(c);
}

/* -- rounds ---------------------------------------------------------------------------------- */

static void on_done(void *arg, int choice, const struct job_result *r, const char *tail,
	size_t n_tail, bool last)
{
	struct measuring *m = arg;
	(void)choice;
	(void)tail;
	(void)n_tail;
	m->results[m->round] = *r;
	if (last)
		mailbox_send(&m->w->mail, &m->letter);
}

static void begin_round(struct measuring *m)
{
	static const struct job_sink sink = { .tokens = unheard_tokens, .done = on_done };
	const int64_t timeout = params_int(m->params, "timeout_ms", 0);
	struct job *j = unheard_new(m->w, model_ref_take(m->primary),
		m->round == ROUND_WARM ? FIXED_DRAFT : TEXT_TOKENS);
	m->key = j->key;
	if (m->round != ROUND_PLAIN) {
		j->draft_model = model_ref_take(m->draft);
		j->draft_always = m->round != ROUND_ADAPTIVE;
		j->max_draft = j->draft_always ? FIXED_DRAFT : USUAL_DRAFT;
	}
	generate_request_sampling(j, NULL, NULL, NULL);
	j->sampling.seed = 0;
	j->priority = generate_request_priority(params_str(m->params, "priority"));
	j->deadline = timeout > 0 ? m->arrived + (double)timeout / 1e3 : 0;
	j->sink = &sink;
	j->sink_arg = m;
	engine_submit(m->w->engine, j);
}

static void end(struct measuring *m, struct fault *f)
{
	struct worker *w = m->w;
	struct calibration c;
	if (m->silent) {
		reply_drop(m->reply);
	} else if (f) {
		reply_fault(m->reply, f);
	} else {
		conclude(m->results, &c);
		check_draft_answer(m->reply, m->primary, m->draft, &c);
	}
	calls_over(&w->calls, &m->call);
	json_object_put(m->params);
	model_ref_release(m->primary);
	model_ref_release(m->draft);
	free(m);
	models_call_over(w);
}

static void on_round_over(struct letter *l)
{
	struct measuring *m = HOLDER(l, struct measuring, letter);
	struct fault f = m->results[m->round].fault;
	switch (m->results[m->round].finish) {
	case FINISH_STOP:
	case FINISH_LENGTH: break;
	case FINISH_SLOW_CONSUMER: /* only of streams */
	case FINISH_CANCELLED: m->cancelled = true; break;
	case FINISH_TIMEOUT:
		fault_set(&f, ERR_TIMEOUT, "the pair was not measured within timeout_ms");
		break;
	case FINISH_ERROR: break;
	}
	if (m->cancelled)
		fault_set(&f, ERR_CANCELLED, "the request was cancelled");
	if (f.err || ++m->round == ROUNDS)
		end(m, f.err ? &f : NULL);
	else
		begin_round(m);
}

static void on_cancel(struct call *c, enum cancel_how how)
{
	struct measuring *m = (struct measuring *)c;
	m->cancelled = true;
	m->silent = m->silent || how == CANCEL_SILENT;
	engine_cancel(m->w->engine, m->key);
}

void calibrate_start(struct request *rq, struct model_ref *primary, struct model_ref *draft)
{
	struct measuring *m = xcalloc(1, sizeof *m);
	m->w = rq->w;
	m->reply = rq->reply;
	m->params = rq->params;
	m->primary = primary;
	m->draft = draft;
	m->arrived = rq->arrived;
	m->call.cancel = on_cancel;
	m->call.model = primary;
	m->call.draft = draft;
	m->letter.open = on_round_over;
	calls_add(&m->w->calls, &m->call, m->reply, NULL);
	begin_round(m);
}
