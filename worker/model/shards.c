/* shards.c - several .safetensors files as one source. */
#include "worker/model/shards.h"
#include "protocol/buf.h"
#include "protocol/json_scan.h"
#include "protocol/mem.h"
#include "worker/model/mapped_file.h"
#include "worker/model/safetensors.h"
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#define INDEX_BYTES_MAX ((size_t)64 << 20)

struct shard {
	char *file; /* name in the folder; owned */
	struct tensor_source *source;
	UT_hash_handle hh; /* by file */
};

struct place {
	const struct tensor *t;
	UT_hash_handle hh; /* by t->name */
};

struct shards {
	struct tensor_source base;
	char *where; /* the index's path */
	char *folder;
	struct shard *by_file;
	size_t n_shards;
	struct place *places; /* [n_places] */
	size_t n_places, cap_places;
	struct place *by_name;
};

static struct shard *open_shard(struct shards *s, const char *file, struct fault *f)
{
	struct shard *shard;
	char *path;

	HASH_FIND_STR(s->by_file, file, shard);
	if (shard)
		return shard;
	if (*file == '\0' || strchr(file, '/') || strstr(file, "..") || s->n_shards == SHARDS_MAX) {
		fault_set(f, ERR_MODEL_LOAD, "%s: \"%s\" is no file name for a shard", s->where,
			file);
		return NULL;
	}
	shard = xcalloc(1, sizeof *shard);
	path = xasprintf("%s/%s", s->folder, file);
	if (safetensors_open(path, &shard->source, f) < 0) {
		free(path);
		free(shard);
		return NULL;
	}
	free(path);
	shard->file = xstrdup(file);
	s->n_shards++;
	HASH_ADD_KEYPTR(hh, s->by_file, shard->file, strlen(shard->file), shard);
	return shard;
}

static int add_place(struct shards *s, const char *name, const char *file, struct fault *f)
{
	struct shard *shard = open_shard(s, file, f);
	const struct tensor *t;

	if (!shard)
		return ERR_MODEL_LOAD;
	t = tensor_find(shard->source, name);
	if (!t)
		return fault_set(
			f, ERR_MODEL_LOAD, "%s: tensor %s is not in %s", s->where, name, file);
	if (s->n_places == s->cap_places) {
		s->cap_places = s->cap_places ? 2 * s->cap_places : 256;
		s->places = xreallocarray(s->places, s->cap_places, sizeof *s->places);
	}
	s->places[s->n_places++] = (struct place) { .t = t };
	return 0;
}

static int read_map(struct shards *s, struct json_span map, struct fault *f)
{
	struct json_cursor at;
	struct json_span key, value;
	int rc = 0;

	for (at = json_iterate(map); rc == 0 && json_next_member(&at, &key, &value);) {
		struct buf name = BUF_INIT, file = BUF_INIT;
		if (!json_get_str(key, &name) || !json_get_str(value, &file))
			rc = fault_set(f, ERR_MODEL_LOAD, "%s: weight_map.%s is not a file name",
				s->where, buf_cstr(&name));
		else
			rc = add_place(s, buf_cstr(&name), buf_cstr(&file), f);
		buf_release(&name);
		buf_release(&file);
	}
	for (size_t i = 0; i < s->n_places; i++) {
		struct place *p = &s->places[i];
		HASH_ADD_KEYPTR(hh, s->by_name, p->t->name, strlen(p->t->name), p);
	}
	return rc;
}

static int read_index(struct shards *s, const struct mapped_file *m, struct fault *f)
{
	struct json_span all = { (const char *)m->data, m->n_bytes }, map;
	struct fault why = { 0 };

	if (m->n_bytes > INDEX_BYTES_MAX)
		return fault_set(f, ERR_MODEL_LOAD, "%s: larger than 64 MiB", s->where);
	if (json_scan(all.at, all.n, &why) < 0)
		return fault_set(f, ERR_MODEL_LOAD, "%s: %s", s->where, why.text);
	all = json_whole(all.at, all.n);
	if (json_kind(all) != '{')
		return fault_set(f, ERR_MODEL_LOAD, "%s: not a JSON object", s->where);
	map = json_find(all, "weight_map");
	if (json_kind(map) != '{')
		return fault_set(f, ERR_MODEL_LOAD, "%s: weight_map is not an object", s->where);
	return read_map(s, map, f);
}

static const struct tensor *find(const struct tensor_source *base, const char *name)
{
	const struct shards *s = (const struct shards *)base;
	struct place *p;

	HASH_FIND_STR(s->by_name, name, p);
	return p ? p->t : NULL;
}

static const struct tensor *at(const struct tensor_source *base, size_t i)
{
	const struct shards *s = (const struct shards *)base;

	return i < s->n_places ? s->places[i].t : NULL;
}

static const char *metadata(const struct tensor_source *base, const char *key)
{
	const struct shards *s = (const struct shards *)base;

	return s->by_file ? s->by_file->source->ops->metadata(s->by_file->source, key) : NULL;
}

static void close_source(struct tensor_source *base)
{
	struct shards *s = (struct shards *)base;
	struct shard *shard, *next;

	HASH_CLEAR(hh, s->by_name);
	free(s->places);
	HASH_ITER (hh, s->by_file, shard, next) {
		HASH_DEL(s->by_file, shard);
		tensor_source_close(shard->source);
		free(shard->file);
		free(shard);
	}
	free(s->where);
	free(s->folder);
	free(s);
}

/* In the order in which the index names them first. */
static const char *file(const struct tensor_source *base, size_t i)
{
	const struct shards *s = (const struct shards *)base;
	const struct shard *shard = s->by_file;

	for (; shard && i > 0; i--)
		shard = shard->hh.next;
	return shard ? shard->source->where : NULL;
}

static const struct tensor_source_ops OPS = { "safetensors", find, at, metadata, file,
	close_source };

int shards_open(const char *index_path, struct tensor_source **out, struct fault *f)
{
	const char *slash = strrchr(index_path, '/');
	struct shards *s = xcalloc(1, sizeof *s);
	struct mapped_file m;
	int rc;

	s->where = xstrdup(index_path);
	s->folder = slash ? xstrndup(index_path, (size_t)(slash - index_path) + 1) : xstrdup(".");
	s->base = (struct tensor_source) { &OPS, s->where };
	rc = mapped_file_open(&m, index_path, f);
	if (rc == 0) {
		rc = read_index(s, &m, f);
		mapped_file_close(&m);
	}
	if (rc < 0)
		close_source(&s->base);
	else
		*out = &s->base;
	return rc;
}
