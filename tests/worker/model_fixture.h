/* model_fixture.h - a model opened for a test, with everything a step needs beside it. */
#ifndef TESTS_WORKER_MODEL_FIXTURE_H
#define TESTS_WORKER_MODEL_FIXTURE_H
#include "kernels/pool.h"
#include "worker/model/model.h"

/* A sanitizer makes the longest readings take minutes; their code runs in other tests too. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define FIXTURE_SLOW true
#else
#define FIXTURE_SLOW false
#endif

struct fixture {
	struct model *model;
	struct pool *pool;
	struct kv_pool *kv;
	struct model_context *context;
	size_t vocab_size;
};

/* Fails the test with the fault's text if anything does not open. */
void fixture_open(struct fixture *x, const char *path, size_t n_threads, size_t max_rows);
void fixture_open_as(
	struct fixture *x, const struct model_options *opt, size_t n_threads, size_t max_rows);
void fixture_close(struct fixture *x);

/* The folder `from` with a tokenizer.json beside its files, which goldens of architectures do
 * without; a folder of links below /tmp. Freed by fixture_unlink. */
char *fixture_with_tokenizer(const char *from);
void fixture_unlink(char *folder);

/* Append ids[0..n) to s as prompt rows (or decode rows), `chunk` at a time, writing every row's
 * logits to logits [n][vocab] unless NULL. */
struct feed {
	const int32_t *ids;
	size_t n, chunk;
	bool decode;
	float *logits;
};
void fixture_feed(struct fixture *x, struct kv_seq *s, const struct feed *f);
/* How many bytes of [p, p + n_bytes), from p's page on, are in memory. */
size_t fixture_resident(void *p, size_t n_bytes);
int32_t fixture_argmax(const float *logits, size_t n);
#endif
