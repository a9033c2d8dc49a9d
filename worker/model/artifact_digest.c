/* artifact_digest.c - what a model file holds, told without reading it whole again. */
#include "protocol/log.h"
#include "protocol/mem.h"
#include "worker/model/artifact_store.h"
#include "worker/model/mapped_file.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#define PIECE     ((size_t)64 << 20) /* between two questions whether to go on */
#define STAMP_MAX 200
#define MEMO_MAX  (STAMP_MAX + ARTIFACT_HEX_SIZE)

/* A file that was written to, replaced or restored has another one of these. */
static bool make_stamp(const char *path, char out[STAMP_MAX])
{
	struct stat st;

	if (stat(path, &st) != 0)
		return false;
	snprintf(out, STAMP_MAX, "%ju %ju %jd %jd.%09ld %jd.%09ld ", (uintmax_t)st.st_dev,
		(uintmax_t)st.st_ino, (intmax_t)st.st_size, (intmax_t)st.st_mtim.tv_sec,
		st.st_mtim.tv_nsec, (intmax_t)st.st_ctim.tv_sec, st.st_ctim.tv_nsec);
	return true;
}

static char *memo_path(const struct artifact_store *s, const char *path)
{
	const struct artifact_id id = artifact_id_of(path, strlen(path));
	char name[ARTIFACT_HEX_SIZE];

	artifact_id_print(&id, name);
	return artifact_store_path(s, name, "sum");
}

static bool parse_id(const char *hex, struct artifact_id *out)
{
	for (size_t i = 0; i < sizeof out->bytes; i++) {
		if (strspn(hex + 2 * i, "0123456789abcdef") < 2)
			return false;
		const char byte[] = { hex[2 * i], hex[2 * i + 1], '\0' };
		out->bytes[i] = (uint8_t)strtoul(byte, NULL, 16);
	}
	return strcmp(hex + 2 * sizeof out->bytes, "\n") == 0;
}

static bool recall(const char *memo, const char *stamp, struct artifact_id *out)
{
	char text[MEMO_MAX + 1];
	int fd = open(memo, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
	size_t n_stamp = strlen(stamp);

	if (fd >= 0)
		close(fd);
	text[n > 0 ? n : 0] = '\0';
	return strncmp(text, stamp, n_stamp) == 0 && parse_id(text + n_stamp, out);
}

/* Half a line is recognised as such, so it may be written in place. */
static void remember(const char *memo, const char *stamp, const struct artifact_id *id)
{
	char text[MEMO_MAX + 1], hex[ARTIFACT_HEX_SIZE];
	int fd = open(memo, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return;
	artifact_id_print(id, hex);
	snprintf(text, sizeof text, "%s%s\n", stamp, hex);
	if (write(fd, text, strlen(text)) < 0)
		log_debug("%s: %s", memo, strerror(errno));
	close(fd);
}

static int digest(const struct mapped_file *m, bool (*go_on)(void *arg), void *arg,
	struct artifact_id *out, struct fault *f)
{
	XXH3_state_t *state = XXH3_createState();
	XXH128_canonical_t canonical;
	int rc = 0;

	XXH3_128bits_reset(state);
	for (size_t at = 0, n; at < m->n_bytes && rc == 0; at += n) {
		n = m->n_bytes - at < PIECE ? m->n_bytes - at : PIECE;
		XXH3_128bits_update(state, m->data + at, n);
		if (go_on && !go_on(arg))
			rc = fault_set(f, ERR_CANCELLED, "the load was cancelled");
	}
	XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(state));
	memcpy(out->bytes, canonical.digest, sizeof out->bytes);
	XXH3_freeState(state);
	return rc;
}

int artifact_digest(const struct artifact_store *s, const char *path, bool (*go_on)(void *arg),
	void *arg, struct artifact_id *out, struct fault *f)
{
	char stamp[STAMP_MAX];
	char *memo = memo_path(s, path);
	struct mapped_file m;
	int rc = 0;

	if (!make_stamp(path, stamp)) {
		rc = fault_set(f, ERR_MODEL_LOAD, "%s: %s", path, strerror(errno));
	} else if (!recall(memo, stamp, out) && (rc = mapped_file_open(&m, path, f)) == 0) {
		rc = digest(&m, go_on, arg, out, f);
		mapped_file_close(&m);
		if (rc == 0)
			remember(memo, stamp, out);
	}
	free(memo);
	return rc;
}
