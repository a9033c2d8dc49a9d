/* run.c - `tandem run`: a host of one request, which talks to a controller in this process as
 * any host would, so that what it shows is what hosts get. */
#include "controller/run.h"
#include "controller/drain.h"
#include "controller/inner.h"
#include "controller/run_options.h"
#include "controller/selftest.h"
#include "protocol/log.h"
#include "protocol/mem.h"
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#define ID_LOAD     1
#define ID_GENERATE 2
#define ID_CANCEL   3
#define ID_DRAFT    4

struct run {
	const struct run_options *opt;
	struct inner in;
	struct buf prompt;
	struct buf stats; /* params of stream.stats, or the result's own */
	char model_id[NAME_MAX + 1], draft_id[NAME_MAX + 1];
	int n_loading; /* models */
	int out;
	int exit_code;
	bool is_progress_shown; /* an unfinished line of progress is on the terminal */
	bool wrote_text, ends_with_newline;
	bool is_over;
};

/* Nothing more is asked; the controller drains and ends its workers. */
static void finish(struct run *r, int code)
{
	if (!r->is_over)
		r->exit_code = code;
	r->is_over = true;
	drain_begin(r->in.controller, "run is complete");
}

static void end_progress_line(struct run *r)
{
	if (r->is_progress_shown)
		fputc('\n', stderr);
	r->is_progress_shown = false;
}

static void fail(struct run *r, struct json_span error)
{
	struct buf text = BUF_INIT;
	json_get_str(json_find(error, "message"), &text);
	end_progress_line(r);
	log_error("%s", buf_cstr(&text));
	buf_release(&text);
	finish(r, EXIT_FAILURE);
}

/* -- asking ----------------------------------------------------------------------------- */

static void ask_generate(struct run *r)
{
	struct buf params = BUF_INIT;
	const struct run_options *o = r->opt;
	buf_add(&params, o->sampling.data, o->sampling.n_bytes);
	jout_key_cstr(&params, "model_id", r->model_id);
	if (o->draft_model)
		jout_key_cstr(&params, "draft_model", r->draft_id);
	jout_key_str(&params, "prompt", r->prompt.data, r->prompt.n_bytes);
	jout_key_bool(&params, "stream", !o->is_json);
	jout_key_cstr(&params, "stream_id", "run");
	if (o->n_stops) {
		jout_key(&params, "stop_sequences");
		buf_addc(&params, '[');
		for (size_t i = 0; i < o->n_stops; i++) {
			jout_sep(&params);
			jout_cstr(&params, o->stops[i]);
		}
		buf_addc(&params, ']');
	}
	buf_addc(&params, '}');
	inner_call(&r->in, ID_GENERATE, "generate", &params);
	buf_release(&params);
}

/* -- showing ---------------------------------------------------------------------------- */

/* stdout may be slow, or a pipe whose reader has left. */
static void print(struct run *r, const char *text, size_t n)
{
	while (n > 0) {
		ssize_t wrote = write(r->out, text, n);
		if (wrote < 0 && errno == EINTR)
			continue;
		if (wrote < 0) {
			finish(r, EX_IOERR);
			return;
		}
		text += wrote;
		n -= (size_t)wrote;
	}
}

static void print_token(struct run *r, struct json_span token)
{
	struct buf text = BUF_INIT;
	json_get_str(token, &text);
	if (text.n_bytes) {
		r->wrote_text = true;
		r->ends_with_newline = text.data[text.n_bytes - 1] == '\n';
		print(r, text.data, text.n_bytes);
	}
	buf_release(&text);
}

static void show_chunk(struct run *r, struct json_span params)
{
	struct json_span tokens = json_find(params, "tokens"), item;
	if (!tokens.at) {
		print_token(r, json_find(params, "token"));
		return;
	}
	struct json_cursor c = json_iterate(tokens);
	while (json_next_element(&c, &item))
		print_token(r, json_find(item, "token"));
}

static double number(struct json_span object, const char *key)
{
	double v = 0;
	json_get_num(json_find(object, key), &v);
	return v;
}

static void show_progress(struct run *r, struct json_span params)
{
	double total = number(params, "total"), done = number(params, "progress");
	if (!isatty(STDERR_FILENO) || total <= 0)
		return;
	fprintf(stderr, "\rloading %s: %3.0f %%", r->opt->model, 100 * done / total);
	r->is_progress_shown = true;
}

static void show_loaded(struct run *r, const char *model, struct json_span result)
{
	char dtype[32] = "", arch[64] = "";
	json_copy_str(json_find(result, "dtype"), dtype, sizeof dtype);
	json_copy_str(json_find(result, "architecture"), arch, sizeof arch);
	fprintf(stderr, "%sloaded %s: %s, %.2f M parameters, %s, context %.0f, in %.0f ms\n",
		r->is_progress_shown ? "\r" : "", model, arch,
		number(result, "parameter_count") / 1e6, dtype, number(result, "context_length"),
		number(result, "load_ms"));
	r->is_progress_shown = false;
}

/* stats: the params of stream.stats, or a whole result, which has the same parts. */
static void show_summary(struct json_span stats)
{
	struct json_span usage = json_find(stats, "usage"), timings = json_find(stats, "timings");
	double n = number(usage, "completion_tokens"), decode_ms = number(timings, "decode_ms");
	double rate = number(stats, "tokens_per_second"),
	       first = number(stats, "time_to_first_token");
	if (!json_find(stats, "tokens_per_second").at && decode_ms > 0 && n > 1)
		rate = 1e3 * (n - 1) / decode_ms;
	fprintf(stderr, "%.0f prompt tokens in %.0f ms, then %.0f tokens in %.0f ms: %.1f tokens/s",
		number(usage, "prompt_tokens"), number(timings, "prefill_ms"), n, decode_ms, rate);
	if (first > 0)
		fprintf(stderr, ", the first after %.0f ms", 1e3 * first);
	fputc('\n', stderr);
}

