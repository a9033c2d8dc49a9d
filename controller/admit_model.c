/* admit_model.c - a call to a model: as much of it as routing needs, then registry.c and
 * the queue. */
#include "controller/admit.h"
#include "controller/cancel.h"
#include "controller/clock.h"
#include "controller/cost.h"
#include "controller/dispatch.h"
#include "controller/progress.h"
#include "controller/splice.h"
#include "protocol/limits.h"
#include "protocol/log.h"
#include "protocol/mem.h"
#include <stdlib.h>
#include <string.h>

/* -- what routing reads ----------------------------------------------------------------- */

#define CLIENT_BYTES (4 * LIMIT_STREAM_ID + 1)

struct routing {
	struct json_span model_id, primary_id, draft_id, stream_id, timeout_ms, priority, client;
	struct json_span stream, streaming, stream_options, meta, work_done, measure, key;
	struct json_span resume_tokens, resume_choices;
	char model[LIMIT_MODEL_ID + 1];
	char beside[LIMIT_MODEL_ID + 1]; /* "" = none */
	char stream_name[CLIENT_BYTES];  /* "" = to be made up */
	char client_name[CLIENT_BYTES];
	char key_text[4 * LIMIT_IDEMPOTENCY + 1];
	int64_t timeout;
	enum queue_priority rank;
	bool wants_stream;
};

static void find_members(struct json_span params, struct routing *r)
{
	enum { N_NAMES = 17 };
	static const char *const names[N_NAMES] = { "model_id", "primary_id", "draft_id",
		"draft_model", "stream_id", "timeout_ms", "priority", "client", "stream",
		"streaming", "stream_options", "_meta", "workDoneToken", "measure",
		"idempotency_key", "resume_tokens", "resume_choices" };
	struct json_span *const slots[N_NAMES] = { &r->model_id, &r->primary_id, &r->draft_id,
		&r->draft_id, &r->stream_id, &r->timeout_ms, &r->priority, &r->client, &r->stream,
		&r->streaming, &r->stream_options, &r->meta, &r->work_done, &r->measure, &r->key,
		&r->resume_tokens, &r->resume_choices };
	struct json_cursor c = json_iterate(params);
	struct json_span key, value;
	while (json_next_member(&c, &key, &value)) {
		const size_t i = json_str_among(key, names, N_NAMES);
		/* null is the same as absent, for the params read here */
		if (i < N_NAMES && json_kind(value) != 'n')
			*slots[i] = value;
	}
}

static bool read_text(struct json_span v, char *out, size_t cap)
{
	return !v.at || (json_copy_str(v, out, cap) && out[0]);
}

static bool read_priority(struct json_span v, enum queue_priority *out)
{
	static const char *const names[] = { "urgent", "default", "background" };
	*out = QUEUE_DEFAULT;
	if (!v.at)
		return true;
	for (int i = 0; i < QUEUE_N_PRIORITIES; i++) {
		if (!json_str_is(v, names[i]))
			continue;
		*out = (enum queue_priority)i;
		return true;
	}
	return false;
}

/* False if a member the controller needs is not what it should be. */
static bool read_routing(const struct method *m, struct json_span params, struct routing *r)
{
	/* The texts are kilobytes, of which a call uses a few bytes. */
	memset(r, 0, offsetof(struct routing, model));
	r->model[0] = r->beside[0] = r->stream_name[0] = r->client_name[0] = r->key_text[0] = '\0';
	r->timeout = 0;
	r->rank = QUEUE_DEFAULT;
	find_members(params, r);
	struct json_span model = r->model_id.at ? r->model_id : r->primary_id;
	struct json_span stream = r->stream.at ? r->stream : r->streaming;
	r->wants_stream = m->cls == METHOD_STREAM;
	bool ok = model.at && read_text(model, r->model, sizeof r->model);
	ok = ok && read_text(r->draft_id, r->beside, sizeof r->beside);
	ok = ok && read_text(r->stream_id, r->stream_name, sizeof r->stream_name);
	ok = ok && read_text(r->client, r->client_name, sizeof r->client_name);
	ok = ok && read_text(r->key, r->key_text, sizeof r->key_text);
	ok = ok && read_priority(r->priority, &r->rank);
	if (r->timeout_ms.at)
		ok = ok && json_get_int(r->timeout_ms, &r->timeout) && r->timeout >= 0 &&
		     r->timeout <= LIMIT_TIMEOUT_MS;
	if (stream.at && m->cls == METHOD_STREAM)
		ok = ok && json_get_bool(stream, &r->wants_stream);
	return ok;
}

