/* bundle_folder.c - writing a file of a bounded set. */
#include "controller/bundle_folder.h"
#include "protocol/mem.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Where the XDG base directory specification puts what outlives a run and is no cache. */
static int find_folder(char *out, size_t cap, struct fault *f)
{
	const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
	int n = -1;
	if (state && state[0] == '/')
		n = snprintf(out, cap, "%s/tandem", state);
	else if (home && home[0] == '/')
		n = snprintf(out, cap, "%s/.local/state/tandem", home);
	if (n < 0 || (size_t)n >= cap)
		return fault_set(f, ERR_IO, "neither XDG_STATE_HOME nor HOME names a folder");
	return 0;
}

static int make_folders(char *path, struct fault *f)
{
	for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		int rc = mkdir(path, 0700);
		*slash = '/';
		if (rc < 0 && errno != EEXIST && errno != EROFS && errno != EACCES)
			return fault_set(f, ERR_IO, "cannot make %s: %s", path, strerror(errno));
	}
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return fault_set(f, ERR_IO, "cannot make %s: %s", path, strerror(errno));
	return 0;
}

/* -- how many are there ------------------------------------------------------------------ */

struct listing {
	struct dirent **names; /* of scandir, oldest first */
	int n;
};

static int is_ours(const struct dirent *d)
{
	size_t n = strlen(d->d_name), n_suffix = sizeof BUNDLE_SUFFIX - 1;
	return !strncmp(d->d_name, BUNDLE_PREFIX, sizeof BUNDLE_PREFIX - 1) && n > n_suffix &&
	       !strcmp(d->d_name + n - n_suffix, BUNDLE_SUFFIX);
}

static size_t size_of(int folder, const char *name)
{
	struct stat st;
	return fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) == 0 ? (size_t)st.st_size : 0;
}

static void remove_oldest(
	int folder, const struct listing *l, const struct bundle_limits *limits, size_t n_new)
{
	size_t n_bytes = n_new, n = (size_t)l->n + 1;
	for (int i = 0; i < l->n; i++)
		n_bytes += size_of(folder, l->names[i]->d_name);
	for (int i = 0; i < l->n && (n > limits->n || n_bytes > limits->n_bytes); i++) {
		size_t n_old = size_of(folder, l->names[i]->d_name);
		if (unlinkat(folder, l->names[i]->d_name, 0) == 0) {
			n--;
			n_bytes -= n_old;
		}
	}
}

static void make_room(int folder, const struct bundle_limits *limits, size_t n_new)
{
	struct listing l = { NULL, 0 };
	l.n = scandirat(folder, ".", &l.names, is_ours, alphasort);
	if (l.n < 0)
		return;
	remove_oldest(folder, &l, limits, n_new);
	for (int i = 0; i < l.n; i++)
		free(l.names[i]);
	free(l.names);
}

/* -- the new one ------------------------------------------------------------------------- */

static int write_file(int folder, const char *name, const struct buf *text, struct fault *f)
{
	size_t at = 0;
	ssize_t n = 0;
	int fd = openat(folder, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	while (fd >= 0 && at < text->n_bytes &&
		((n = write(fd, text->data + at, text->n_bytes - at)) > 0 || errno == EINTR))
		at += n > 0 ? (size_t)n : 0;
	int saved = errno;
	if (fd >= 0)
		close(fd);
	if (fd >= 0 && at == text->n_bytes)
		return 0;
	if (fd >= 0)
		unlinkat(folder, name, 0);
	return fault_set(f, ERR_IO, "cannot write %s: %s", name, strerror(saved));
}

int bundle_store(const char *name, const struct buf *text, const struct bundle_limits *limits,
	char *path, size_t cap, struct fault *f)
{
	char folder[PATH_MAX];
	path[0] = '\0';
	if (text->n_bytes > limits->n_bytes)
		return fault_set(f, ERR_IO, "%zu bytes are too many", text->n_bytes);
	if (find_folder(folder, sizeof folder, f) < 0 || make_folders(folder, f) < 0)
		return f->err;
	int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return fault_set(f, ERR_IO, "cannot open %s: %s", folder, strerror(errno));
	make_room(fd, limits, text->n_bytes);
	int rc = write_file(fd, name, text, f);
	close(fd);
	if (rc < 0)
		return rc;
	int n = snprintf(path, cap, "%s/%s", folder, name);
	if (n < 0 || (size_t)n >= cap)
		path[0] = '\0';
	return 0;
}
