/* fuzz_safetensors.c - whatever a .safetensors file holds: refused with a reason, or every
 * byte of every tensor can be read and lies in order, without holes. */
#include "worker/model/safetensors.h"
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool so)
{
	if (!so)
		abort();
}

static void walk(const struct tensor_source *s, size_t size)
{
	volatile uint8_t sink = 0;
	const struct tensor *t;
	size_t total = 0;

	for (size_t i = 0; (t = tensor_at(s, i)) != NULL; i++) {
		const uint8_t *bytes = t->data;
		size_t n = 1;
		for (size_t d = 0; d < t->n_dims; d++)
			n *= t->dims[d];
		must(n == t->n_values);
		if (t->n_bytes > 0)
			sink ^= bytes[0] ^ bytes[t->n_bytes - 1];
		total += t->n_bytes;
		must(tensor_find(s, t->name) == t);
	}
	(void)sink;
	must(total <= size);
	must(!tensor_find(s, "no such tensor"));
	s->ops->metadata(s, "format");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tensor_source *s = NULL;
	struct fault f = { 0 };

	if (safetensors_parse(data, size, "fuzz", &s, &f) < 0) {
		must(f.err == ERR_MODEL_LOAD && f.text[0]);
		return 0;
	}
	walk(s, size);
	tensor_source_close(s);
	return 0;
}
