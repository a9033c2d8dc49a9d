/* roots.c - models by name in the model roots. */
#include "worker/roots.h"
#include "protocol/buf.h"
#include "protocol/mem.h"
#include <dirent.h>
#include <stdlib.h>
#include <unistd.h>

static const char *const default_roots[] = { "models" };

static size_t list_roots(const struct worker_options *o, const char *const **roots)
{
	*roots = o->n_roots ? o->roots : default_roots;
	return o->n_roots ? o->n_roots : 1;
}

char *roots_find(const struct worker_options *o, const char *model_id, struct fault *f)
{
	const char *const *roots;
	const size_t n = list_roots(o, &roots);
	struct buf tried = BUF_INIT;
	for (size_t i = 0; i < n; i++) {
		char *path = xasprintf("%s/%s", roots[i], model_id);
		if (access(path, F_OK) == 0) {
			buf_release(&tried);
			return path;
		}
		buf_addf(&tried, "%s%s", i ? ", " : "", path);
		free(path);
	}
	fault_set(f, ERR_MODEL_LOAD,
		"Failed to load model %s: no such folder or file: %s (give local_path, --models or "
		"TANDEM_MODELS)",
		model_id, buf_cstr(&tried));
	fault_add_str(f, "model_id", model_id);
	buf_release(&tried);
	return NULL;
}

struct walk {
	void (*fn)(void *arg, const char *model_id, const char *path);
	void *arg;
};

static bool is_model(const char *folder)
{
	char *config = xasprintf("%s/config.json", folder);
	const bool yes = access(config, R_OK) == 0;
	free(config);
	return yes;
}

/* prefix: "" or "organisation/". */
static void walk_folder(const struct walk *w, const char *folder, const char *prefix)
{
	DIR *d = opendir(folder);
	struct dirent *e;
	while (d && (e = readdir(d))) {
		if (e->d_name[0] == '.')
			continue;
		char *path = xasprintf("%s/%s", folder, e->d_name);
		char *id = xasprintf("%s%s", prefix, e->d_name);
		if (is_model(path)) {
			w->fn(w->arg, id, path);
		} else if (!*prefix) {
			char *deeper = xasprintf("%s/", id);
			walk_folder(w, path, deeper);
			free(deeper);
		}
		free(path);
		free(id);
	}
	if (d)
		closedir(d);
}

void roots_each(const struct worker_options *o,
	void (*fn)(void *arg, const char *model_id, const char *path), void *arg)
{
	const char *const *roots;
	const size_t n = list_roots(o, &roots);
	const struct walk w = { fn, arg };
	for (size_t i = 0; i < n; i++)
		walk_folder(&w, roots[i], "");
}
