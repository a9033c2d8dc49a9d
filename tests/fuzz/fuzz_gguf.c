/* fuzz_gguf.c - any bytes as a GGUF: its container, its config, its tokenizer, its names. */
#include "worker/model/gguf_model.h"
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct gguf *g;
	struct fault f = { 0 };
	if (gguf_parse(data, n, "fuzz", &g, &f) < 0)
		return 0;
	struct config *config = NULL;
	struct tokenizer *tokenizer = NULL;
	struct tensor_source *tensors = NULL;
	const struct gguf_arch *arch = gguf_arch_of(g, &f);
	if (arch && gguf_config(g, arch, &config, &f) == 0)
		config_free(config);
	if (gguf_tokenizer(g, &tokenizer, &f) == 0)
		tokenizer_free(tokenizer);
	chat_free(gguf_chat(g));
	if (!arch) {
		gguf_close(g);
		return 0;
	}
	struct gguf **parts = malloc(sizeof *parts);
	parts[0] = g;
	if (gguf_tensors(parts, 1, arch, &tensors, &f) == 0)
		tensor_source_close(tensors);
	return 0;
}
