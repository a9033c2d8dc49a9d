/* pooling.c - pooling defaults out of a model's own files. */
#include "worker/model/pooling.h"
#include "protocol/buf.h"
#include "protocol/mem.h"
#include "worker/model/mapped_file.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define MODULES_BYTES_MAX ((size_t)1 << 20)
#define WORD_MAX_BYTES    128

static const char *const NAMES[] = { "mean", "cls", "last" };

const char *pooling_name(enum pooling p)
{
	return NAMES[p];
}

enum pooling pooling_parse(const char *name)
{
	for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++)
		if (strcmp(name, NAMES[i]) == 0)
			return (enum pooling)i;
	return POOLING_LAST;
}

static void complain(struct pooling_defaults *d, const char *what, const char *name)
{
	if (!d->trouble[0])
		snprintf(d->trouble, sizeof d->trouble, "%s \"%.100s\"", what, name);
}

/* Which pooling each name stands for; -1: one we do not have. */
static int known(const char *name)
{
	static const struct {
		const char *name;
		enum pooling pooling;
	} MODES[] = {
		{ "mean", POOLING_MEAN },
		{ "mean_tokens", POOLING_MEAN },
		{ "cls", POOLING_CLS },
		{ "cls_token", POOLING_CLS },
		{ "lasttoken", POOLING_LAST },
	};

	for (size_t i = 0; i < sizeof MODES / sizeof *MODES; i++)
		if (strcmp(name, MODES[i].name) == 0)
			return (int)MODES[i].pooling;
	return -1;
}

static void take(struct pooling_defaults *d, const char *name)
{
	int p = known(name);

	if (p < 0)
		complain(d, "pooling", name);
	else
		d->pooling = (enum pooling)p;
}

/* The Pooling module: one word, or a flag for each way, of which one is set. Without any the
 * reference takes the mean. */
static void read_modes(struct pooling_defaults *d, struct config *c)
{
	static const char *const FLAGS[] = { "cls_token", "mean_tokens", "lasttoken", "max_tokens",
		"mean_sqrt_len_tokens", "weightedmean_tokens" };
	char field[64];
	size_t n = 0;

	d->pooling = POOLING_MEAN;
	if (config_has(c, "pooling_mode")) {
		take(d, config_str(c, "pooling_mode"));
		return;
	}
	for (size_t i = 0; i < sizeof FLAGS / sizeof *FLAGS; i++) {
		snprintf(field, sizeof field, "pooling_mode_%s", FLAGS[i]);
		if (!config_bool_or(c, field, false))
			continue;
		take(d, FLAGS[i]);
		if (n++ > 0)
			complain(d, "several poolings in one, as", FLAGS[i]);
	}
}

static void read_pooling(struct pooling_defaults *d, const char *folder, const char *module)
{
	char *path = xasprintf("%s/%s/config.json", folder, module);
	struct config *c = NULL;
	struct fault f = { 0 };

	if (config_open(path, &c, &f) == 0) {
		read_modes(d, c);
		config_status(c, &f);
	}
	if (f.err && !d->trouble[0])
		snprintf(d->trouble, sizeof d->trouble, "%.200s", f.text);
	config_free(c);
	free(path);
}

/* "sentence_transformers.models.Pooling" → "Pooling" */
static const char *class_name(const char *type)
{
	const char *dot = strrchr(type, '.');

	return dot ? dot + 1 : type;
}

static void read_module(struct pooling_defaults *d, const char *folder, struct json_span module)
{
	char type[WORD_MAX_BYTES], path[WORD_MAX_BYTES];

	if (!json_copy_str(json_find(module, "type"), type, sizeof type) ||
		!json_copy_str(json_find(module, "path"), path, sizeof path)) {
		complain(d, "a module without type or path in", "modules.json");
		return;
	}
	const char *name = class_name(type);
	if (strcmp(name, "Normalize") == 0)
		d->normalize = true;
	else if (strcmp(name, "Pooling") == 0 && !strchr(path, '/') && path[0] != '.')
		read_pooling(d, folder, path);
	else if (strcmp(name, "Transformer") != 0)
		complain(d, "module", name);
}

static void read_modules(
	struct pooling_defaults *d, const char *folder, const struct mapped_file *file)
{
	const char *text = (const char *)file->data;
	struct fault why = { 0 };
	struct json_span module;

	if (file->n_bytes > MODULES_BYTES_MAX || json_scan(text, file->n_bytes, &why) < 0 ||
		json_kind(json_whole(text, file->n_bytes)) != '[') {
		complain(d, "no JSON array in", "modules.json");
		return;
	}
	d->normalize = false;
	struct json_cursor at = json_iterate(json_whole(text, file->n_bytes));
	while (json_next_element(&at, &module))
		read_module(d, folder, module);
}

static void read_folder(struct pooling_defaults *d, const char *folder)
{
	char *modules = xasprintf("%s/modules.json", folder);
	char *plain = xasprintf("%s/1_Pooling/config.json", folder);
	struct mapped_file file;
	struct stat st;

	if (stat(modules, &st) == 0 && mapped_file_open(&file, modules, NULL) == 0) {
		read_modules(d, folder, &file);
		mapped_file_close(&file);
	} else if (stat(plain, &st) == 0) {
		read_pooling(d, folder, "1_Pooling");
	}
	free(modules);
	free(plain);
}

/* llama.cpp's numbers: 0 says nothing, 4 ranks pairs of texts. */
static void read_number(struct pooling_defaults *d, struct json_span v)
{
	int64_t n = -1;

	json_get_int(v, &n);
	if (n >= 1 && n <= 3)
		d->pooling = (enum pooling)(n - 1);
	else if (n != 0)
		snprintf(d->trouble, sizeof d->trouble, "pooling_type %lld", (long long)n);
}

void pooling_read(struct pooling_defaults *out, const char *path, struct config *config)
{
	struct json_span number = config_value(config, "pooling_type");
	struct stat st;

	*out = (struct pooling_defaults) { .pooling = POOLING_LAST, .normalize = true };
	if (number.at)
		read_number(out, number);
	else if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
		read_folder(out, path);
}
