/* roots_cache.c - the Hugging Face cache's layout. */
#include "worker/roots_cache.h"
#include "protocol/buf.h"
#include "protocol/mem.h"
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define REVISION_MAX 128

static bool is_revision(const char *s)
{
	static const char allowed[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
	return *s && *s != '.' && s[strspn(s, allowed)] == '\0';
}

/* The first line of refs/main; false if there is none that could name a folder. */
static bool read_main(const char *folder, char revision[REVISION_MAX])
{
	char *path = xasprintf("%s/refs/main", folder);
	FILE *from = fopen(path, "re");
	free(path);
	if (!from)
		return false;
	const bool read = fgets(revision, REVISION_MAX, from) != NULL;
	fclose(from);
	if (!read)
		return false;
	revision[strcspn(revision, " \r\n\t")] = '\0';
	return is_revision(revision);
}

static bool only_snapshot(const char *folder, char revision[REVISION_MAX])
{
	char *path = xasprintf("%s/snapshots", folder);
	DIR *d = opendir(path);
	struct dirent *e;
	size_t n = 0;
	free(path);
	while (d && n < 2 && (e = readdir(d)))
		if (is_revision(e->d_name) && strlen(e->d_name) < REVISION_MAX && n++ == 0)
			memcpy(revision, e->d_name, strlen(e->d_name) + 1);
	if (d)
		closedir(d);
	return n == 1;
}

char *cache_snapshot(const char *root, const char *hub, const char *repo)
{
	const char *slash = strchr(repo, '/');
	const int n_org = slash ? (int)(slash - repo) : 0;
	char revision[REVISION_MAX], *folder, *path = NULL;
	struct stat st;
	if (slash)
		folder = xasprintf(
			"%s/%s" CACHE_PREFIX "%.*s--%s", root, hub, n_org, repo, slash + 1);
	else
		folder = xasprintf("%s/%s" CACHE_PREFIX "%s", root, hub, repo);
	if (read_main(folder, revision) || only_snapshot(folder, revision))
		path = xasprintf("%s/snapshots/%s", folder, revision);
	if (path && (stat(path, &st) != 0 || !S_ISDIR(st.st_mode))) {
		free(path);
		path = NULL;
	}
	free(folder);
	return path;
}

char *cache_repo(const char *folder_name)
{
	const size_t n_prefix = strlen(CACHE_PREFIX);
	if (strncmp(folder_name, CACHE_PREFIX, n_prefix) != 0 || !folder_name[n_prefix])
		return NULL;
	const char *repo = folder_name + n_prefix, *cut = strstr(repo, "--");
	return cut ? xasprintf("%.*s/%s", (int)(cut - repo), repo, cut + 2) : xstrdup(repo);
}
