/* artifact_store.c - claiming a file of packed weights, to read or to make. */
#include "worker/model/artifact_store.h"
#include "protocol/log.h"
#include "protocol/mem.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOOK_AGAIN_NS 20000000 /* while another process packs */
#define STAMP_MAX     256

char *artifact_store_default(void)
{
	const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");

	if (cache && cache[0] == '/') /* its specification: relative paths are ignored */
		return xasprintf("%s/tandem/weights", cache);
	return home && home[0] == '/' ? xasprintf("%s/.cache/tandem/weights", home) : NULL;
}

void artifact_store_init(struct artifact_store *s, const char *folder, size_t max_bytes)
{
	*s = (struct artifact_store) { folder ? xstrdup(folder) : NULL, max_bytes };
}

void artifact_store_release(struct artifact_store *s)
{
	free(s->folder);
	*s = (struct artifact_store) { 0 };
}

static char *path_of(
	const struct artifact_store *s, const struct artifact_id *key, const char *ending)
{
	char name[ARTIFACT_HEX_SIZE];

	artifact_id_print(key, name);
	return artifact_store_path(s, name, ending);
}

/* Every folder on the way, for its owner alone. */
bool artifact_store_prepare(const struct artifact_store *s)
{
	char *path = xstrdup(s->folder);

	for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		mkdir(path, 0700);
		*slash = '/';
	}
	const bool is_there = mkdir(path, 0700) == 0 || errno == EEXIST;
	if (!is_there)
		log_warn("%s: %s; packed weights are not kept", s->folder, strerror(errno));
	free(path);
	return is_there;
}

/* -- what was verified ------------------------------------------------------------------------ */

static size_t read_small(const char *path, char *out, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	ssize_t n = fd < 0 ? 0 : read(fd, out, size - 1);

	if (fd >= 0)
		close(fd);
	out[n > 0 ? n : 0] = '\0';
	return n > 0 ? (size_t)n : 0;
}

/* This file in this boot: after the next one memory holds what the disk gives back. */
static bool make_stamp(const char *pack, char out[STAMP_MAX])
{
	char boot[64];
	struct stat st;

	if (read_small("/proc/sys/kernel/random/boot_id", boot, sizeof boot) == 0 ||
		stat(pack, &st) != 0)
		return false;
	boot[strcspn(boot, "\n")] = '\0';
	snprintf(out, STAMP_MAX, "%s %ju %ju %jd %jd.%09ld\n", boot, (uintmax_t)st.st_dev,
		(uintmax_t)st.st_ino, (intmax_t)st.st_size, (intmax_t)st.st_mtim.tv_sec,
		st.st_mtim.tv_nsec);
	return true;
}

static bool was_verified(const struct artifact_store *s, const struct artifact_id *key)
{
	char *pack = path_of(s, key, "pack"), *ok = path_of(s, key, "ok");
	char now[STAMP_MAX], then[STAMP_MAX];
	const bool same = make_stamp(pack, now) && read_small(ok, then, sizeof then) > 0 &&
			  strcmp(now, then) == 0;

	free(pack);
	free(ok);
	return same;
}

void artifact_store_note_verified(const struct artifact_store *s, const struct artifact_id *key)
{
	char *pack = path_of(s, key, "pack"), *ok = path_of(s, key, "ok");
	char stamp[STAMP_MAX];
	int fd;

	if (!was_verified(s, key) && make_stamp(pack, stamp) &&
		(fd = open(ok, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600)) >= 0) {
		/* A line cut short is no stamp, so its file is verified once more. */
		if (write(fd, stamp, strlen(stamp)) < 0)
			log_debug("%s: %s", ok, strerror(errno));
		close(fd);
	}
	free(pack);
	free(ok);
}

/* -- claiming --------------------------------------------------------------------------------- */

/* The access time tells the last use; modification stays what it was. */
static void touch(const char *path)
{
	const struct timespec times[2] = { { .tv_nsec = UTIME_NOW }, { .tv_nsec = UTIME_OMIT } };

	utimensat(AT_FDCWD, path, times, 0);
}

