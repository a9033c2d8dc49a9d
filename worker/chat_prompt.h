/* chat_prompt.h - a conversation in a request's params, and the prompt it makes. */
#ifndef WORKER_CHAT_PROMPT_H
#define WORKER_CHAT_PROMPT_H
#include "worker/handlers.h"
#include "worker/text/tokenizer.h"

struct model;

/* messages (with tools, documents, chat_template …) → token ids, appended to *out.
 * ERR_INVALID_PARAMS with the template's own message when it raises. */
int chat_prompt_encode(
	const struct model *m, struct json_object *params, struct tok_ids *out, struct fault *f);

handler_fn handle_apply_chat_template;
#endif
