/* metrics.c - counters and histograms. */
#include "controller/metrics.h"
#include "protocol/mem.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* -- histograms ------------------------------------------------------------------------- */

/* Values below 8 have a bucket each; above, the three bits after the leading one choose. */
static unsigned bucket_of(uint64_t v)
{
	if (v < 8)
		return (unsigned)v;
	unsigned e = 63u - (unsigned)__builtin_clzll(v);
	return 8 * (e - 2) + (unsigned)((v >> (e - 3)) & 7);
}

static uint64_t bucket_end(unsigned b)
{
	if (b < 8)
		return b;
	unsigned e = b / 8 + 2;
	return (((uint64_t)(8 + b % 8) + 1) << (e - 3)) - 1;
}

void histogram_add(struct histogram *h, uint64_t value)
{
	h->counts[bucket_of(value)]++;
	h->n++;
	h->sum += value;
	if (value > h->max)
		h->max = value;
}

uint64_t histogram_quantile(const struct histogram *h, double q)
{
	uint64_t rank = (uint64_t)ceil(q * (double)h->n), seen = 0;
	for (unsigned b = 0; b < HISTOGRAM_BUCKETS; b++) {
		seen += h->counts[b];
		if (seen >= rank && seen > 0)
			return bucket_end(b) < h->max ? bucket_end(b) : h->max;
	}
	return 0;
}

uint64_t histogram_at_most(const struct histogram *h, uint64_t bound)
{
	uint64_t n = 0;
	for (unsigned b = 0; b < HISTOGRAM_BUCKETS && bucket_end(b) <= bound; b++)
		n += h->counts[b];
	return n;
}

/* -- counting --------------------------------------------------------------------------- */

void metrics_answered(struct metrics *m, const char *method, int code)
{
	struct metrics_method *row, probe;
	memset(&probe, 0, sizeof probe);
	probe.key.method = method;
	probe.key.code = code;
	HASH_FIND(hh, m->methods, &probe.key, sizeof probe.key, row);
	if (!row) {
		row = xcalloc(1, sizeof *row);
		row->key = probe.key;
		HASH_ADD(hh, m->methods, key, sizeof row->key, row);
	}
	row->n++;
}

void metrics_release(struct metrics *m)
{
	struct metrics_method *row, *tmp;
	HASH_ITER (hh, m->methods, row, tmp) {
		HASH_DEL(m->methods, row);
		free(row);
	}
}

/* -- telling ---------------------------------------------------------------------------- */

static const char *const COUNTS[METRICS_N_COUNTS] = {
	[METRICS_FRAMES_OUT] = "frames_out",
	[METRICS_BATCHES] = "batches",
	[METRICS_STREAMS] = "streams",
	[METRICS_STREAMS_FAILED] = "streams_failed",
	[METRICS_CANCELS] = "cancels",
	[METRICS_OVERLOADS] = "overloads",
	[METRICS_TIMEOUTS] = "timeouts",
	[METRICS_CRASHES] = "worker_crashes",
	[METRICS_SILENT] = "workers_silent",
	[METRICS_RETRIES] = "retries",
	[METRICS_REPLAYS] = "replays",
	[METRICS_RETRIES_SPENT] = "retries_spent",
	[METRICS_POISONED] = "poisoned",
	[METRICS_JOINED] = "joined",
	[METRICS_LOST] = "lost",
	[METRICS_TOKENS_IN] = "tokens_in",
	[METRICS_TOKENS_OUT] = "tokens_out",
	[METRICS_TOKENS_CACHED] = "tokens_cached",
	[METRICS_TOKENS_DRAFTED] = "tokens_drafted",
	[METRICS_TOKENS_ACCEPTED] = "tokens_accepted",
	[METRICS_BAD_MESSAGES] = "bad_messages",
};

static const char *const TIMES[METRICS_N_TIMES] = {
	[METRICS_QUEUE_WAIT] = "queue_wait",
	[METRICS_FRAME] = "frame",
	[METRICS_CALL] = "call",
	[METRICS_FIRST_TOKEN] = "time_to_first_token",
	[METRICS_INTER_TOKEN] = "inter_token",
	[METRICS_LOAD] = "load",
};

static void write_histogram(
	struct buf *out, const char *name, const struct histogram *h, double scale)
{
	jout_key(out, name);
	buf_addc(out, '{');
	jout_key_int(out, "count", (int64_t)h->n);
	jout_key_num(out, "mean", h->n ? scale * (double)h->sum / (double)h->n : 0);
	jout_key_num(out, "p50", scale * (double)histogram_quantile(h, 0.50));
	jout_key_num(out, "p95", scale * (double)histogram_quantile(h, 0.95));
	jout_key_num(out, "p99", scale * (double)histogram_quantile(h, 0.99));
	jout_key_num(out, "max", scale * (double)h->max);
	buf_addc(out, '}');
}

