/* telemetry.c - counters and histograms, and their two printed forms. */
#include "worker/telemetry.h"
#include <inttypes.h>
#include <stdlib.h>

static const double bounds[HISTOGRAM_BOUNDS] = { 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3,
	5e-3, 1e-2, 2e-2, 5e-2, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500 };

void histogram_add(struct histogram *h, double seconds)
{
	size_t i = 0;
	while (i < HISTOGRAM_BOUNDS && seconds > bounds[i])
		i++;
	h->bucket[i]++;
	h->count++;
	h->sum += seconds;
}

double histogram_quantile(const struct histogram *h, double q)
{
	const double want = q * (double)h->count;
	double below = 0;
	for (size_t i = 0; i < HISTOGRAM_BOUNDS; i++) {
		const double here = (double)h->bucket[i];
		if (here > 0 && below + here >= want) {
			const double low = i ? bounds[i - 1] : 0;
			return low + (bounds[i] - low) * (want - below) / here;
		}
		below += here;
	}
	return h->count ? bounds[HISTOGRAM_BOUNDS - 1] : 0;
}

/* Row of m in the method table; TELEMETRY_METHODS when it is not there. */
static size_t method_row(const struct method *m)
{
	const size_t i = method_index(m);
	return i < TELEMETRY_METHODS && method_at(i) ? i : TELEMETRY_METHODS;
}

void telemetry_answer(struct telemetry *t, const struct method *m, int err, double seconds)
{
	const size_t row = m ? method_row(m) : TELEMETRY_METHODS;
	if (row == TELEMETRY_METHODS) {
		t->unknown_methods++;
		return;
	}
	t->answers[row][err < 0 && err >= ERR_LAST ? -err : 0]++;
	histogram_add(&t->request, seconds);
}

void telemetry_generation(struct telemetry *t, const struct job_result *r)
{
	t->finished[r->finish]++;
	t->prompt_tokens += r->prompt_tokens;
	t->completion_tokens += r->completion_tokens;
	t->cached_tokens += r->cached_tokens;
	t->draft_tokens += r->n_drafted;
	t->accepted_tokens += r->accepted;
	histogram_add(&t->generation, r->total_ms / 1e3);
	if (r->completion_tokens == 0)
		return;
	histogram_add(&t->queue, r->queue_ms / 1e3);
	histogram_add(&t->prefill, r->prefill_ms / 1e3);
	histogram_add(&t->first_token, r->ttft_ms / 1e3);
	if (r->completion_tokens > 1)
		histogram_add(
			&t->inter_token, r->decode_ms / 1e3 / (double)(r->completion_tokens - 1));
}

struct named_histogram {
	const char *name, *help;
	const struct histogram *h;
};

struct named_count {
	const char *name, *help;
	uint64_t value;
};

#define N_HISTOGRAMS 7
#define N_COUNTS     12

static void list_histograms(const struct telemetry *t, struct named_histogram out[N_HISTOGRAMS])
{
	const struct named_histogram all[N_HISTOGRAMS] = {
		{ "request", "from a frame's arrival to its answer", &t->request },
		{ "queue", "a generation waiting for its first step", &t->queue },
		{ "prefill", "reading the prompt", &t->prefill },
		{ "time_to_first_token", "from arrival to the first token", &t->first_token },
		{ "inter_token", "mean gap between a generation's tokens", &t->inter_token },
		{ "generation", "from arrival to the end", &t->generation },
		{ "model_load", "loading a model", &t->load },
	};
	for (size_t i = 0; i < N_HISTOGRAMS; i++)
		out[i] = all[i];
}

static void list_counts(
	const struct telemetry *t, const struct telemetry_now *n, struct named_count out[N_COUNTS])
{
	const struct named_count all[N_COUNTS] = {
		{ "prompt_tokens", "prompt tokens of ended generations", t->prompt_tokens },
		{ "completion_tokens", "generated tokens", t->completion_tokens },
		{ "cached_tokens", "prompt tokens found in the cache", t->cached_tokens },
		{ "draft_tokens", "draft tokens judged", t->draft_tokens },
		{ "accepted_draft_tokens", "draft tokens accepted", t->accepted_tokens },
		{ "tokenized_tokens", "tokens made by tokenize", t->tokenized_tokens },
		{ "frames_in", "frames read", t->frames_in },
		{ "bytes_in", "bytes of frames read", t->bytes_in },
		{ "bad_frames", "frames that were no JSON-RPC", t->bad_frames },
		{ "frames_out", "frames written", n->frames_out },
		{ "bytes_out", "bytes of frames written", n->bytes_out },
		{ "loaded_bytes", "weight bytes loaded", t->loaded_bytes },
	};
	for (size_t i = 0; i < N_COUNTS; i++)
		out[i] = all[i];
}

static void json_histogram(struct buf *out, const struct named_histogram *n)
{
	jout_key(out, n->name);
	buf_addc(out, '{');
	jout_key_int(out, "count", (int64_t)n->h->count);
	jout_key_num(out, "sum_seconds", n->h->sum);
	jout_key_num(out, "p50_seconds", histogram_quantile(n->h, 0.50));
	jout_key_num(out, "p95_seconds", histogram_quantile(n->h, 0.95));
	jout_key_num(out, "p99_seconds", histogram_quantile(n->h, 0.99));
	buf_addc(out, '}');
}

