/* artifact.c - mapping a file of weights made before, believed only after it adds up. */
#include "worker/model/artifact.h"
#include "protocol/mem.h"
#include "worker/model/artifact_format.h"
#include "worker/model/huge.h"
#include "worker/model/mapped_file.h"
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

struct artifact {
	struct mapped_file file;
	struct artifact_header header;
	const struct artifact_entry *index; /* in the mapping */
	bool *verified;                     /* [n_parts] */
};

struct artifact_id artifact_id_of(const void *bytes, size_t n)
{
	struct artifact_id id;
	XXH128_canonical_t canonical;

	XXH128_canonicalFromHash(&canonical, XXH3_128bits(bytes, n));
	memcpy(id.bytes, canonical.digest, sizeof id.bytes);
	return id;
}

void artifact_id_print(const struct artifact_id *id, char out[ARTIFACT_HEX_SIZE])
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < sizeof id->bytes; i++) {
		out[2 * i] = digits[id->bytes[i] >> 4];
		out[2 * i + 1] = digits[id->bytes[i] & 15];
	}
	out[2 * sizeof id->bytes] = '\0';
}

static bool is_label(const char *s)
{
	size_t n = strnlen(s, ARTIFACT_LABEL_MAX);

	for (size_t i = 0; i < n; i++)
		if (s[i] < ' ' || s[i] > '~')
			return false;
	return n < ARTIFACT_LABEL_MAX;
}

/* What is wrong with the header, or NULL. */
static const char *judge_header(const struct artifact *a, const struct artifact_id *key)
{
	const struct artifact_header *h = &a->header;
	const uint64_t n_index = (uint64_t)h->n_parts * sizeof(struct artifact_entry);

	if (memcmp(h->magic, ARTIFACT_MAGIC, sizeof h->magic) != 0)
		return "not a file of packed weights";
	if (h->version != ARTIFACT_VERSION)
		return "packed by another version";
	if (h->sum != XXH3_64bits(h, offsetof(struct artifact_header, sum)))
		return "damaged header";
	if (key && memcmp(key, &h->key, sizeof *key) != 0)
		return "packed from another model";
	if (h->n_bytes != a->file.n_bytes)
		return "not as long as it was written";
	if (h->n_parts > ARTIFACT_PARTS_MAX || n_index > h->n_bytes ||
		h->index_at != h->n_bytes - n_index || h->index_at % sizeof(uint64_t) != 0 ||
		h->index_at < sizeof *h || !is_label(h->label))
		return "header that does not add up";
	return NULL;
}

static const char *judge_index(const struct artifact *a)
{
	const struct artifact_header *h = &a->header;
	const struct artifact_entry *index = a->index;

	if (h->index_sum != XXH3_64bits(index, h->n_parts * sizeof *index))
		return "damaged index";
	for (size_t i = 0; i < h->n_parts; i++) {
		const struct artifact_entry *e = &index[i];
		if (e->at < ARTIFACT_ALIGN || e->at % ARTIFACT_ALIGN != 0 || e->at > h->index_at ||
			e->n_bytes > h->index_at - e->at ||
			(i > 0 && memcmp(&index[i - 1].id, &e->id, sizeof e->id) >= 0))
			return "index that does not add up";
	}
	return NULL;
}

static const char *judge(struct artifact *a, const struct artifact_id *key)
{
	const char *wrong;

	if (a->file.n_bytes < sizeof a->header)
		return "not a file of packed weights";
	memcpy(&a->header, a->file.data, sizeof a->header);
	wrong = judge_header(a, key);
	if (wrong)
		return wrong;
	a->index = (const struct artifact_entry *)(a->file.data + a->header.index_at);
	return judge_index(a);
}

int artifact_open(
	const char *path, const struct artifact_id *key, struct artifact **out, struct fault *f)
{
	struct artifact *a = xcalloc(1, sizeof *a);
	const char *wrong;
	int rc = mapped_file_open(&a->file, path, f);

	if (rc < 0) {
		free(a);
		return rc;
	}
	wrong = judge(a, key);
	if (wrong) {
		artifact_close(a);
		return fault_set(f, ERR_MODEL_LOAD, "%s: %s", path, wrong);
	}
	huge_advise(a->file.data, a->file.n_bytes);
	a->verified = xcalloc((size_t)a->header.n_parts + 1, sizeof *a->verified);
	*out = a;
	return 0;
}

void artifact_close(struct artifact *a)
{
	if (!a)
		return;
	mapped_file_close(&a->file);
	free(a->verified);
	free(a);
}

void artifact_trust(struct artifact *a)
{
	memset(a->verified, true, a->header.n_parts * sizeof *a->verified);
}

static bool verify_part(struct artifact *a, size_t i)
{
	const struct artifact_entry *e = &a->index[i];

	return XXH3_64bits(a->file.data + e->at, e->n_bytes) == e->sum;
}

static int by_id(const void *key, const void *entry)
{
	return memcmp(key, &((const struct artifact_entry *)entry)->id, sizeof(struct artifact_id));
}

const void *artifact_part(
	struct artifact *a, const struct artifact_id *id, size_t n_bytes, bool *damaged)
{
	const struct artifact_entry *e =
		bsearch(id, a->index, a->header.n_parts, sizeof *a->index, by_id);
	size_t i;

	*damaged = false;
	if (!e || e->n_bytes != n_bytes)
		return NULL;
	i = (size_t)(e - a->index);
	if (!a->verified[i])
		a->verified[i] = verify_part(a, i);
	*damaged = !a->verified[i];
	return *damaged ? NULL : a->file.data + e->at;
}

int artifact_verify(struct artifact *a, struct fault *f)
{
	for (size_t i = 0; i < a->header.n_parts; i++)
		if (!(a->verified[i] = verify_part(a, i)))
			return fault_set(f, ERR_MODEL_LOAD,
				"%s: damaged: part %zu, %llu bytes from byte %llu", a->file.path, i,
				(unsigned long long)a->index[i].n_bytes,
				(unsigned long long)a->index[i].at);
	return 0;
}

size_t artifact_bytes(const struct artifact *a)
{
	return a->file.n_bytes;
}

size_t artifact_n_parts(const struct artifact *a)
{
	return a->header.n_parts;
}

const char *artifact_label(const struct artifact *a)
{
	return a->header.label;
}
