/* load_spec.c - load_model's parameters. */
#include "worker/load_spec.h"
#include "protocol/mem.h"
#include "worker/params.h"
#include "worker/roots.h"
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <xxhash.h>

static enum kv_dtype parse_kv_dtype(const char *name)
{
	return !name || strcmp(name, "f32") == 0 ? KV_F32
	       : strcmp(name, "f16") == 0        ? KV_F16
	       : strcmp(name, "bf16") == 0       ? KV_BF16
						 : KV_INT8;
}

static enum activations parse_activations(const char *name)
{
	return !name || strcmp(name, "auto") == 0 ? ACTIVATIONS_AUTO
	       : strcmp(name, "float") == 0       ? ACTIVATIONS_FLOAT
						  : ACTIVATIONS_INT8;
}

static enum quantize parse_quantize(const char *name)
{
	return !name || strcmp(name, "none") == 0 ? QUANTIZE_NONE
	       : strcmp(name, "int8") == 0        ? QUANTIZE_INT8
						  : QUANTIZE_INT4;
}

/* fn(arg, name, st) for the files of the folder `path`, or for `path` itself, without a name. */
static void each_file(
	const char *path, void (*fn)(void *arg, const char *name, const struct stat *st), void *arg)
{
	struct stat st;
	if (stat(path, &st) != 0)
		return;
	DIR *dir = S_ISDIR(st.st_mode) ? opendir(path) : NULL;
	if (!dir) {
		fn(arg, NULL, &st);
		return;
	}
	for (struct dirent *e; (e = readdir(dir));)
		if (fstatat(dirfd(dir), e->d_name, &st, 0) == 0 && S_ISREG(st.st_mode))
			fn(arg, e->d_name, &st);
	closedir(dir);
}

static void add_stamp(void *arg, const char *name, const struct stat *st)
{
	const int64_t facts[] = { (int64_t)st->st_ino, st->st_size, st->st_mtim.tv_sec,
		st->st_mtim.tv_nsec };
	uint64_t *sum = arg;
	(void)name;
	*sum += XXH3_64bits(facts, sizeof facts); /* in whatever order they are listed */
}

static char *write_asked(const struct load_spec *s)
{
	uint64_t stamp = 0;
	each_file(s->path, add_stamp, &stamp);
	return xasprintf("%s|%llx|%zu|%s|%d|%d|%d", s->path, (unsigned long long)stamp,
		s->options.context_length, s->dtype ? s->dtype : "", (int)s->options.kv_dtype,
		(int)s->options.activations, (int)s->options.quantize);
}

int load_spec_read(struct load_spec *s, const struct request *rq, struct fault *f)
{
	struct json_object *params = rq->params;
	const char *model_id = params_str(params, "model_id");
	const char *given = params_str(params, "local_path");
	const char *dtype = params_str(params, "dtype");
	*s = (struct load_spec) { 0 };
	if (params_int(params, "workers", 1) != 1) {
		fault_set(f, ERR_INVALID_PARAMS,
			"workers: a worker holds one replica; the controller makes more");
		fault_add_str(f, "path", "workers");
		return ERR_INVALID_PARAMS;
	}
	s->path = given ? roots_admit(&rq->w->options, given, f)
			: roots_find(&rq->w->options, model_id, f);
	if (s->path && roots_check_links(&rq->w->options, s->path, f) < 0) {
		free(s->path);
		s->path = NULL;
	}
	if (!s->path)
		return f->err;
	s->model_id = xstrdup(model_id);
	s->dtype = dtype ? xstrdup(dtype) : NULL;
	s->options = (struct model_options) { .path = s->path,
		.context_length = (size_t)params_int(params, "context_length", 0),
		.dtype = s->dtype,
		.kv_dtype = parse_kv_dtype(params_str(params, "kv_cache_dtype")),
		.activations = parse_activations(params_str(params, "activations")),
		.quantize = parse_quantize(params_str(params, "quantization")),
		.cache = &rq->w->cache };
	s->asked = write_asked(s);
	s->is_draft = params_bool(params, "draft", false);
	s->warmup = params_bool(params, "warmup", false);
	s->keep_alive = params_has(params, "keep_alive") ? params_num(params, "keep_alive", 0)
							 : KEEP_WHILE_ROOM;
	return 0;
}

void load_spec_copy(struct load_spec *to, const struct load_spec *from)
{
	*to = *from;
	to->model_id = xstrdup(from->model_id);
	to->path = xstrdup(from->path);
	to->dtype = from->dtype ? xstrdup(from->dtype) : NULL;
	to->asked = xstrdup(from->asked);
	to->options.path = to->path;
	to->options.dtype = to->dtype;
}

void load_spec_release(struct load_spec *s)
{
	free(s->model_id);
	free(s->path);
	free(s->dtype);
	free(s->asked);
}

static bool is_weights(const char *name)
{
	const char *dot = strrchr(name, '.');
	return dot && (strcmp(dot, ".safetensors") == 0 || strcmp(dot, ".gguf") == 0);
}

static void add_bytes(void *arg, const char *name, const struct stat *st)
{
	uint64_t *n = arg;
	if (!name || is_weights(name))
		*n += (uint64_t)st->st_size;
}

uint64_t load_spec_bytes(const struct load_spec *s)
{
	uint64_t n = 0;
	each_file(s->path, add_bytes, &n);
	if (s->options.quantize == QUANTIZE_NONE)
		return n;
	/* Blocks of 32 weights, mostly of 2 bytes each before. */
	return n / 64 * (s->options.quantize == QUANTIZE_INT8 ? 34 : 18);
}
