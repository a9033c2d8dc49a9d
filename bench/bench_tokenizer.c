/* bench_tokenizer.c - megabytes a second of one encode call.
 *
 *     bench_tokenizer FOLDER TEXT_FILE [MB]
 *
 * The text is repeated to MB (10) megabytes and encoded whole by one thread; processor time, the
 * best of five (other work on the machine only adds waiting). */
#include "worker/text/tokenizer.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double seconds(void)
{
	struct timespec t;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void read_text(const char *path, size_t n_want, struct buf *out)
{
	char block[65536];
	FILE *file = fopen(path, "rb");
	size_t n;
	while (file && (n = fread(block, 1, sizeof block, file)) > 0)
		buf_add(out, block, n);
	if (file)
		fclose(file);
	size_t n_once = out->n_bytes;
	while (n_once > 0 && out->n_bytes + n_once <= n_want) {
		buf_reserve(out, n_once);
		buf_add(out, out->data, n_once);
	}
}

int main(int argc, char **argv)
{
	struct tokenizer *t;
	struct fault f = { 0 };
	struct buf text = BUF_INIT;
	struct tok_ids ids = { 0 };
	double best = 1e9;
	if (argc < 3) {
		fprintf(stderr, "usage: bench_tokenizer FOLDER TEXT_FILE [MB]\n");
		return 64;
	}
	double start = seconds();
	if (tokenizer_open_folder(argv[1], &t, &f) != 0) {
		fprintf(stderr, "%s\n", f.text);
		return 65;
	}
	double load = seconds() - start;
	read_text(argv[2], (argc > 3 ? strtoul(argv[3], NULL, 10) : 10) * 1000000, &text);
	for (int i = 0; i < 5; i++) {
		ids.n = 0;
		start = seconds();
		if (tokenizer_encode(t, text.data, text.n_bytes, 0, &ids, &f) != 0) {
			fprintf(stderr, "%s\n", f.text);
			return 65;
		}
		double took = seconds() - start;
		best = took < best ? took : best;
	}
	printf("%s: %.1f MB/s, %zu bytes, %zu tokens, loaded in %.0f ms\n", argv[1],
		1e-6 * (double)text.n_bytes / best, text.n_bytes, ids.n, 1e3 * load);
	tok_ids_release(&ids);
	buf_release(&text);
	tokenizer_free(t);
	return 0;
}
