/* fuzz_jinja.c - any text as a template, rendered with a small conversation. */
#include "worker/template/jinja.h"
#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct jinja *t;
	struct fault f = { 0 };
	if (n > 4096 || jinja_open((const char *)data, n, &t, &f))
		return 0;
	struct json_object *context = json_tokener_parse(
		"{\"messages\":[{\"role\":\"user\",\"content\":\" hi "
		"\"},{\"role\":\"assistant\",\"content\":\"\"}],"
		"\"tools\":[{\"type\":\"function\",\"n\":1.5}],\"n\":7,\"yes\":true,\"nil\":null}");
	struct jinja_options opt = { .context = context };
	struct buf text = BUF_INIT, input = BUF_INIT;
	jinja_render(t, &opt, &text, &input, &f);
	if (text.n_bytes != input.n_bytes)
		__builtin_trap();
	buf_release(&text);
	buf_release(&input);
	json_object_put(context);
	jinja_free(t);
	return 0;
}
