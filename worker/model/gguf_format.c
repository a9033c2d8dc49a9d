/* gguf_format.c - a GGUF as a model format: one file, or the parts of a split one. */
#include "protocol/mem.h"
#include "worker/model/format.h"
#include "worker/model/gguf_model.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PARTS_MAX   9999
#define PART_SUFFIX "-00001-of-00001.gguf"

static bool recognises(const char *path)
{
	const size_t n = strlen(path);

	return n > 5 && strcmp(path + n - 5, ".gguf") == 0;
}

/* The path of part i of n, named like `first`; NULL if that is no name of a part. */
static char *part_path(const char *first, size_t i, size_t n)
{
	const size_t n_path = strlen(first), n_suffix = strlen(PART_SUFFIX);

	if (n_path <= n_suffix || strncmp(first + n_path - n_suffix + 6, "-of-", 4) != 0)
		return NULL;
	return xasprintf("%.*s-%05zu-of-%05zu.gguf", (int)(n_path - n_suffix), first, i + 1, n);
}

static int open_others(
	const char *path, struct gguf **parts, size_t n_parts, size_t *n_open, struct fault *f)
{
	for (size_t i = 1; i < n_parts; i++) {
		char *name = part_path(path, i, n_parts);
		int64_t number = -1;
		int rc;
		if (!name)
			return fault_set(f, ERR_MODEL_LOAD,
				"%s: one of %zu parts, but not named -00001-of-%05zu.gguf", path,
				n_parts, n_parts);
		rc = gguf_open(name, &parts[i], f);
		if (rc == 0) {
			(*n_open)++;
			if (!gguf_get_int(parts[i], "split.no", &number) || (size_t)number != i)
				rc = fault_set(
					f, ERR_MODEL_LOAD, "%s: split.no is not %zu", name, i);
		}
		free(name);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* All parts of the model, the named file first; *out and its members are the caller's. */
static int open_parts(const char *path, struct gguf ***out, size_t *n_out, struct fault *f)
{
	struct gguf *first, **parts;
	int64_t n_parts = 1, number = 0;
	size_t n_open = 1;
	int rc = gguf_open(path, &first, f);

	if (rc < 0)
		return rc;
	gguf_get_int(first, "split.count", &n_parts);
	gguf_get_int(first, "split.no", &number);
	if (n_parts < 1 || n_parts > PARTS_MAX || number != 0) {
		gguf_close(first);
		fault_set(f, ERR_MODEL_LOAD,
			number != 0 ? "%s: not the first part of a split model: name the one that "
				      "ends in -00001-of-…"
				    : "%s: split.count is out of range",
			path);
		return ERR_MODEL_LOAD;
	}
	parts = xcalloc((size_t)n_parts, sizeof *parts);
	parts[0] = first;
	rc = open_others(path, parts, (size_t)n_parts, &n_open, f);
	if (rc == 0) {
		*out = parts;
		*n_out = n_open;
		return 0;
	}
	for (size_t i = 0; i < n_open; i++)
		gguf_close(parts[i]);
	free(parts);
	return rc;
}

static int open_gguf(const char *path, struct model_files *out, struct fault *f)
{
	struct gguf **parts = NULL;
	size_t n_parts = 0;
	int rc = open_parts(path, &parts, &n_parts, f);

	if (rc != 0)
		return rc;
	const struct gguf *first = parts[0];
	const struct gguf_arch *arch = gguf_arch_of(first, f);
	out->format = "gguf";
	if (!arch)
		rc = ERR_MODEL_LOAD;
	if (rc == 0)
		rc = gguf_config(first, arch, &out->config, f);
	if (rc == 0)
		rc = gguf_tokenizer(first, &out->tokenizer, f);
	if (rc == 0)
		out->chat = gguf_chat(first);
	if (rc == 0)
		return gguf_tensors(parts, n_parts, arch, &out->tensors, f);
	for (size_t i = 0; i < n_parts; i++)
		gguf_close(parts[i]);
	free(parts);
	return rc;
}

const struct format FORMAT_GGUF = { "gguf", recognises, open_gguf };