static bool try_open(const struct artifact_store *s, struct artifact_claim *c, bool tell)
{
	char *pack = path_of(s, &c->key, "pack");
	struct fault f = { 0 };

	if (access(pack, F_OK) == 0) {
		if (artifact_open(pack, &c->key, &c->artifact, &f) == 0) {
			touch(pack);
			if (was_verified(s, &c->key))
				artifact_trust(c->artifact);
		} else if (tell) {
			log_warn("%s; it is made again", f.text);
		}
	}
	free(pack);
	return c->artifact != NULL;
}

/* Is the file behind fd the one of that name? It is another's once it was renamed. */
static bool is_named(int fd, const char *path)
{
	struct stat a, b;

	return fstat(fd, &a) == 0 && stat(path, &b) == 0 && a.st_dev == b.st_dev &&
	       a.st_ino == b.st_ino;
}

/* The lock of KEY.tmp: a descriptor, or -1 with errno (EWOULDBLOCK: another's). */
static int try_lock(const char *tmp)
{
	int fd = open(tmp, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return -1;
	if (flock(fd, LOCK_EX | LOCK_NB) == 0 && is_named(fd, tmp))
		return fd;
	close(fd);
	errno = EWOULDBLOCK;
	return -1;
}

/* With the lock: what another made meanwhile, or leave to make it. */
static void settle(
	const struct artifact_store *s, int fd, const char *tmp, struct artifact_claim *c)
{
	if (try_open(s, c, false)) {
		unlink(tmp);
		close(fd);
	} else if (ftruncate(fd, 0) == 0) {
		c->writer = artifact_writer_new(fd);
	} else {
		close(fd);
	}
}

int artifact_store_claim(const struct artifact_store *s, const struct artifact_id *key,
	bool (*go_on)(void *arg), void *arg, struct artifact_claim *c)
{
	const struct timespec pause = { .tv_nsec = LOOK_AGAIN_NS };
	char *tmp;
	int fd = -1, rc = 0;

	*c = (struct artifact_claim) { .key = *key };
	if (try_open(s, c, true))
		return 0;
	tmp = path_of(s, key, "tmp");
	while ((fd = try_lock(tmp)) < 0 && errno == EWOULDBLOCK && rc == 0) {
		nanosleep(&pause, NULL);
		rc = go_on && !go_on(arg) ? ERR_CANCELLED : 0;
	}
	if (fd >= 0)
		settle(s, fd, tmp, c);
	free(tmp);
	return rc;
}

static void sync_folder(const char *folder)
{
	int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd >= 0) {
		fsync(fd);
		close(fd);
	}
}

int artifact_store_keep(const struct artifact_store *s, struct artifact_claim *c, const char *label,
	struct fault *f)
{
	char *tmp = path_of(s, &c->key, "tmp"), *pack = path_of(s, &c->key, "pack");
	int rc = artifact_finish(c->writer, &c->key, label, f);

	if (rc == 0 && rename(tmp, pack) != 0)
		rc = fault_set(f, ERR_IO, "%s: %s", pack, strerror(errno));
	c->is_kept = rc == 0;
	if (c->is_kept) {
		sync_folder(s->folder);
		artifact_store_note_verified(s, &c->key);
		artifact_store_evict(s);
	}
	free(tmp);
	free(pack);
	return rc;
}

void artifact_store_drop(const struct artifact_store *s, const struct artifact_id *key)
{
	char name[ARTIFACT_HEX_SIZE];

	artifact_id_print(key, name);
	artifact_store_remove(s, name);
}

void artifact_claim_release(const struct artifact_store *s, struct artifact_claim *c)
{
	if (c->writer && !c->is_kept) { /* its lock is still ours */
		char *tmp = path_of(s, &c->key, "tmp");
		unlink(tmp);
		free(tmp);
	}
	artifact_writer_free(c->writer);
	artifact_close(c->artifact);
	*c = (struct artifact_claim) { 0 };
}