/* -- calls to a model ------------------------------------------------------------------- */

struct admission {
	struct controller *c;
	const struct method *method;
	struct json_span id, params;
	struct call_seat seat;
	uint64_t now_us;
	bool is_again;     /* it was admitted before */
	struct buf bare;   /* params without idempotency_key, if it came with one */
	struct buf edited; /* params with a stream_id of ours, if it came without */
	struct routing r;  /* read_routing() fills it in */
};

static void admission_init(
	struct admission *a, struct controller *c, const struct method *m, uint64_t now_us)
{
	memset(a, 0, offsetof(struct admission, r));
	a->c = c;
	a->method = m;
	a->now_us = now_us;
}

/* Of a call with an idempotency_key. */
struct key {
	char *name; /* NULL = it has none */
	struct once_digest asked;
};

static void on_overdue(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	struct call *call = arg;
	cancel_overdue(call->controller, call);
}

void admit_time(struct controller *c, struct call *call)
{
	if (!call->deadline_us || call->timer)
		return;
	struct json_span v = json_find(call->params, "timeout_ms");
	uint64_t now = clock_us();
	uint64_t left = call->deadline_us > now ? call->deadline_us - now : 0;
	struct timeval tv = { (time_t)(left / 1000000), (suseconds_t)(left % 1000000) };
	call->timeout_at = v.at ? (size_t)(v.at - call->params.at) : 0;
	call->n_timeout = v.n;
	call->timer = evtimer_new(c->base, on_overdue, call);
	event_add(call->timer, &tv);
}

static int refuse_unloaded(const struct admission *a, struct fault *f)
{
	/* A request that is wrong in itself is told so first: it will never work. */
	if (admit_check(a->method, a->params, f) < 0)
		return f->err;
	fault_set(f, ERR_MODEL_NOT_LOADED, "Model not loaded: %s", a->r.model);
	fault_add_str(f, "model_id", a->r.model);
	return ERR_MODEL_NOT_LOADED;
}

/* Reserve the stream's name; one that is made up is put into the params, so that worker
 * and controller speak of the same. */
static int name_stream(struct admission *a, struct stream **out, struct fault *f)
{
	struct streams *ss = &a->c->streams;
	char *name = a->r.stream_name;
	bool is_given = *name;
	if (!is_given)
		stream_make_id(ss, name, sizeof a->r.stream_name);
	*out = stream_reserve(ss, name);
	if (!*out) {
		fault_set(f, ERR_INVALID_PARAMS, "Stream ID '%s' is already in use", name);
		fault_add_str(f, "path", "stream_id");
		return ERR_INVALID_PARAMS;
	}
	if (!is_given) {
		struct buf quoted = BUF_INIT;
		jout_cstr(&quoted, name);
		splice_set(&a->edited, a->params, "stream_id",
			(struct json_span) { quoted.data, quoted.n_bytes });
		buf_release(&quoted);
		a->params = (struct json_span) { a->edited.data, a->edited.n_bytes };
	}
	return 0;
}

static int check_routing(struct admission *a, struct fault *f)
{
	const struct method *m = a->method;
	if (m->refused)
		return fault_set(f, ERR_INVALID_PARAMS, "%s", m->refused);
	if (!read_routing(m, a->params, &a->r)) {
		/* Only check_draft may go without a model_id. */
		if (admit_check(m, a->params, f) == 0) {
			fault_set(f, ERR_INVALID_PARAMS,
				"give primary_id and draft_id, or model_id with a prompt and a "
				"draft");
			fault_add_str(f, "path", "primary_id");
		}
		return f->err;
	}
	return 0;
}

static int check_model(struct admission *a, struct stream **stream, struct fault *f)
{
	const struct model *model = models_find(&a->c->models, a->r.model);
	if (!model || (!model_is_expected(model) && !model->is_failed))
		return refuse_unloaded(a, f);
	return a->method->cls == METHOD_STREAM ? name_stream(a, stream, f) : 0;
}

static void overload(struct controller *c, struct call *call)
{
	struct fault f;
	c->metrics.counts[METRICS_OVERLOADS]++;
	fault_set(&f, ERR_OVERLOADED, "Overloaded: %zu requests of %zu bytes are waiting",
		c->queue.n_calls, c->queue.n_bytes);
	fault_add_int(&f, "depth", (int64_t)c->queue.n_calls);
	fault_add_int(&f, "retry_after_ms", queue_retry_after_ms(&c->queue, clock_us()));
	registry_fail(c->registry, call, &f);
}

