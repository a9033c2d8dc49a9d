/* roots_links.c - whether the files of a model lie in a root, too. */
#include "protocol/mem.h"
#include "worker/roots.h"
#include "worker/roots_cache.h"
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct check {
	const struct worker_options *options;
	struct fault *fault;
	size_t n_entries; /* links can make a folder look endless */
};

static int check_folder(struct check *c, const char *folder, const char *prefix, int depth);

static bool is_in_a_root(const struct check *c, const char *path)
{
	const char *const *roots;
	const size_t n = roots_list(c->options, &roots);
	for (size_t i = 0; i < n; i++)
		if (roots_contain(roots[i], path))
			return true;
	return false;
}

static int check_entry(struct check *c, const char *path, int depth)
{
	struct stat own, target;
	if (c->n_entries++ >= ROOTS_ENTRIES_MAX)
		return fault_set(c->fault, ERR_MODEL_LOAD, "%s: more than %d files in this model",
			path, ROOTS_ENTRIES_MAX);
	/* What a link without a target names cannot be read. */
	if (lstat(path, &own) != 0 || stat(path, &target) != 0)
		return 0;
	if (S_ISLNK(own.st_mode) && !is_in_a_root(c, path))
		return fault_set(c->fault, ERR_MODEL_LOAD, "%s leads out of the model roots", path);
	return S_ISDIR(target.st_mode) ? check_folder(c, path, "", depth + 1) : 0;
}

/* Its entries that begin with prefix. */
static int check_folder(struct check *c, const char *folder, const char *prefix, int depth)
{
	int err = 0;
	struct dirent *e;
	DIR *d = depth < ROOTS_DEPTH_MAX ? opendir(folder) : NULL;
	while (d && err == 0 && (e = readdir(d))) {
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..") ||
			strncmp(e->d_name, prefix, strlen(prefix)) != 0)
			continue;
		char *path = xasprintf("%s/%s", folder, e->d_name);
		err = check_entry(c, path, depth);
		free(path);
	}
	if (d)
		closedir(d);
	return err;
}

/* A file, and the other parts of it: their names differ in the number at the end. */
static int check_parts(struct check *c, const char *path)
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	const size_t n_end = sizeof "00001-of-00001.gguf" - 1, n = strlen(name);
	/* Of a file in "/" the slash itself. */
	const size_t n_folder = slash > path ? (size_t)(slash - path) : 1;
	char *folder = slash ? xstrndup(path, n_folder) : xstrdup(".");
	char *prefix = n > n_end ? xstrndup(name, n - n_end) : xstrdup(name);
	int err = check_folder(c, folder, prefix, ROOTS_DEPTH_MAX - 1);
	free(prefix);
	free(folder);
	return err;
}

int roots_check_links(const struct worker_options *o, const char *path, struct fault *f)
{
	struct check c = { .options = o, .fault = f };
	struct stat st;
	if (!o->roots_only || stat(path, &st) != 0)
		return 0;
	return S_ISDIR(st.st_mode) ? check_folder(&c, path, "", 0) : check_parts(&c, path);
}
