/* chat_prompt.c - messages through the model's chat template. */
#include "worker/chat_prompt.h"
#include "protocol/limits.h"
#include "worker/models.h"
#include "worker/params.h"
#include "worker/text/chat.h"
#include <stdlib.h>

/* Room in a frame for the envelope around a result. */
#define ENVELOPE_BYTES 8192

/* The template variables a request sets: chat_template_kwargs, and those with a parameter of
 * their own. Owned by the caller. */
static struct json_object *variables_of(struct json_object *params)
{
	static const char *const named[] = { "documents", "enable_thinking", "reasoning_effort" };
	struct json_object *out = json_object_new_object();
	struct json_object *kwargs = params_get(params, "chat_template_kwargs");
	if (kwargs) {
		json_object_object_foreach(kwargs, key, value)
			json_object_object_add(out, key, json_object_get(value));
	}
	for (size_t i = 0; i < sizeof named / sizeof *named; i++)
		if (params_has(params, named[i]))
			json_object_object_add(
				out, named[i], json_object_get(params_get(params, named[i])));
	return out;
}

static struct chat_request request_of(struct json_object *params, struct json_object *variables)
{
	struct json_object *tools = params_get(params, "tools");
	return (struct chat_request) {
		.messages = params_get(params, "messages"),
		.tools = tools && json_object_array_length(tools) > 0 ? tools : NULL,
		.variables = variables,
		.template_text = params_str(params, "chat_template"),
		.add_generation_prompt = params_bool(params, "add_generation_prompt", true),
	};
}

int chat_prompt_encode(
	const struct model *m, struct json_object *params, struct tok_ids *out, struct fault *f)
{
	struct json_object *variables = variables_of(params);
	const struct chat_request q = request_of(params, variables);
	const int err = chat_encode(model_chat(m), model_tokenizer(m), &q, out, f);
	json_object_put(variables);
	return err;
}

static int write_text(
	const struct model *m, struct json_object *params, struct buf *out, struct fault *f)
{
	struct json_object *variables = variables_of(params);
	const struct chat_request q = request_of(params, variables);
	struct buf text = BUF_INIT, input = BUF_INIT;
	const int err = chat_render(model_chat(m), &q, &text, &input, f);
	jout_key_str(out, "text", buf_cstr(&text), text.n_bytes);
	buf_release(&text);
	buf_release(&input);
	json_object_put(variables);
	return err;
}

static int write_tokens(
	const struct model *m, struct json_object *params, struct buf *out, struct fault *f)
{
	struct tok_ids ids = { 0 };
	const int err = chat_prompt_encode(m, params, &ids, f);
	jout_key(out, "tokens");
	buf_addc(out, '[');
	for (size_t i = 0; i < ids.n; i++) {
		if (i)
			buf_addc(out, ',');
		jout_int(out, ids.ids[i]);
	}
	buf_addc(out, ']');
	jout_key_int(out, "count", (int64_t)ids.n);
	tok_ids_release(&ids);
	return err;
}

static int apply(
	const struct model *m, struct json_object *params, struct buf *out, struct fault *f)
{
	buf_addc(out, '{');
	const int err = params_bool(params, "tokenize", false) ? write_tokens(m, params, out, f)
							       : write_text(m, params, out, f);
	buf_addc(out, '}');
	if (err == 0 && out->n_bytes > FRAME_OUT_MAX - ENVELOPE_BYTES)
		return fault_set(f, ERR_INVALID_PARAMS,
			"the rendered conversation makes a result larger than a frame's %zu bytes",
			(size_t)FRAME_OUT_MAX);
	return err;
}

void handle_apply_chat_template(struct request *rq)
{
	struct fault f = { 0 };
	struct buf out = BUF_INIT;
	const char *model_id = params_str(rq->params, "model_id");
	if (models_wait_for(rq, model_id))
		return;
	struct model_ref *ref = catalog_get(rq->w->catalog, model_id, &f);
	const int err = ref ? apply(model_ref_model(ref), rq->params, &out, &f) : f.err;
	if (err)
		reply_fault(rq->reply, &f);
	else
		reply_result(rq->reply, out.data, out.n_bytes);
	json_object_put(rq->params);
	if (ref)
		model_ref_release(ref);
	buf_release(&out);
}