static void write_requests(const struct metrics *m, struct buf *out)
{
	jout_key(out, "requests");
	buf_addc(out, '[');
	for (const struct metrics_method *r = m->methods; r; r = r->hh.next) {
		jout_sep(out);
		buf_addc(out, '{');
		jout_key_cstr(out, "method", r->key.method);
		jout_key_int(out, "code", r->key.code);
		jout_key_int(out, "count", (int64_t)r->n);
		buf_addc(out, '}');
	}
	buf_addc(out, ']');
}

void metrics_write_json(const struct metrics *m, struct buf *out)
{
	for (int i = 0; i < METRICS_N_COUNTS; i++)
		jout_key_int(out, COUNTS[i], (int64_t)m->counts[i]);
	write_requests(m, out);
	jout_key(out, "latency_ms");
	buf_addc(out, '{');
	for (int i = 0; i < METRICS_N_TIMES; i++)
		write_histogram(out, TIMES[i], &m->times[i], 1e-3);
	buf_addc(out, '}');
	write_histogram(out, "batch_size", &m->batch_size, 1);
}

/* Bounds in microseconds, those of OpenTelemetry's GenAI conventions widened upward for
 * processors (60 s), and downward for calls that take tens of microseconds. */
static const uint64_t BOUNDS[] = { 50, 100, 250, 500, 1000, 2500, 5000, 10000, 25000, 50000, 100000,
	250000, 500000, 1000000, 2500000, 5000000, 10000000, 30000000, 60000000 };
#define N_BOUNDS (sizeof BOUNDS / sizeof BOUNDS[0])

static void expose_time(struct buf *out, const char *name, const struct histogram *h)
{
	buf_addf(out, "# TYPE tandem_%s_seconds histogram\n", name);
	for (size_t i = 0; i < N_BOUNDS; i++)
		buf_addf(out, "tandem_%s_seconds_bucket{le=\"%g\"} %llu\n", name,
			(double)BOUNDS[i] / 1e6,
			(unsigned long long)histogram_at_most(h, BOUNDS[i]));
	buf_addf(out,
		"tandem_%s_seconds_bucket{le=\"+Inf\"} %llu\n"
		"tandem_%s_seconds_sum %g\ntandem_%s_seconds_count %llu\n",
		name, (unsigned long long)h->n, name, (double)h->sum / 1e6, name,
		(unsigned long long)h->n);
}

static void expose_batch_size(struct buf *out, const struct histogram *h)
{
	buf_adds(out, "# TYPE tandem_batch_size histogram\n");
	/* Ends of buckets, so that the counts are exact. */
	for (unsigned le = 1; le <= 63; le = 2 * le + 1)
		buf_addf(out, "tandem_batch_size_bucket{le=\"%u\"} %llu\n", le,
			(unsigned long long)histogram_at_most(h, le));
	buf_addf(out,
		"tandem_batch_size_bucket{le=\"+Inf\"} %llu\n"
		"tandem_batch_size_sum %llu\ntandem_batch_size_count %llu\n",
		(unsigned long long)h->n, (unsigned long long)h->sum, (unsigned long long)h->n);
}

void metrics_write_prometheus(const struct metrics *m, const struct metrics_gauge *gauges,
	size_t n_gauges, struct buf *out)
{
	for (int i = 0; i < METRICS_N_COUNTS; i++)
		buf_addf(out, "# TYPE tandem_%s_total counter\ntandem_%s_total %llu\n", COUNTS[i],
			COUNTS[i], (unsigned long long)m->counts[i]);
	buf_adds(out, "# TYPE tandem_requests_total counter\n");
	for (const struct metrics_method *r = m->methods; r; r = r->hh.next)
		buf_addf(out, "tandem_requests_total{method=\"%s\",code=\"%lld\"} %llu\n",
			r->key.method, (long long)r->key.code, (unsigned long long)r->n);
	for (int i = 0; i < METRICS_N_TIMES; i++)
		expose_time(out, TIMES[i], &m->times[i]);
	expose_batch_size(out, &m->batch_size);
	for (size_t i = 0; i < n_gauges; i++) {
		if (i == 0 || strcmp(gauges[i].name, gauges[i - 1].name) != 0)
			buf_addf(out, "# TYPE tandem_%s gauge\n", gauges[i].name);
		buf_addf(out, "tandem_%s%s%s%s %g\n", gauges[i].name, *gauges[i].labels ? "{" : "",
			gauges[i].labels, *gauges[i].labels ? "}" : "", gauges[i].value);
	}
}
