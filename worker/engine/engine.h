/* engine.h - many requests, one model each, one compute thread.
 *
 * Handlers on the I/O thread build a `struct job`, submit it and forget it; the engine
 * owns it from then on. The compute thread (engine_run) takes jobs from its inbox between
 * steps, runs prefill chunks and decode rows of all running sequences of a model in shared
 * forward passes, and tells each job's sink what came out. Sinks run on the compute thread
 * and must not block. Every submitted job ends with exactly one sink->done. */
#ifndef WORKER_ENGINE_ENGINE_H
#define WORKER_ENGINE_ENGINE_H
#include "protocol/err.h"
#include "worker/engine/sampling.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct model_ref; /* catalog.h: a counted reference to a loaded model */
struct engine;

#define ENGINE_CHUNK_ROWS 256 /* prompt tokens of one step, all sequences together */

enum job_kind { JOB_GENERATE, JOB_CHECK_DRAFT };
enum job_priority { PRIORITY_URGENT, PRIORITY_DEFAULT, PRIORITY_BACKGROUND };

enum finish { FINISH_STOP, FINISH_LENGTH, FINISH_CANCELLED, FINISH_TIMEOUT, FINISH_ERROR };
enum stop_detail { STOP_NONE, STOP_EOS, STOP_STRING, STOP_TOKEN };
const char *finish_name(enum finish f);           /* "stop" … */
const char *stop_detail_name(enum stop_detail d); /* "eos" …; NULL for STOP_NONE */

/* One generated token as the host will see it. text is whole UTF-8 and may be empty (the
 * bytes wait for the rest of a character, or may begin a stop string). The token that ends
 * a text (eos, a stop id) is delivered and counted like any other; its own text is left out
 * unless include_stop. With echo the first text begins with the prompt's. */
struct job_token {
	const char *text;
	size_t n_text;
	const struct sampled *sampled; /* id, logprob, top */
	size_t index;                  /* 0-based among this choice's generated tokens */
	int choice;                    /* 0..n-1 */
};

struct job_result {
	enum finish finish;
	enum stop_detail stop_detail;
	struct fault fault; /* FINISH_ERROR */
	size_t prompt_tokens, completion_tokens, cached_tokens, truncated_tokens;
	double queue_ms, prefill_ms, decode_ms, total_ms, ttft_ms;
	/* JOB_CHECK_DRAFT. The next token is verdicts[accepted]; it is the "eos" if stop_detail
	 * is set (an end the draft foresaw is the next token too, never an accepted one), the
	 * "bonus" if accepted == n_draft, else the "correction". finish is FINISH_STOP, or
	 * FINISH_LENGTH when the context had no room to judge the whole draft. */
	size_t accepted;
	const struct sampled *verdicts; /* [n_verdicts]: what the sampler chose per position */
	size_t n_verdicts;              /* accepted + 1 */
	const float *draft_logprobs;    /* [n_judged]: raw logprob of each draft token looked at */
	size_t n_judged;                /* accepted, + 1 if a draft token was refused */
};

struct job_sink {
	/* tokens of one step; n >= 1. Text that was held back at the end comes in a last call
	 * with the token that released it, or with done's tail (see tail). */
	void (*tokens)(void *arg, const struct job_token *t, size_t n);
	/* End of choice `choice`; tail: text released by the end that no token carried. last:
	 * the job is over and arg may be freed; nothing follows. */
	void (*done)(void *arg, int choice, const struct job_result *r, const char *tail,
		size_t n_tail, bool last);
	/* Prompt tokens processed so far; may be NULL. */
	void (*progress)(void *arg, size_t processed, size_t total);
};

struct job {
	enum job_kind kind;
	enum job_priority priority;
	uint64_t key;            /* names the job for engine_cancel; unique, never 0 */
	struct model_ref *model; /* released by the engine at the end */
	int32_t *prompt;         /* owned; ids checked against the vocabulary */
	size_t n_prompt;         /* >= 1 */
	int32_t *draft;          /* JOB_CHECK_DRAFT; owned */
	size_t n_draft;
	/* bias is owned by the job; banned is left to the engine. Choice i draws with seed + i. */
	struct sampling sampling;
	int n_choices; /* generate n, 1..LIMIT_N */
	size_t max_tokens, min_tokens;
	char **stops; /* stop strings; owned */
	size_t n_stops;
	int32_t *stop_ids; /* owned */
	size_t n_stop_ids;
	bool include_stop, ignore_eos, skip_special, truncate_left;
	bool echo; /* the prompt's text is emitted first (index of tokens unaffected) */
	size_t truncated_tokens; /* set by job_fit */
	double arrived;          /* clock_now() at arrival */
	double deadline;         /* clock_now() based, 0 = none */
	double idle_timeout;     /* seconds between tokens, 0 = none */
	const struct job_sink *sink;
	void *sink_arg;
};
void job_free(struct job *j);

/* Make the prompt fit the model's context: with truncate_left it is cut from the left, a
 * leading bos kept, such that max_tokens still fit but at least half of the context stays
 * prompt. Otherwise ERR_CONTEXT_OVERFLOW with data model_id, prompt_tokens, max. The engine
 * does this for every job; a handler that wants to answer before it submits may do it first
 * (twice is harmless). */
int job_fit(struct job *j, struct fault *f);

double clock_now(void); /* CLOCK_MONOTONIC seconds */

struct engine_options {
	int threads;        /* of kernels/pool.h */
	size_t kv_bytes;    /* per model */
	size_t max_running; /* sequences decoding together, per model */
	/* Called by engine_run before every step, holding no lock; it may wait (output that the
	 * host does not read is waited for here, never in a sink). May be NULL. */
	void (*gate)(void *arg);
	void *gate_arg;
};
struct engine *engine_new(const struct engine_options *opt);
void engine_free(struct engine *e); /* after engine_run returned */

/* Any thread. engine_cancel: true if the job was known and not over; its done follows with
 * FINISH_CANCELLED before the end of the step in flight. */
void engine_submit(struct engine *e, struct job *j);
bool engine_cancel(struct engine *e, uint64_t key);
/* End every job of this model (FINISH_CANCELLED), or NULL for all. */
void engine_cancel_model(struct engine *e, const struct model_ref *m);
size_t engine_active(struct engine *e); /* jobs not over yet */
/* Ask engine_run to return once idle (drain) or as soon as every job was cancelled. */
void engine_stop(struct engine *e, bool drain);

void engine_run(struct engine *e); /* the compute thread's whole life */
#endif
