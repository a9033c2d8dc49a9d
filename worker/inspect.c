/* inspect.c - a report on a model, for people and as JSON. */
#include "worker/inspect.h"
#include "protocol/mem.h"
#include "worker/model/census.h"
#include "worker/model/model.h"
#include "worker/model/pooling.h"
#include "worker/options.h"
#include "worker/roots.h"
#include "worker/text/chat.h"
#include "worker/text/tokenizer.h"
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

static const char HELP[] =
	"tandem inspect - what a model is, and why it would not load\n"
	"\n"
	"usage: tandem inspect PATH [--json]\n"
	"\n"
	"  PATH        a Hugging Face or MLX folder, a .safetensors or .gguf file (of a split\n"
	"              one the first part), or an id found in --models\n"
	"  --json      one line of JSON instead\n"
	"  --models=DIR  where models are found by id; may be repeated\n"
	"  --help\n"
	"\n"
	"Reads the headers of the files and none of the weights. Exit: 0 if load_model would\n"
	"load it, 65 if not, 64 for a bad command line.\n";

struct report {
	const struct model_info *info;
	const struct pooling_defaults *pooling;
	const struct tokenizer *tokenizer; /* NULL: not read */
	bool has_template;
	struct census census;
	const char *path;
	const struct fault *fault; /* NULL: it would load */
};

/* -- JSON ------------------------------------------------------------------------------------ */

static void write_count(struct buf *out, const char *key, uint64_t n)
{
	if (n)
		jout_key_int(out, key, (int64_t)n);
}

static void write_word(struct buf *out, const char *key, const char *word)
{
	if (word)
		jout_key_cstr(out, key, word);
}

static void write_groups(struct buf *out, const struct census *c)
{
	jout_key(out, "tensors");
	buf_addc(out, '[');
	for (size_t i = 0; i < c->n_rows; i++) {
		const struct census_row *r = &c->rows[i];
		jout_sep(out);
		buf_addc(out, '{');
		jout_key_cstr(out, "group", tensor_group_name(r->group));
		jout_key_cstr(out, "type", r->type);
		jout_key_int(out, "tensors", (int64_t)r->n_tensors);
		jout_key_int(out, "parameters", (int64_t)r->n_parameters);
		jout_key_int(out, "bytes", (int64_t)r->n_bytes);
		buf_addc(out, '}');
	}
	buf_addc(out, ']');
}

static void write_tokenizer(struct buf *out, const struct report *r)
{
	if (!r->tokenizer)
		return;
	jout_key(out, "tokenizer");
	buf_addc(out, '{');
	jout_key_cstr(out, "type", tokenizer_kind(r->tokenizer));
	jout_key_int(out, "vocab_size", (int64_t)tokenizer_vocab_size(r->tokenizer));
	buf_addc(out, '}');
	jout_key_bool(out, "chat_template", r->has_template);
}

static void write_json(struct buf *out, const struct report *r)
{
	const struct model_info *i = r->info;
	buf_addc(out, '{');
	jout_key_cstr(out, "path", i->path ? i->path : r->path);
	jout_key_bool(out, "loads", !r->fault);
	if (r->fault)
		jout_key_cstr(out, "error", r->fault->text);
	write_word(out, "format", i->format);
	write_word(out, "architecture", i->architecture);
	write_count(out, "context_length", i->context_length);
	write_count(out, "vocab_size", i->vocab_size);
	write_count(out, "layers", i->n_layers);
	write_count(out, "dim", i->dim);
	write_count(out, "heads", i->n_heads);
	write_count(out, "kv_heads", i->n_kv_heads);
	write_count(out, "head_dim", i->head_dim);
	write_count(out, "ffn_dim", i->ffn_dim);
	write_count(out, "kv_bytes_per_token", i->kv_bytes_per_token);
	write_word(out, "dtype", r->fault ? NULL : i->dtype);
	write_word(out, "quantization", r->fault ? NULL : i->quantization);
	write_tokenizer(out, r);
	if (!r->fault && !r->pooling->trouble[0])
		jout_key_cstr(out, "pooling", pooling_name(r->pooling->pooling));
	write_count(out, "parameter_count", r->census.n_parameters);
	write_count(out, "bytes", r->census.n_bytes);
	if (r->census.n_tensors)
		write_groups(out, &r->census);
	buf_adds(out, "}\n");
}

/* -- text ------------------------------------------------------------------------------------ */

/* 6951168 → "6.95 M" */
static void print_number(struct buf *out, uint64_t n, const char *const units[5])
{
	double v = (double)n;
	size_t i = 0;
	while (v >= 999.5 && i < 4) {
		v /= 1000;
		i++;
	}
	buf_addf(out, "%.*f%s", i == 0 || v >= 99.95 ? 0 : v >= 9.995 ? 1 : 2, v, units[i]);
}

static void print_count(struct buf *out, uint64_t n)
{
	static const char *const units[] = { "", " k", " M", " B", " T" };
	print_number(out, n, units);
}

static void print_bytes(struct buf *out, uint64_t n)
{
	static const char *const units[] = { " B", " kB", " MB", " GB", " TB" };
	print_number(out, n, units);
}

static void print_shape(struct buf *out, const struct model_info *i)
{
	if (!i->architecture)
		return;
	buf_addf(out, "  architecture  %s", i->architecture);
	if (i->n_layers)
		buf_addf(out, ": %zu layers of %zu, %zu heads of %zu (%zu for keys and values)",
			i->n_layers, i->dim, i->n_heads, i->head_dim, i->n_kv_heads);
	buf_addc(out, '\n');
}

