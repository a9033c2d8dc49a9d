/* artifact_write.c - weights made in the pages of the file that keeps them. */
#include "protocol/mem.h"
#include "worker/model/artifact.h"
#include "worker/model/artifact_format.h"
#include "worker/model/huge.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xxhash.h>

struct artifact_writer {
	int fd;
	bool is_full; /* the disk is, or an id came twice */
	struct artifact_entry *entries;
	void **mapped; /* [n] the parts */
	size_t n, cap;
	uint64_t end; /* where the next part goes */
	size_t n_bytes;
};

struct artifact_writer *artifact_writer_new(int fd)
{
	struct artifact_writer *w = xcalloc(1, sizeof *w);

	w->fd = fd;
	w->end = ARTIFACT_ALIGN;
	return w;
}

void artifact_writer_free(struct artifact_writer *w)
{
	if (!w)
		return;
	for (size_t i = 0; i < w->n; i++)
		munmap(w->mapped[i], w->entries[i].n_bytes);
	if (w->fd >= 0)
		close(w->fd);
	free(w->mapped);
	free(w->entries);
	free(w);
}

/* Blocks are taken from the disk now: a page that finds none when it is written ends the
 * process. In large pages, which later readers find in memory, there are few faults on the way. */
static void *map_room(struct artifact_writer *w, size_t n_bytes)
{
	void *p;

	if (n_bytes == 0 || n_bytes > INT64_MAX - w->end - ARTIFACT_ALIGN ||
		posix_fallocate(w->fd, (off_t)w->end, (off_t)n_bytes) != 0)
		return NULL;
	p = mmap(NULL, n_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, w->fd, (off_t)w->end);
	if (p == MAP_FAILED)
		return NULL;
	huge_advise(p, n_bytes);
	return p;
}

void *artifact_add(struct artifact_writer *w, const struct artifact_id *id, size_t n_bytes)
{
	void *p;

	if (w->is_full || w->n == ARTIFACT_PARTS_MAX || !(p = map_room(w, n_bytes))) {
		w->is_full = true;
		return NULL;
	}
	if (w->n == w->cap) {
		w->cap = w->cap ? 2 * w->cap : 64;
		w->entries = xreallocarray(w->entries, w->cap, sizeof *w->entries);
		w->mapped = xreallocarray(w->mapped, w->cap, sizeof *w->mapped);
	}
	w->entries[w->n] = (struct artifact_entry) { *id, w->end, n_bytes, 0 };
	w->mapped[w->n++] = p;
	w->n_bytes += n_bytes;
	w->end = (w->end + n_bytes + ARTIFACT_ALIGN - 1) / ARTIFACT_ALIGN * ARTIFACT_ALIGN;
	return p;
}

static int by_id(const void *a, const void *b)
{
	return memcmp(&((const struct artifact_entry *)a)->id,
		&((const struct artifact_entry *)b)->id, sizeof(struct artifact_id));
}

/* The index rises by id and no id comes twice, or no reader would take it. */
static struct artifact_entry *make_index(struct artifact_writer *w)
{
	struct artifact_entry *index = xreallocarray(NULL, w->n + 1, sizeof *index);

	for (size_t i = 0; i < w->n; i++) {
		index[i] = w->entries[i];
		index[i].sum = XXH3_64bits(w->mapped[i], index[i].n_bytes);
	}
	qsort(index, w->n, sizeof *index, by_id);
	for (size_t i = 1; i < w->n; i++)
		if (by_id(&index[i - 1], &index[i]) == 0)
			w->is_full = true;
	return index;
}

static bool write_at(int fd, const void *bytes, size_t n, uint64_t at)
{
	const char *from = bytes;

	while (n > 0) {
		ssize_t put = pwrite(fd, from, n, (off_t)at);
		if (put < 0 && errno == EINTR)
			continue;
		if (put <= 0)
			return false;
		from += put;
		at += (size_t)put;
		n -= (size_t)put;
	}
	return true;
}

static void fill_header(const struct artifact_writer *w, const struct artifact_entry *index,
	const char *label, struct artifact_header *h)
{
	const size_t n_index = w->n * sizeof *index;

	memcpy(h->magic, ARTIFACT_MAGIC, sizeof h->magic);
	h->version = ARTIFACT_VERSION;
	h->n_parts = (uint32_t)w->n;
	h->index_at = w->end;
	h->n_bytes = w->end + n_index;
	h->index_sum = XXH3_64bits(index, n_index);
	for (size_t i = 0; label[i] && i + 1 < sizeof h->label; i++)
		h->label[i] = label[i] < ' ' || label[i] > '~' ? '?' : label[i];
	h->sum = XXH3_64bits(h, offsetof(struct artifact_header, sum));
}

int artifact_finish(struct artifact_writer *w, const struct artifact_id *key, const char *label,
	struct fault *f)
{
	struct artifact_header h = { .key = *key };
	struct artifact_entry *index = make_index(w);
	int rc = 0;

	fill_header(w, index, label, &h);
	for (size_t i = 0; i < w->n; i++)
		mprotect(w->mapped[i], w->entries[i].n_bytes, PROT_READ);
	if (w->is_full)
		rc = fault_set(f, ERR_IO, "packed weights do not fit on the disk");
	else if (!write_at(w->fd, index, w->n * sizeof *index, h.index_at) || fsync(w->fd) != 0 ||
		 !write_at(w->fd, &h, sizeof h, 0) || fsync(w->fd) != 0)
		rc = fault_set(f, ERR_IO, "packed weights cannot be written: %s", strerror(errno));
	free(index);
	return rc;
}

size_t artifact_written(const struct artifact_writer *w)
{
	return w->n_bytes;
}
