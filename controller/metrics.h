/* metrics.h - what is counted and timed, cheap enough for every token.
 *
 * Histograms have eight buckets to every doubling (values within 9 %), so quantiles need
 * no samples kept. All times are microseconds. */
#ifndef CONTROLLER_METRICS_H
#define CONTROLLER_METRICS_H
#include "protocol/buf.h"
#include <stdint.h>
#include <uthash.h>

#define HISTOGRAM_BUCKETS (8 * 62)

struct histogram {
	uint64_t counts[HISTOGRAM_BUCKETS];
	uint64_t n, sum, max;
};
void histogram_add(struct histogram *h, uint64_t value);
/* The upper end of the bucket in which the q-th (0..1) value lies; 0 when empty. */
uint64_t histogram_quantile(const struct histogram *h, double q);
/* How many values are at most `bound`, to the precision of the buckets. */
uint64_t histogram_at_most(const struct histogram *h, uint64_t bound);

/* Calls answered, by method and code (0 = result). */
struct metrics_method {
	struct {
		const char *method; /* of the method table: static */
		int64_t code;
	} key;
	uint64_t n;
	UT_hash_handle hh;
};

enum metrics_time {
	METRICS_QUEUE_WAIT,  /* admitted to dispatched */
	METRICS_FRAME,       /* dispatched to answered by the worker */
	METRICS_CALL,        /* admitted to answered */
	METRICS_FIRST_TOKEN, /* generate admitted to its first chunk */
	METRICS_INTER_TOKEN, /* per token between chunks */
	METRICS_LOAD,        /* load_model admitted to answered */
	METRICS_N_TIMES
};

enum metrics_count {
	METRICS_FRAMES_OUT, /* request frames written to workers */
	METRICS_BATCHES,    /* of those, with more than one call */
	METRICS_STREAMS,
	METRICS_STREAMS_FAILED,
	METRICS_CANCELS,
	METRICS_OVERLOADS,
	METRICS_TIMEOUTS,
	METRICS_CRASHES,
	METRICS_SILENT,        /* of the crashes: killed for not answering */
	METRICS_RETRIES,       /* calls and streams given to a worker again */
	METRICS_REPLAYS,       /* of those, open streams */
	METRICS_RETRIES_SPENT, /* not, for the budget was spent */
	METRICS_POISONED,      /* not, for too many workers died with it */
	METRICS_JOINED,        /* calls answered with an equal one's answer */
	METRICS_LOST,          /* not, for it could not be or was not wanted */
	METRICS_TOKENS_IN,
	METRICS_TOKENS_OUT,
	METRICS_TOKENS_CACHED,
	METRICS_TOKENS_DRAFTED,
	METRICS_TOKENS_ACCEPTED,
	METRICS_BAD_MESSAGES,
	METRICS_N_COUNTS
};

struct metrics {
	struct metrics_method *methods;
	struct histogram times[METRICS_N_TIMES];
	struct histogram batch_size; /* calls a frame */
	uint64_t counts[METRICS_N_COUNTS];
};

void metrics_release(struct metrics *m);
void metrics_answered(struct metrics *m, const char *method, int code);

/* Values known only when asked: queue depth, worker states. */
struct metrics_gauge {
	const char *name;
	const char *labels; /* `worker="0"`, or "" */
	double value;
};

/* Members of a JSON object, without its braces. */
void metrics_write_json(const struct metrics *m, struct buf *out);
/* Prometheus text exposition format 0.0.4. */
void metrics_write_prometheus(const struct metrics *m, const struct metrics_gauge *gauges,
	size_t n_gauges, struct buf *out);
#endif
