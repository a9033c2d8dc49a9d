/* roots_cache.h - what the roots_*.c files share: roots, and Hugging Face's cache in them.
 *
 *   models--org--name/refs/main            the name of a revision
 *   models--org--name/snapshots/<rev>/…    its files, links to ../../blobs */
#ifndef WORKER_ROOTS_CACHE_H
#define WORKER_ROOTS_CACHE_H
#include "worker/options.h"

/* The roots of the options, or the default. */
size_t roots_list(const struct worker_options *o, const char *const **roots);
/* Does path, its links followed, lie in root? */
bool roots_contain(const char *root, const char *path);

#define CACHE_PREFIX "models--"

/* The snapshot of repo ("org/name" or "name") that refs/main names, or the only one: an owned
 * path; NULL if there is none. hub: "" or "hub/", below root. */
char *cache_snapshot(const char *root, const char *hub, const char *repo);
/* "models--org--name" → "org/name", owned; NULL if it is no such name. */
char *cache_repo(const char *folder_name);
#endif
