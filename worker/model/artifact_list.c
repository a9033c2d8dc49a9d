/* artifact_list.c - the folder of packed weights as a whole: what is there, and what must go. */
#include "protocol/log.h"
#include "protocol/mem.h"
#include "worker/model/artifact_store.h"
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

char *artifact_store_path(const struct artifact_store *s, const char *name, const char *ending)
{
	return xasprintf("%s/%s.%s", s->folder, name, ending);
}

/* Ours are 32 hexadecimal digits and an ending; whatever else lies there is somebody else's. */
static bool is_ours(const char *file, const char *ending)
{
	const size_t n = ARTIFACT_HEX_SIZE - 1;

	return strspn(file, "0123456789abcdef") == n && strcmp(file + n, ending) == 0;
}

static int by_use(const void *a, const void *b)
{
	const struct artifact_listed *x = a, *y = b;

	if (x->used.tv_sec != y->used.tv_sec)
		return x->used.tv_sec < y->used.tv_sec ? 1 : -1;
	if (x->used.tv_nsec != y->used.tv_nsec)
		return x->used.tv_nsec < y->used.tv_nsec ? 1 : -1;
	return strcmp(x->name, y->name);
}

struct artifact_listed *artifact_store_list(const struct artifact_store *s, size_t *n)
{
	DIR *dir = s->folder ? opendir(s->folder) : NULL;
	struct artifact_listed *list = NULL;
	const struct dirent *d;
	struct stat st;

	*n = 0;
	while (dir && (d = readdir(dir))) {
		if (!is_ours(d->d_name, ".pack") ||
			fstatat(dirfd(dir), d->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0 ||
			!S_ISREG(st.st_mode))
			continue;
		list = xreallocarray(list, *n + 1, sizeof *list);
		list[*n] = (struct artifact_listed) { .n_bytes = (size_t)st.st_size,
			.used = st.st_atim };
		memcpy(list[(*n)++].name, d->d_name, ARTIFACT_HEX_SIZE - 1);
	}
	if (dir)
		closedir(dir);
	if (list)
		qsort(list, *n, sizeof *list, by_use);
	return list;
}

bool artifact_store_remove(const struct artifact_store *s, const char *name)
{
	char *pack = artifact_store_path(s, name, "pack"), *ok = artifact_store_path(s, name, "ok");
	const bool was_there = unlink(pack) == 0;

	unlink(ok);
	free(pack);
	free(ok);
	return was_there;
}

size_t artifact_store_evict(const struct artifact_store *s)
{
	size_t n, sum = 0, n_gone = 0;
	struct artifact_listed *list = artifact_store_list(s, &n);

	for (size_t i = 0; s->max_bytes > 0 && i < n; i++) {
		if (list[i].n_bytes <= s->max_bytes - sum) {
			sum += list[i].n_bytes;
			continue;
		}
		log_info("packed weights %s (%zu MB) go: more than --cache-bytes", list[i].name,
			list[i].n_bytes >> 20);
		n_gone += artifact_store_remove(s, list[i].name);
	}
	free(list);
	return n_gone;
}

/* What a dead process left half made; a living one's is locked. */
static void remove_abandoned(int dir, const char *file)
{
	int fd = openat(dir, file, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

	if (fd < 0)
		return;
	if (flock(fd, LOCK_EX | LOCK_NB) == 0)
		unlinkat(dir, file, 0);
	close(fd);
}

void artifact_store_clear(const struct artifact_store *s)
{
	DIR *dir = s->folder ? opendir(s->folder) : NULL;
	const struct dirent *d;

	while (dir && (d = readdir(dir)))
		if (is_ours(d->d_name, ".tmp"))
			remove_abandoned(dirfd(dir), d->d_name);
		else if (is_ours(d->d_name, ".pack") || is_ours(d->d_name, ".ok") ||
			 is_ours(d->d_name, ".sum"))
			unlinkat(dirfd(dir), d->d_name, 0);
	if (dir)
		closedir(dir);
}
