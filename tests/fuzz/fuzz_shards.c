/* fuzz_shards.c - any bytes as model.safetensors.index.json, beside two good shards: refused
 * with a reason, or every tensor it promises can be read and is found by its name. */
#include "worker/model/shards.h"
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define INDEX "model.safetensors.index.json"

static void must(bool so)
{
	if (!so)
		abort();
}

static void put(int folder, const char *name, const void *bytes, size_t n)
{
	int fd = openat(folder, name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	must(fd >= 0 && write(fd, bytes, n) == (ssize_t)n && close(fd) == 0);
}

static void put_shard(int folder, const char *name, const char *tensor)
{
	char header[128];
	uint8_t file[256] = { 0 };
	int n = snprintf(header, sizeof header,
		"{\"%s\":{\"dtype\":\"F32\",\"shape\":[2,2],\"data_offsets\":[0,16]}}", tensor);

	file[0] = (uint8_t)n;
	memcpy(file + 8, header, (size_t)n);
	put(folder, name, file, 8 + (size_t)n + 16);
}

static struct {
	char path[32];
	int fd;
} folder = { "/tmp/fuzz_shards-XXXXXX", -1 };

static void remove_folder(void)
{
	unlinkat(folder.fd, "a.safetensors", 0);
	unlinkat(folder.fd, "b.safetensors", 0);
	unlinkat(folder.fd, INDEX, 0);
	rmdir(folder.path);
}

static void make_folder(void)
{
	must(mkdtemp(folder.path) != NULL);
	folder.fd = open(folder.path, O_PATH | O_DIRECTORY);
	must(folder.fd >= 0 && atexit(remove_folder) == 0);
	put_shard(folder.fd, "a.safetensors", "model.x");
	put_shard(folder.fd, "b.safetensors", "model.y");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tensor_source *s = NULL;
	struct fault f = { 0 };
	const struct tensor *t;
	char path[64];

	if (folder.fd < 0)
		make_folder();
	snprintf(path, sizeof path, "%s/" INDEX, folder.path);
	put(folder.fd, INDEX, data, size);
	if (shards_open(path, &s, &f) < 0) {
		must(f.err != 0 && f.text[0]);
		return 0;
	}
	volatile uint8_t sink = 0;
	for (size_t i = 0; (t = tensor_at(s, i)) != NULL; i++) {
		const uint8_t *bytes = t->data;
		must(t->n_bytes == 16 && tensor_find(s, t->name) == t);
		sink ^= bytes[0] ^ bytes[15];
	}
	(void)sink;
	s->ops->metadata(s, "format");
	tensor_source_close(s);
	return 0;
}