/* What a stream that goes on has behind it is prompt now, and no longer to be generated. */
static size_t cost_of(const struct call *call)
{
	size_t n = cost_estimate(call->method, call->params);
	size_t done = call->is_continuation ? call->stream->n_tokens : 0;
	return n > done ? n - done : 1;
}

/* Where the stream is that a call names without being its generate; -1: nowhere, or no such. */
static int worker_of_stream(const struct admission *a, const struct call *call)
{
	const char *name = a->r.stream_name;
	const struct stream *s = call->stream || !*name ? NULL : stream_find(&a->c->streams, name);
	return s ? s->worker : -1;
}

static void enqueue(struct admission *a, struct call *call)
{
	struct controller *c = a->c;
	const struct routing *r = &a->r;
	bool reports = r->meta.at || r->work_done.at || r->measure.at;
	struct queue_place place = {
		.method_name = call->method->name,
		.method = call->method,
		.model = r->model,
		.beside = r->beside[0] ? r->beside : NULL,
		.worker = worker_of_stream(a, call),
		.client = r->client_name,
		.priority = r->rank,
		/* What is answered late or reports progress travels alone. */
		.gathers = call->method->batch_name && !reports && !a->is_again &&
			   (r->wants_stream || call->method->cls != METHOD_STREAM),
		.is_suspect = a->is_again,
	};
	call->waiting.n_bytes = call->params.n;
	call->waiting.n_tokens = cost_of(call);
	if (queue_push(&c->queue, &place, &call->waiting, a->now_us) < 0) {
		overload(c, call);
		return;
	}
	call->owner = CALL_QUEUED;
	log_trace("queue", "#%llu waits for %s, %zu waiting", (unsigned long long)call->number,
		r->model, c->queue.n_calls);
	dispatch_soon(c);
}

/* A model whose workers were all given up: say what became of them. */
static void fail_lost_model(struct controller *c, struct call *call)
{
	struct buf error = BUF_INIT;
	fleet_write_failure(&c->fleet, &error);
	registry_finish(
		c->registry, call, ANSWER_ERROR, (struct json_span) { error.data, error.n_bytes });
	buf_release(&error);
}

/* A host that asks for a window of its own acknowledges by itself. */
static void give_window(struct controller *c, struct stream *s, struct json_span options)
{
	int64_t asked = 0;
	if (options.at && json_get_int(json_find(options, "ack_window"), &asked) && asked > 0)
		s->is_acked = true;
	s->window = s->is_acked ? (size_t)asked : c->opt->ack_window;
}

static struct call *make_call(struct admission *a)
{
	struct call *call = registry_admit(a->c->registry,
		&(struct call_seed) { a->method, a->id, a->params, a->seat, a->now_us });
	call->controller = a->c;
	call->deadline_us = a->r.timeout ? call->arrived_us + (uint64_t)a->r.timeout * 1000 : 0;
	admit_time(a->c, call);
	return call;
}

static void admit_checked(struct admission *a, struct stream *stream, const struct key *key)
{
	struct controller *c = a->c;
	struct call *call = make_call(a);
	call->wants_stream = a->r.wants_stream;
	call->stream = stream;
	if (a->r.meta.at || a->r.work_done.at)
		call->progress = progress_of(call->params);
	if (stream) {
		stream->arrived_us = call->arrived_us;
		stream->tells_progress = a->r.wants_stream;
		stream_resume(stream, a->r.resume_tokens, a->r.resume_choices);
		give_window(c, stream, a->r.stream_options);
		stream->deadline_us = call->deadline_us;
		stream_own(&c->streams, stream, call, call->id);
	}
	if (key->name)
		once_begin(&c->once, key->name, key->asked, call);
	const struct model *model = models_find(&c->models, a->r.model);
	if (model->is_failed && !model_is_expected(model))
		fail_lost_model(c, call);
	else
		enqueue(a, call);
}

/* -- repeated calls, once.h ------------------------------------------------------------- */

/* A handshake of a stream that is there already says so, and whether it will say more. */
static void answer_joined(struct controller *c, struct call *call, const struct once_entry *e)
{
	struct json_span body = { e->answer.data, e->answer.n_bytes };
	struct buf joined = BUF_INIT, told = BUF_INIT;
	bool is_stream = e->stream_id && e->kind == ANSWER_RESULT;
	if (is_stream) {
		struct stream *s = stream_find(&c->streams, e->stream_id);
		bool is_over = !s;
		if (s)
			stream_join(&c->streams, s, call->id);
		splice_set(&joined, body, "joined", (struct json_span) { "true", 4 });
		splice_set(&told, (struct json_span) { joined.data, joined.n_bytes }, "ended",
			is_over ? (struct json_span) { "true", 4 }
				: (struct json_span) { "false", 5 });
		body = (struct json_span) { told.data, told.n_bytes };
	}
	c->metrics.counts[METRICS_JOINED]++;
	registry_finish(c->registry, call, e->kind, body);
	buf_release(&joined);
	buf_release(&told);
}

