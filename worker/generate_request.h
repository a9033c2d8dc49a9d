/* generate_request.h - checked parameters → a job for the engine.
 *
 * Everything here reads immutable things only (the parameters, the model), so a very long
 * prompt may be tokenized beside the I/O thread. */
#ifndef WORKER_GENERATE_REQUEST_H
#define WORKER_GENERATE_REQUEST_H
#include "worker/catalog.h"
#include "worker/engine/engine.h"
#include "worker/worker.h"
#include <json-c/json.h>

/* A text longer than this is tokenized on the aux thread. */
#define LONG_TEXT_BYTES ((size_t)256 << 10)

/* How the result is to be written. */
struct wire_options {
	bool stream; /* chunks as they come, or one whole result */
	bool logprobs;
	int top_logprobs;
	size_t interval;   /* tokens that travel together; 0 = not asked for */
	size_t ack_window; /* tokens that may be unacknowledged; 0 = not asked for */
	double max_delay;  /* seconds a token may wait for others; negative = not asked for */
	bool include_usage;
	bool cumulative_text;
};

/* A job of kind JOB_GENERATE from generate's parameters. model: a reference is taken for
 * the job. *out is owned (job_free) until submitted. ERR_INVALID_PARAMS with data.path,
 * ERR_TOKENIZER, ERR_CONTEXT_OVERFLOW. */
int generate_request_build(struct json_object *params, struct model_ref *model, double arrived,
	struct job **out, struct fault *f);
/* stream, stream_options, logprobs. */
int generate_request_wire(struct json_object *params, struct wire_options *out, struct fault *f);

/* The parts that check_draft's token form shares. They fill a zeroed job. */
int generate_request_prompt(struct job *j, struct json_object *params, struct fault *f);
/* What params do not say is as it is for of_text; NULL: as the model's files and we have it. */
int generate_request_sampling(
	struct job *j, struct json_object *params, const struct sampling *of_text, struct fault *f);
int generate_request_cache(struct job *j, struct json_object *params, struct fault *f);
/* to->bias is owned then. */
void generate_request_copy_sampling(struct sampling *to, const struct sampling *from);

enum job_priority generate_request_priority(const char *name); /* NULL = default */

/* True if what this request has to tokenize belongs on the aux thread. */
bool generate_request_is_long(const struct request *rq);
#endif
