/* jinja.h - chat templates: a Jinja2 interpreter, sandboxed, as Hugging Face runs them.
 *
 * The environment is that of transformers' apply_chat_template: trim_blocks,
 * lstrip_blocks, loop controls, generation blocks, an immutable sandbox (no method that
 * changes a list or dict), raise_exception, strftime_now, and its own tojson. Semantics:
 * https://jinja.palletsprojects.com/en/stable/templates/
 *
 * A template is immutable after jinja_open and may be rendered by any number of threads.
 * Rendering is bounded in steps, depth and memory; what it allocates lives in one arena
 * that goes when the call returns.
 *
 * Every byte that comes out is marked as the template's own or as input (a message's
 * content, a tool, a keyword argument), so that the tokenizer can refuse to see control
 * tokens in what a user typed. */
#ifndef WORKER_TEMPLATE_JINJA_H
#define WORKER_TEMPLATE_JINJA_H
#include "protocol/buf.h"
#include "protocol/err.h"
#include <json-c/json.h>
#include <time.h>

struct jinja;

/* Parse. ERR_INVALID_PARAMS with the line and what was wrong. *out: jinja_free. */
int jinja_open(const char *source, size_t n, struct jinja **out, struct fault *f);
void jinja_free(struct jinja *t); /* NULL is fine */

struct jinja_options {
	struct json_object *context; /* input variables: an object, borrowed */
	struct json_object *trusted; /* variables that count as template text: bos_token …; may
					be NULL; borrowed */
	const struct tm *now;        /* what strftime_now sees; NULL = the local time */
};

/* Append the text to *text and one byte per byte of it to *input: 1 = came from the
 * context, 0 = the template's own. A template that raises, or runs past a limit, is
 * ERR_INVALID_PARAMS with its message (prefixed "chat template: "), nothing appended. */
int jinja_render(const struct jinja *t, const struct jinja_options *opt, struct buf *text,
	struct buf *input, struct fault *f);
#endif