/* -- hearing ---------------------------------------------------------------------------- */

static void on_stream_event(struct run *r, struct json_span params)
{
	if (r->wrote_text && !r->ends_with_newline)
		print(r, "\n", 1);
	if (json_str_is(json_find(params, "event"), "error")) {
		struct buf text = BUF_INIT;
		json_get_str(json_find(params, "error"), &text);
		log_error("%s", buf_cstr(&text));
		buf_release(&text);
		finish(r, EXIT_FAILURE);
		return;
	}
	if (r->stats.n_bytes)
		show_summary((struct json_span) { r->stats.data, r->stats.n_bytes });
	finish(r, EXIT_SUCCESS);
}

static void on_notification(struct run *r, const struct rpc_msg *m)
{
	if (!strcmp(m->method, "stream.chunk")) {
		show_chunk(r, m->params);
	} else if (!strcmp(m->method, "stream.stats")) {
		buf_clear(&r->stats);
		buf_add(&r->stats, m->params.at, m->params.n);
	} else if (!strcmp(m->method, "stream.event")) {
		on_stream_event(r, m->params);
	} else if (!strcmp(m->method, "notifications/progress")) {
		show_progress(r, m->params);
	}
}

static void on_answer(struct run *r, const struct rpc_msg *m)
{
	int64_t id = 0;
	json_get_int(m->id, &id);
	if (m->kind == RPC_ERROR) {
		if (id != ID_CANCEL)
			fail(r, m->error);
		return;
	}
	if (id == ID_LOAD || id == ID_DRAFT) {
		show_loaded(r, id == ID_LOAD ? r->opt->model : r->opt->draft_model, m->result);
		if (--r->n_loading == 0)
			ask_generate(r);
	} else if (id == ID_GENERATE && r->opt->is_json) {
		print(r, m->result.at, m->result.n);
		print(r, "\n", 1);
		show_summary(m->result);
		finish(r, EXIT_SUCCESS);
	}
}

static void on_heard(void *arg, const struct rpc_msg *m)
{
	struct run *r = arg;
	if (r->is_over)
		return;
	if (m->kind == RPC_NOTIFICATION)
		on_notification(r, m);
	else if (m->kind == RPC_RESULT || m->kind == RPC_ERROR)
		on_answer(r, m);
}

/* The first Ctrl-C lets the text end properly, a second does not wait for it. */
static void on_signal(void *arg, int signal)
{
	struct run *r = arg;
	if (r->exit_code == 128 + signal) {
		r->is_over = true;
		event_base_loopbreak(r->in.base);
		return;
	}
	r->exit_code = 128 + signal;
	r->is_over = true;
	end_progress_line(r);
	drain_begin(r->in.controller, strsignal(signal));
}

/* -- life ------------------------------------------------------------------------------- */

static int read_prompt(struct run *r)
{
	char bytes[65536];
	ssize_t n;
	if (strcmp(r->opt->prompt, "-") != 0) {
		buf_adds(&r->prompt, r->opt->prompt);
		return 0;
	}
	while ((n = read(STDIN_FILENO, bytes, sizeof bytes)) > 0 || (n < 0 && errno == EINTR)) {
		if (n > 0)
			buf_add(&r->prompt, bytes, (size_t)n);
		if (r->prompt.n_bytes > FRAME_IN_MAX / 8)
			return ERR_INVALID_PARAMS;
	}
	return n < 0 ? ERR_IO : 0;
}

static int run(struct run *r)
{
	r->exit_code = EXIT_FAILURE;
	r->in.heard = on_heard;
	r->in.signalled = on_signal;
	r->in.arg = r;
	inner_open(&r->in, &r->opt->base);
	inner_name_model(r->opt->model, r->model_id, sizeof r->model_id);
	inner_name_draft(r->opt->draft_model, r->opt->model, r->draft_id, sizeof r->draft_id);
	r->n_loading = r->opt->draft_model ? 2 : 1;
	inner_load(&r->in, ID_LOAD, r->opt->model, r->model_id);
	if (r->opt->draft_model)
		inner_load(&r->in, ID_DRAFT, r->opt->draft_model, r->draft_id);
	inner_run(&r->in);
	inner_close(&r->in);
	buf_release(&r->prompt);
	buf_release(&r->stats);
	return r->exit_code;
}

int run_main(int out, int argc, char **argv)
{
	struct run_options opt;
	struct fault f;
	struct run r = { .opt = &opt, .out = out };
	int code = EX_USAGE;
	if (run_options_parse(&opt, argc, argv, &f) < 0)
		log_error("%s (see tandem run --help)", f.text);
	else if (opt.base.wish == OPTIONS_HELP)
		code = dprintf(out, "%s", run_options_help) < 0 ? EX_IOERR : 0;
	else if (opt.n_selftest)
		code = selftest_run(out, &opt);
	else if (read_prompt(&r) < 0)
		log_error("the prompt on stdin cannot be read, or is too long");
	else {
		log_set_level(opt.base.is_verbose ? LOG_DEBUG : LOG_WARN);
		code = run(&r);
	}
	if (code == EX_USAGE)
		buf_release(&r.prompt);
	run_options_release(&opt);
	return code;
}
