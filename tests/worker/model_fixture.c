#include "tests/worker/model_fixture.h"
#include "protocol/mem.h"
#include <criterion/criterion.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

void fixture_open_as(
	struct fixture *x, const struct model_options *opt, size_t n_threads, size_t max_rows)
{
	struct fault f = { 0 };

	*x = (struct fixture) { 0 };
	cr_assert_eq(model_open(opt, &x->model, &f), 0, "%s", f.text);
	x->pool = pool_new(n_threads);
	cr_assert_not_null(x->pool);
	x->kv = model_kv_pool(x->model, (size_t)64 << 20, &f);
	cr_assert_not_null(x->kv, "%s", f.text);
	x->context = model_context_new(x->model, x->pool, max_rows, &f);
	cr_assert_not_null(x->context, "%s", f.text);
	x->vocab_size = model_info(x->model)->vocab_size;
}

void fixture_open(struct fixture *x, const char *path, size_t n_threads, size_t max_rows)
{
	fixture_open_as(x, &(struct model_options) { .path = path }, n_threads, max_rows);
}

void fixture_close(struct fixture *x)
{
	cr_assert_eq(kv_pool_free_blocks(x->kv), kv_pool_blocks(x->kv), "blocks leaked");
	model_context_free(x->context);
	kv_pool_free(x->kv);
	pool_free(x->pool);
	model_close(x->model);
}

static const char *const LINKS[] = { "config.json", "model.safetensors", "generation_config.json",
	"tokenizer.json" };

char *fixture_with_tokenizer(const char *from)
{
	char *folder = xstrdup("/tmp/tandem-test-XXXXXX"), *whole = realpath(from, NULL);
	char *tokenizer = realpath("models/novel-7m/tokenizer.json", NULL);

	cr_assert_not_null(whole, "%s is not there", from);
	cr_assert_not_null(tokenizer);
	cr_assert_not_null(mkdtemp(folder));
	for (size_t i = 0; i < sizeof LINKS / sizeof *LINKS; i++) {
		char *target = i == 3 ? xstrdup(tokenizer) : xasprintf("%s/%s", whole, LINKS[i]);
		char *link = xasprintf("%s/%s", folder, LINKS[i]);
		if (access(target, R_OK) == 0)
			cr_assert_eq(symlink(target, link), 0);
		free(target);
		free(link);
	}
	free(whole);
	free(tokenizer);
	return folder;
}

void fixture_unlink(char *folder)
{
	for (size_t i = 0; i < sizeof LINKS / sizeof *LINKS; i++) {
		char *link = xasprintf("%s/%s", folder, LINKS[i]);
		unlink(link);
		free(link);
	}
	rmdir(folder);
	free(folder);
}

void fixture_feed(struct fixture *x, struct kv_seq *s, const struct feed *f)
{
	struct batch_row *rows = xcalloc(f->chunk, sizeof *rows);
	struct fault why = { 0 };

	for (size_t at = 0; at < f->n; at += f->chunk) {
		size_t n = f->n - at < f->chunk ? f->n - at : f->chunk;
		for (size_t i = 0; i < n; i++)
			rows[i] = (struct batch_row) { f->ids[at + i], (int32_t)(s->n_tokens + i),
				s, !f->decode, f->logits != NULL, NULL };
		cr_assert_eq(kv_reserve(s, n), 0);
		float *out = f->logits ? f->logits + at * x->vocab_size : NULL;
		cr_assert_eq(model_forward(x->context, rows, n, out, &why), 0, "%s", why.text);
	}
	free(rows);
}

int32_t fixture_argmax(const float *logits, size_t n)
{
	size_t best = 0;

	for (size_t i = 1; i < n; i++)
		if (logits[i] > logits[best])
			best = i;
	return (int32_t)best;
}

size_t fixture_resident(void *p, size_t n_bytes)
{
	const size_t page = (size_t)sysconf(_SC_PAGESIZE), within = (uintptr_t)p % page;
	const size_t n_pages = (within + n_bytes + page - 1) / page;
	unsigned char *is_there = xcalloc(n_pages, 1);
	size_t n = 0;

	cr_assert_eq(mincore((uint8_t *)p - within, n_pages * page, is_there), 0);
	for (size_t i = 0; i < n_pages; i++)
		n += is_there[i] & 1;
	free(is_there);
	return n == n_pages ? n_bytes : n * page;
}
