/* glance.c - models told by names, sizes and first bytes. */
#include "worker/glance.h"
#include "protocol/mem.h"
#include "worker/model/config.h"
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define GGUF_HEAD_BYTES 256
#define GGUF_STRING     8

/* Bytes of a regular file; false if it is none. */
static bool file_bytes(const char *path, uint64_t *n_bytes)
{
	struct stat st;
	if (stat(path, &st) != 0 || !S_ISREG(st.st_mode))
		return false;
	*n_bytes = (uint64_t)st.st_size;
	return true;
}

static bool member_bytes(const char *folder, const char *name, uint64_t *n_bytes)
{
	char *path = xasprintf("%s/%s", folder, name);
	const bool found = file_bytes(path, n_bytes);
	free(path);
	return found;
}

bool glance_is_file(const char *path)
{
	uint64_t n;
	return file_bytes(path, &n);
}

bool glance_is_folder(const char *path)
{
	uint64_t n;
	return member_bytes(path, "config.json", &n);
}

static bool ends_with(const char *s, const char *end)
{
	const size_t n = strlen(s), m = strlen(end);
	return n > m && strcmp(s + n - m, end) == 0;
}

/* -- a folder -------------------------------------------------------------------------------- */

static uint64_t shard_bytes(const char *folder)
{
	DIR *d = opendir(folder);
	struct dirent *e;
	uint64_t sum = 0, n;
	while (d && (e = readdir(d)))
		if (strncmp(e->d_name, "model-", 6) == 0 && ends_with(e->d_name, ".safetensors") &&
			member_bytes(folder, e->d_name, &n))
			sum += n;
	if (d)
		closedir(d);
	return sum;
}

static void read_model_type(const char *folder, struct glance *out)
{
	char *path = xasprintf("%s/config.json", folder);
	struct config *c = NULL;
	if (config_open(path, &c, NULL) == 0)
		snprintf(out->architecture, sizeof out->architecture, "%s",
			config_str_or(c, "model_type", ""));
	config_free(c);
	free(path);
}

bool glance_folder(const char *path, struct glance *out)
{
	uint64_t n;
	*out = (struct glance) { .format = "safetensors" };
	if (!glance_is_folder(path))
		return false;
	if (member_bytes(path, "model.safetensors.index.json", &n))
		out->n_bytes = shard_bytes(path);
	else if (!member_bytes(path, "model.safetensors", &out->n_bytes))
		return false;
	read_model_type(path, out);
	return true;
}

/* -- a GGUF ---------------------------------------------------------------------------------- */

struct part {
	unsigned number, count;
	int n_stem; /* of the path, before "-00001-of-00002.gguf" */
};

/* Five digits at `at`, as a number. */
static bool five_digits(const char *at, unsigned *out)
{
	*out = 0;
	for (size_t i = 0; i < 5; i++) {
		if (at[i] < '0' || at[i] > '9')
			return false;
		*out = *out * 10 + (unsigned)(at[i] - '0');
	}
	return true;
}

static bool is_part(const char *path, struct part *out)
{
	const size_t n = strlen(path), n_suffix = strlen("-00001-of-00001.gguf");
	if (n <= n_suffix)
		return false;
	const char *suffix = path + n - n_suffix;
	out->n_stem = (int)(n - n_suffix);
	return suffix[0] == '-' && five_digits(suffix + 1, &out->number) &&
	       strncmp(suffix + 6, "-of-", 4) == 0 && five_digits(suffix + 10, &out->count);
}

static uint64_t part_bytes(const char *path, const struct part *p)
{
	uint64_t sum = 0, n;
	for (unsigned i = 1; i <= p->count; i++) {
		char *name = xasprintf("%.*s-%05u-of-%05u.gguf", p->n_stem, path, i, p->count);
		const bool found = file_bytes(name, &n);
		free(name);
		if (!found)
			break;
		sum += n;
	}
	return sum;
}

static uint64_t little_endian(const uint8_t *at, size_t n)
{
	uint64_t v = 0;
	while (n-- > 0)
		v = v << 8 | at[n];
	return v;
}

/* "GGUF", version, two counts, and then, as every writer has it, general.architecture. */
static void read_architecture(const uint8_t *head, size_t n, struct glance *out)
{
	static const char key[] = "general.architecture";
	const size_t n_key = sizeof key - 1, at = 24 + 8 + n_key;
	uint64_t n_value;
	if (n < at + 12 || little_endian(head + 24, 8) != n_key ||
		memcmp(head + 32, key, n_key) != 0 || little_endian(head + at, 4) != GGUF_STRING)
		return;
	n_value = little_endian(head + at + 4, 8);
	if (n_value < sizeof out->architecture && n_value <= n - at - 12)
		memcpy(out->architecture, head + at + 12, n_value);
}

bool glance_file(const char *path, struct glance *out)
{
	uint8_t head[GGUF_HEAD_BYTES];
	struct part part;
	*out = (struct glance) { .format = "gguf" };
	if (!ends_with(path, ".gguf") || !file_bytes(path, &out->n_bytes))
		return false;
	const bool is_split = is_part(path, &part);
	if (is_split && part.number != 1)
		return false;
	if (is_split)
		out->n_bytes = part_bytes(path, &part);
	const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	const ssize_t n = fd < 0 ? -1 : read(fd, head, sizeof head);
	if (fd >= 0)
		close(fd);
	if (n < 24 || memcmp(head, "GGUF", 4) != 0)
		return false;
	read_architecture(head, (size_t)n, out);
	return true;
}
