/* telemetry.h - what this worker did so far: counters and histograms, no averages.
 *
 * Owned by the I/O thread, where every answer and token passes anyway. Seconds, bytes and
 * counts; protocol.md section 7 names them. */
#ifndef WORKER_TELEMETRY_H
#define WORKER_TELEMETRY_H
#include "protocol/buf.h"
#include "protocol/err.h"
#include "protocol/methods.h"
#include "worker/engine/engine.h"
#include <stdint.h>

#define HISTOGRAM_BOUNDS  24 /* 10 us … 500 s in steps of 1-2-5 */
#define TELEMETRY_METHODS 64

struct histogram {
	uint64_t bucket[HISTOGRAM_BOUNDS + 1]; /* the last: above every bound */
	uint64_t count;
	double sum;
};
void histogram_add(struct histogram *h, double seconds);
/* The value below which share q of what was added lies, interpolated; 0 when empty. */
double histogram_quantile(const struct histogram *h, double q);

struct telemetry {
	uint64_t answers[TELEMETRY_METHODS][-ERR_LAST + 1]; /* by method row and -err; 0 = result */
	uint64_t unknown_methods;
	struct histogram request, queue, prefill, first_token, inter_token, generation, load;
	uint64_t prompt_tokens, completion_tokens, cached_tokens, draft_tokens, accepted_tokens;
	uint64_t tokenized_tokens;
	uint64_t finished[FINISH_ERROR + 1];
	uint64_t frames_in, bytes_in, bad_frames, loaded_bytes;
};

/* One answer given: method may be NULL (not one of ours); err 0 or negative. */
void telemetry_answer(struct telemetry *t, const struct method *m, int err, double seconds);
void telemetry_generation(struct telemetry *t, const struct job_result *r);

struct telemetry_now { /* what is not counted but looked up when asked */
	double uptime;
	size_t streams, models;
	uint64_t frames_out, bytes_out, rss;
};
void telemetry_write_json(
	struct buf *out, const struct telemetry *t, const struct telemetry_now *n);
void telemetry_write_prometheus(
	struct buf *out, const struct telemetry *t, const struct telemetry_now *n);
#endif