/* "tokenize":{"ok":12,"invalid_params":1}, methods nobody called left out. */
static void json_answers(struct buf *out, const struct telemetry *t)
{
	jout_key(out, "requests");
	buf_addc(out, '{');
	for (size_t m = 0; m < TELEMETRY_METHODS && method_at(m); m++) {
		bool any = false;
		for (int e = 0; e <= -ERR_LAST; e++) {
			if (!t->answers[m][e])
				continue;
			if (!any) {
				jout_key(out, method_at(m)->name);
				buf_addc(out, '{');
			}
			any = true;
			jout_key_int(out, e ? err_info(-e)->type : "ok", (int64_t)t->answers[m][e]);
		}
		if (any)
			buf_addc(out, '}');
	}
	buf_addc(out, '}');
}

void telemetry_write_json(struct buf *out, const struct telemetry *t, const struct telemetry_now *n)
{
	struct named_histogram h[N_HISTOGRAMS];
	struct named_count c[N_COUNTS];
	list_histograms(t, h);
	list_counts(t, n, c);
	buf_addc(out, '{');
	jout_key_bool(out, "enabled", true);
	jout_key_num(out, "uptime_seconds", n->uptime);
	jout_key_int(out, "active_streams", (int64_t)n->streams);
	jout_key_int(out, "loaded_models", (int64_t)n->models);
	jout_key_int(out, "rss_bytes", (int64_t)n->rss);
	json_answers(out, t);
	jout_key_int(out, "unknown_methods", (int64_t)t->unknown_methods);
	jout_key(out, "finished");
	buf_addc(out, '{');
	for (int i = 0; i <= FINISH_ERROR; i++)
		jout_key_int(out, finish_name((enum finish)i), (int64_t)t->finished[i]);
	buf_addc(out, '}');
	jout_key(out, "counters");
	buf_addc(out, '{');
	for (size_t i = 0; i < N_COUNTS; i++)
		jout_key_int(out, c[i].name, (int64_t)c[i].value);
	buf_addc(out, '}');
	jout_key(out, "histograms");
	buf_addc(out, '{');
	for (size_t i = 0; i < N_HISTOGRAMS; i++)
		json_histogram(out, &h[i]);
	buf_adds(out, "}}");
}

static void prometheus_histogram(struct buf *out, const struct named_histogram *n)
{
	uint64_t below = 0;
	buf_addf(out, "# HELP tandem_%s_seconds %s\n# TYPE tandem_%s_seconds histogram\n", n->name,
		n->help, n->name);
	for (size_t i = 0; i < HISTOGRAM_BOUNDS; i++) {
		below += n->h->bucket[i];
		buf_addf(out, "tandem_%s_seconds_bucket{le=\"%g\"} %" PRIu64 "\n", n->name,
			bounds[i], below);
	}
	buf_addf(out, "tandem_%s_seconds_bucket{le=\"+Inf\"} %" PRIu64 "\n", n->name, n->h->count);
	buf_addf(out, "tandem_%s_seconds_sum %.9g\n", n->name, n->h->sum);
	buf_addf(out, "tandem_%s_seconds_count %" PRIu64 "\n", n->name, n->h->count);
}

static void prometheus_answers(struct buf *out, const struct telemetry *t)
{
	buf_adds(out, "# HELP tandem_requests_total answers by method and error type\n"
		      "# TYPE tandem_requests_total counter\n");
	for (size_t m = 0; m < TELEMETRY_METHODS && method_at(m); m++)
		for (int e = 0; e <= -ERR_LAST; e++)
			if (t->answers[m][e])
				buf_addf(out,
					"tandem_requests_total{method=\"%s\",code=\"%s\"} %" PRIu64
					"\n",
					method_at(m)->name, e ? err_info(-e)->type : "ok",
					t->answers[m][e]);
}

void telemetry_write_prometheus(
	struct buf *out, const struct telemetry *t, const struct telemetry_now *n)
{
	struct named_histogram h[N_HISTOGRAMS];
	struct named_count c[N_COUNTS];
	list_histograms(t, h);
	list_counts(t, n, c);
	prometheus_answers(out, t);
	for (size_t i = 0; i < N_COUNTS; i++)
		buf_addf(out,
			"# HELP tandem_%s_total %s\n# TYPE tandem_%s_total counter\n"
			"tandem_%s_total %" PRIu64 "\n",
			c[i].name, c[i].help, c[i].name, c[i].name, c[i].value);
	buf_addf(out,
		"# HELP tandem_active_streams generations not over yet\n"
		"# TYPE tandem_active_streams gauge\ntandem_active_streams %zu\n"
		"# HELP tandem_loaded_models models in memory\n"
		"# TYPE tandem_loaded_models gauge\ntandem_loaded_models %zu\n"
		"# HELP tandem_rss_bytes resident memory\n"
		"# TYPE tandem_rss_bytes gauge\ntandem_rss_bytes %" PRIu64 "\n",
		n->streams, n->models, n->rss);
	for (size_t i = 0; i < N_HISTOGRAMS; i++)
		prometheus_histogram(out, &h[i]);
}
