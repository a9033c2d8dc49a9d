/* roots.c - a model_id in the model roots. */
#include "worker/roots.h"
#include "protocol/buf.h"
#include "protocol/mem.h"
#include "worker/glance.h"
#include "worker/roots_cache.h"
#include <stdlib.h>
#include <string.h>

static const char *const default_roots[] = { "models" };

size_t roots_list(const struct worker_options *o, const char *const **roots)
{
	*roots = o->n_roots ? o->roots : default_roots;
	return o->n_roots ? o->n_roots : 1;
}

bool roots_contain(const char *root, const char *path)
{
	char *outer = realpath(root, NULL), *inner = realpath(path, NULL);
	const size_t n = outer ? strlen(outer) : 0;
	/* The root "/" ends in the slash that any other is followed by. */
	const bool yes = outer && inner && strncmp(inner, outer, n) == 0 &&
			 (inner[n] == '/' || inner[n] == '\0' || n == 1);
	free(outer);
	free(inner);
	return yes;
}

/* Takes path; gives it back if a model may be there. */
static char *if_model(const char *root, char *path)
{
	if ((glance_is_file(path) || glance_is_folder(path)) && roots_contain(root, path))
		return path;
	free(path);
	return NULL;
}

static char *find_below(const char *root, const char *folder, const char *rest)
{
	char *path = if_model(root, xasprintf("%s/%s", folder, rest));
	return path ? path : if_model(root, xasprintf("%s/%s.gguf", folder, rest));
}

/* What id names in the cache when its repository's name ends at `end`. */
static char *find_in_repo(const char *root, const char *hub, const char *id, const char *end)
{
	char *repo = xstrndup(id, (size_t)(end - id));
	char *snapshot = cache_snapshot(root, hub, repo), *path = NULL;
	if (snapshot && *end == '\0')
		path = if_model(root, xstrdup(snapshot));
	else if (snapshot)
		path = find_below(root, snapshot, end + 1);
	free(snapshot);
	free(repo);
	return path;
}

static const char *component_end(const char *s)
{
	return s + strcspn(s, "/");
}

/* "name", "org/name", or either with a file after it. */
static char *find_in_cache(const char *root, const char *hub, const char *id)
{
	const char *end = component_end(id);
	char *path = find_in_repo(root, hub, id, end);
	if (!path && *end)
		path = find_in_repo(root, hub, id, component_end(end + 1));
	return path;
}

static char *find_in_root(const char *root, const char *model_id)
{
	char *path = find_below(root, root, model_id);
	if (!path)
		path = find_in_cache(root, "", model_id);
	return path ? path : find_in_cache(root, "hub/", model_id);
}

char *roots_find(const struct worker_options *o, const char *model_id, struct fault *f)
{
	const char *const *roots;
	const size_t n = roots_list(o, &roots);
	struct buf tried = BUF_INIT;
	char *path = NULL;
	for (size_t i = 0; i < n && !path; i++) {
		path = find_in_root(roots[i], model_id);
		buf_addf(&tried, "%s%s/%s", i ? ", " : "", roots[i], model_id);
	}
	if (!path) {
		fault_set(f, ERR_MODEL_LOAD,
			"Failed to load model %s: no such model folder or file: %s (give "
			"local_path, --models or TANDEM_MODELS)",
			model_id, buf_cstr(&tried));
		fault_add_str(f, "model_id", model_id);
	}
	buf_release(&tried);
	return path;
}

char *roots_admit(const struct worker_options *o, const char *path, struct fault *f)
{
	const char *const *roots;
	const size_t n = roots_list(o, &roots);
	for (size_t i = 0; i < n; i++)
		if (roots_contain(roots[i], path))
			return xstrdup(path);
	if (!o->roots_only)
		return xstrdup(path);
	fault_set(f, ERR_MODEL_LOAD, "Failed to load %s: it is not below a model root (%s%s)", path,
		roots[0], n > 1 ? ", …" : "");
	return NULL;
}