static void print_facts(struct buf *out, const struct report *r)
{
	const struct model_info *i = r->info;
	if (i->format)
		buf_addf(out, "  format        %s\n", i->format);
	print_shape(out, i);
	if (r->census.n_tensors) {
		buf_adds(out, "  parameters    ");
		print_count(out, r->census.n_parameters);
		buf_adds(out, " in ");
		print_bytes(out, r->census.n_bytes);
		buf_addf(out, ", %zu tensors\n", r->census.n_tensors);
	}
	if (!r->fault)
		buf_addf(out, "  quantization  %s (%s)\n", i->quantization, i->dtype);
	if (i->context_length) {
		buf_addf(out, "  context       %zu tokens, each ", i->context_length);
		print_bytes(out, i->kv_bytes_per_token);
		buf_adds(out, " of KV cache\n");
	}
	if (!r->tokenizer)
		return;
	buf_addf(out, "  tokenizer     %s, %zu entries\n", tokenizer_kind(r->tokenizer),
		tokenizer_vocab_size(r->tokenizer));
	buf_addf(out, "  chat template %s\n", r->has_template ? "yes" : "no");
}

static void print_groups(struct buf *out, const struct census *c)
{
	buf_addf(out, "\n  %-13s %-22s %8s %11s %10s\n", "weights", "kept as", "tensors",
		"parameters", "size");
	for (size_t i = 0; i < c->n_rows; i++) {
		const struct census_row *r = &c->rows[i];
		struct buf n = BUF_INIT, size = BUF_INIT;
		print_count(&n, r->n_parameters);
		print_bytes(&size, r->n_bytes);
		buf_addf(out, "  %-13s %-22s %8zu %11s %10s\n", tensor_group_name(r->group),
			r->type, r->n_tensors, buf_cstr(&n), buf_cstr(&size));
		buf_release(&size);
		buf_release(&n);
	}
}

static void write_text(struct buf *out, const struct report *r)
{
	buf_addf(out, "%s\n", r->info->path ? r->info->path : r->path);
	print_facts(out, r);
	if (r->census.n_tensors)
		print_groups(out, &r->census);
	if (r->fault)
		buf_addf(out, "\nwill not load: %s\n", r->fault->text);
	else
		buf_adds(out, "\nwill load\n");
}

/* -- the command ----------------------------------------------------------------------------- */

bool inspect_report(const struct inspect_options *o, struct buf *out)
{
	const struct model_options opt = { .path = o->path, .headers_only = true };
	struct model *m = NULL;
	struct fault f = { 0 };
	const bool loads = model_open(&opt, &m, &f) == 0;
	struct report r = { .info = model_info(m),
		.pooling = model_pooling(m),
		.tokenizer = model_tokenizer(m),
		.has_template = model_chat(m) && chat_has_template(model_chat(m)),
		.path = o->path,
		.fault = loads ? NULL : &f };
	model_census(m, &r.census);
	if (o->is_json)
		write_json(out, &r);
	else
		write_text(out, &r);
	model_close(m);
	return loads;
}

static int usage(const char *what, const char *which)
{
	fprintf(stderr, "inspect: %s%s (see --help)\n", what, which);
	return EX_USAGE;
}

/* A path that is there, or an id of the model roots. Owned. */
static char *find_path(const char *given, char *const *root_args, int n_root_args)
{
	struct worker_options roots;
	struct fault f = { 0 };
	char *path = NULL;
	if (access(given, F_OK) != 0 && options_parse(&roots, n_root_args, root_args,
						getenv("TANDEM_MODELS")) == OPTIONS_RUN) {
		path = roots_find(&roots, given, &f);
		options_release(&roots);
	}
	return path ? path : xstrdup(given);
}

static int say(const struct inspect_options *o)
{
	struct buf out = BUF_INIT;
	const bool loads = inspect_report(o, &out);
	const bool written = fwrite(out.data, 1, out.n_bytes, stdout) == out.n_bytes;
	buf_release(&out);
	if (!written || fflush(stdout) != 0)
		return EX_IOERR;
	return loads ? EXIT_SUCCESS : EX_DATAERR;
}

int inspect_main(int argc, char **argv)
{
	static const struct option LONG[] = { { "json", no_argument, NULL, 'j' },
		{ "models", required_argument, NULL, 'm' }, { "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 } };
	struct inspect_options o = { 0 };
	char **roots = xcalloc((size_t)argc * 2 + 2, sizeof *roots);
	int opt, n_roots = 0, code = -1;
	roots[n_roots++] = argv[0];
	opterr = 0;
	while (code < 0 && (opt = getopt_long(argc, argv, "", LONG, NULL)) != -1) {
		if (opt == 'j')
			o.is_json = true;
		else if (opt == 'h')
			code = fputs(HELP, stdout) < 0 ? EX_IOERR : EXIT_SUCCESS;
		else if (opt == '?')
			code = usage("unknown option or missing value: ", argv[optind - 1]);
		else
			roots[n_roots++] = xasprintf("--models=%s", optarg);
	}
	if (code < 0 && argc - optind != 1)
		code = usage("give one path", "");
	if (code < 0) {
		const char *given = argv[optind];
		optind = 0; /* options_parse starts afresh */
		char *path = find_path(given, roots, n_roots);
		o.path = path;
		code = say(&o);
		free(path);
	}
	for (int i = 1; i < n_roots; i++)
		free(roots[i]);
	free(roots);
	return code;
}