void admit_joined(struct controller *c)
{
	struct once_entry *e;
	struct call *call;
	while ((call = once_next(&c->once, &e)) != NULL)
		answer_joined(c, call, e);
	once_settle(&c->once, clock_us());
}

/* Takes the key out of the params: it is ours, and workers, who check the rest, do not know it. */
static int read_key(struct admission *a, struct key *key, struct fault *f)
{
	static const char *const names[] = { "idempotency_key", NULL };
	if (!a->r.key.at)
		return 0;
	/* Its bound is in characters, of which there are not more than bytes. */
	if (strlen(a->r.key_text) > LIMIT_IDEMPOTENCY && admit_check(a->method, a->params, f) < 0)
		return f->err;
	key->asked = once_digest(a->params);
	key->name = xasprintf("%s\n%s\n%s", a->method->name, a->r.client_name, a->r.key_text);
	splice_without(&a->bare, a->params, names);
	buf_addc(&a->bare, '}');
	a->params = (struct json_span) { a->bare.data, a->bare.n_bytes };
	return 0;
}

/* True: the call joined an equal one. False: it is new, or *f says why it cannot be. */
static bool join(struct admission *a, const struct key *key, struct fault *f)
{
	struct once_entry *e = key->name ? once_find(&a->c->once, key->name, clock_us()) : NULL;
	if (!e)
		return false;
	if (!once_is_same(e, key->asked)) {
		fault_set(f, ERR_INVALID_PARAMS, "idempotency_key was used with other params of %s",
			a->method->name);
		fault_add_str(f, "path", "idempotency_key");
		return false;
	}
	struct call *call = make_call(a);
	if (e->first)
		once_join(e, call);
	else
		answer_joined(a->c, call, e);
	return true;
}

/* True: it would end another worker, and was answered as when it did. */
static bool refuse_poison(struct admission *a)
{
	struct json_span error;
	struct controller *c = a->c;
	if (!poison_find(&c->poison, a->method->name, a->params, a->now_us, &error))
		return false;
	c->metrics.counts[METRICS_POISONED]++;
	registry_finish(c->registry, make_call(a), ANSWER_ERROR, error);
	return true;
}

void admit_model_call(struct controller *c, const struct method *m, struct json_span id,
	struct json_span params, struct call_seat seat)
{
	struct admission a;
	struct stream *stream = NULL;
	struct key key = { .name = NULL };
	struct fault f;
	f.err = 0;
	admission_init(&a, c, m, clock_us());
	a.id = id;
	a.params = params;
	a.seat = seat;
	bool is_read = check_routing(&a, &f) == 0 && read_key(&a, &key, &f) == 0;
	bool is_done = is_read && (join(&a, &key, &f) || (!f.err && refuse_poison(&a)));
	if (!f.err && !is_done && check_model(&a, &stream, &f) == 0)
		admit_checked(&a, stream, &key);
	if (f.err) {
		metrics_answered(&c->metrics, m->name, err_info(f.err)->code);
		registry_refuse(c->registry, id, seat, &f);
	}
	buf_release(&a.edited);
	buf_release(&a.bare);
	free(key.name);
}

/* -- once more -------------------------------------------------------------------------- */

static void queue_again(struct controller *c, struct call *call)
{
	struct admission a;
	admission_init(&a, c, call->method, clock_us());
	a.is_again = true;
	read_routing(call->method, call->params, &a.r);
	if (call->is_continuation)
		a.r.rank = QUEUE_URGENT;
	admit_time(c, call);
	enqueue(&a, call);
}

void admit_again(struct controller *c, struct call *call)
{
	queue_again(c, call);
}

void admit_continuation(struct controller *c, struct stream *s, struct json_span params)
{
	struct call_seed seed = {
		.method = method_find("generate"), .params = params, .now_us = clock_us()
	};
	struct call *call = registry_admit(c->registry, &seed);
	call->controller = c;
	call->wants_stream = true;
	call->is_continuation = true;
	call->stream = s;
	call->deadline_us = s->deadline_us;
	s->continuation = call;
	queue_again(c, call);
}
