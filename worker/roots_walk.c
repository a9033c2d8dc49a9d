/* roots_walk.c - every model in the model roots. */
#include "protocol/limits.h"
#include "protocol/log.h"
#include "protocol/mem.h"
#include "worker/glance.h"
#include "worker/roots.h"
#include "worker/roots_cache.h"
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct walk {
	const struct worker_options *options;
	void (*fn)(void *arg, const struct found_model *m);
	void *arg;
	const char *root;
	size_t n_entries, n_models;
	bool is_cut;
};

/* A folder and what its members' ids begin with. */
struct place {
	const char *path, *prefix; /* "" or "organisation/" */
	int depth;
	const char *hub; /* members named models--… are a cache; NULL: they are not */
};

static void walk_folder(struct walk *w, const struct place *p);

/* A name that load_model takes, and takes for this: not for what stands in a root before. */
static bool is_id_of(const struct walk *w, const char *id, const char *path)
{
	static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				      "0123456789_-./@:";
	struct fault f;
	if (id[strspn(id, allowed)] || strstr(id, "..") || strlen(id) > LIMIT_MODEL_ID) {
		log_debug("%s is not listed: its name cannot be a model_id", path);
		return false;
	}
	char *found = roots_find(w->options, id, &f);
	const bool yes = found && strcmp(found, path) == 0;
	free(found);
	return yes;
}

static void tell(struct walk *w, const char *id, const char *path, const struct glance *g)
{
	if (!is_id_of(w, id, path))
		return;
	if (w->n_models++ >= ROOTS_MODELS_MAX) {
		w->is_cut = true;
		return;
	}
	w->fn(w->arg, &(struct found_model) { .model_id = id,
			      .path = path,
			      .format = g->format,
			      .architecture = g->architecture[0] ? g->architecture : NULL,
			      .n_bytes = g->n_bytes });
}

static void take_repo(struct walk *w, const struct place *p, const char *name)
{
	char *repo = cache_repo(name);
	char *snapshot = repo ? cache_snapshot(w->root, p->hub, repo) : NULL;
	struct glance g;
	if (snapshot && glance_folder(snapshot, &g)) {
		tell(w, repo, snapshot, &g);
	} else if (snapshot) {
		char *prefix = xasprintf("%s/", repo);
		walk_folder(w, &(struct place) { snapshot, prefix, p->depth + 2, NULL });
		free(prefix);
	}
	free(snapshot);
	free(repo);
}

static void take_subfolder(struct walk *w, const struct place *p, const char *path, const char *id)
{
	char *prefix = xasprintf("%s/", id);
	const bool is_hub = p->depth == 0 && strcmp(prefix, "hub/") == 0;
	walk_folder(w, &(struct place) { path, prefix, p->depth + 1, is_hub ? "hub/" : NULL });
	free(prefix);
}

static bool is_repo(const char *name)
{
	return strncmp(name, CACHE_PREFIX, sizeof CACHE_PREFIX - 1) == 0;
}

static void take_entry(struct walk *w, const struct place *p, const char *name)
{
	char *path = xasprintf("%s/%s", p->path, name), *id = xasprintf("%s%s", p->prefix, name);
	struct stat own, target;
	struct glance g;
	const bool is_there = lstat(path, &own) == 0 && stat(path, &target) == 0;
	const bool is_folder = is_there && S_ISDIR(target.st_mode);
	if (is_folder && p->hub && is_repo(name))
		take_repo(w, p, name);
	else if (is_folder ? glance_folder(path, &g) : is_there && glance_file(path, &g))
		tell(w, id, path, &g);
	/* Links to folders are not gone into: so there are no loops. */
	else if (is_folder && S_ISDIR(own.st_mode))
		take_subfolder(w, p, path, id);
	free(id);
	free(path);
}

static void walk_folder(struct walk *w, const struct place *p)
{
	struct dirent *e;
	DIR *d = p->depth < ROOTS_DEPTH_MAX ? opendir(p->path) : NULL;
	while (d && !w->is_cut && (e = readdir(d))) {
		if (w->n_entries++ >= ROOTS_ENTRIES_MAX)
			w->is_cut = true;
		else if (e->d_name[0] != '.')
			take_entry(w, p, e->d_name);
	}
	if (d)
		closedir(d);
}

bool roots_each(const struct worker_options *o, void (*fn)(void *arg, const struct found_model *m),
	void *arg)
{
	const char *const *roots;
	const size_t n = roots_list(o, &roots);
	struct walk w = { .options = o, .fn = fn, .arg = arg };
	for (size_t i = 0; i < n; i++) {
		w.root = roots[i];
		walk_folder(&w, &(struct place) { roots[i], "", 0, "" });
	}
	if (w.is_cut)
		log_info(
			"not all of the model roots was looked at: more than %d names or %d models",
			ROOTS_ENTRIES_MAX, ROOTS_MODELS_MAX);
	return !w.is_cut;
}
