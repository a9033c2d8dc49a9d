/* tiny_model.h - a one-layer Llama written to a folder, to be bent by the test that wants it. */
#ifndef TESTS_WORKER_TINY_MODEL_H
#define TESTS_WORKER_TINY_MODEL_H
#include <stddef.h>

/* A folder below /tmp with config.json, model.safetensors and the bundled tokenizer.json.
 * `config` NULL: TINY_CONFIG. Tensors named in `leave_out` (or NULL) are not written; the one
 * named `bend` (or NULL) gets one row more. Free with tiny_model_remove. */
char *tiny_model_write(const char *config, const char *leave_out, const char *bend);
/* Without weights: the config (NULL: TINY_CONFIG) and the tokenizer alone. */
char *tiny_model_folder(const char *config);
/* The same tensors in two files with an index. */
char *tiny_model_write_shards(void);
void tiny_model_remove(char *folder);
/* Replace one file's contents. */
void tiny_model_put(const char *folder, const char *name, const char *text);

#define TINY_FIELDS                                                                     \
	"\"model_type\":\"llama\",\"hidden_size\":32,\"num_hidden_layers\":1,"          \
	"\"num_attention_heads\":2,\"num_key_value_heads\":1,\"intermediate_size\":64," \
	"\"vocab_size\":128,\"max_position_embeddings\":256,\"rms_norm_eps\":1e-5,"     \
	"\"rope_theta\":10000.0,\"tie_word_embeddings\":false"
#define TINY_CONFIG "{" TINY_FIELDS "}"
#endif
