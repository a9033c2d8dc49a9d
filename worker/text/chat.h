/* chat.h - a model's chat templates: found beside its tokenizer, rendered, tokenized.
 *
 * Immutable after opening; any number of threads may render with one. The template comes
 * from chat_template.jinja, from tokenizer_config.json (`chat_template`: a text, or a list
 * of {name, template}), from GGUF metadata, or from the request. */
#ifndef WORKER_TEXT_CHAT_H
#define WORKER_TEXT_CHAT_H
#include "protocol/buf.h"
#include "protocol/err.h"
#include "worker/text/tokenizer.h"
#include <json-c/json.h>
#include <time.h>

struct chat;

/* What a model folder holds; a folder without a template gives a chat that refuses to
 * render with a sentence. A template that does not parse is refused when it is used, so
 * that it keeps nobody from completing text. ERR_TOKENIZER for files that cannot be read. */
int chat_open_folder(const char *folder, struct chat **out, struct fault *f);

/* The same from parts, for formats that carry their own (GGUF). Strings are copied and may
 * be NULL. */
struct chat_parts {
	const char *template_text;
	const char *bos, *eos, *unk, *pad; /* the control tokens' texts */
};
struct chat *chat_from_parts(const struct chat_parts *parts);
void chat_free(struct chat *c); /* NULL is fine */

bool chat_has_template(const struct chat *c);
/* The template's source that a request without tools would use; NULL if there is none. */
const char *chat_source(const struct chat *c);

struct chat_request {
	struct json_object *messages;  /* array, as OpenAI and Hugging Face have them */
	struct json_object *tools;     /* array or NULL */
	struct json_object *variables; /* further template variables: object or NULL */
	const char *template_text;     /* overrides the model's; or the name of one of its own */
	bool add_generation_prompt;
	const struct tm *now; /* NULL = local time */
};

/* Append the text, and to `input` a byte per byte: 1 = came from the request. Errors:
 * ERR_INVALID_PARAMS with the template's own message, or that there is none. */
int chat_render(const struct chat *c, const struct chat_request *q, struct buf *text,
	struct buf *input, struct fault *f);

/* Render and tokenize: control tokens are seen only in the template's own text. */
int chat_encode(const struct chat *c, const struct tokenizer *t, const struct chat_request *q,
	struct tok_ids *out, struct fault *f);
#endif
