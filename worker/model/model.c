/* model.c - a loaded model, and one ragged step through it. Stop 18; next: arch_llama.c */
#include "worker/model/model.h"
#include "protocol/mem.h"
#include "worker/model/arch.h"
#include "worker/model/census.h"
#include "worker/model/defaults.h"
#include "worker/model/format.h"
#include "worker/model/packing.h"
#include "worker/model/pooling.h"
#include "worker/model/prepared.h"
#include "worker/model/quantization.h"
#include "worker/model/quantizing.h"
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* A new architecture or file format is a row here and a file of its own. */
static const struct arch *const ARCHES[] = {
	&ARCH_LLAMA,
	&ARCH_MISTRAL,
	&ARCH_MIXTRAL,
	&ARCH_QWEN2,
	&ARCH_QWEN3,
	&ARCH_QWEN3_MOE,
	&ARCH_GEMMA,
	&ARCH_GEMMA2,
	&ARCH_GEMMA3,
	&ARCH_PHI,
	&ARCH_PHI3,
	&ARCH_SMOLLM3,
	&ARCH_GRANITE,
	&ARCH_OLMO2,
	&ARCH_OLMO3,
	&ARCH_GPT_OSS,
	&ARCH_GPT2,
	&ARCH_GPT_NEOX,
	&ARCH_STARCODER2,
	&ARCH_STABLELM,
};
static const struct format *const FORMATS[] = {
	&FORMAT_GGUF,
	&FORMAT_HF_FOLDER,
};

struct model {
	struct model_info info;
	struct model_defaults defaults;
	struct pooling_defaults pooling;
	char *path;         /* real path */
	char *architecture; /* model_type */
	struct model_files files;
	struct config *config;       /* the text model's, in files.config */
	struct config *quantization; /* MLX settings, or NULL */
	struct weights weights;
	struct prepared *prepared;
	struct decoder decoder;
	const struct arch *arch;
	enum kv_dtype kv_dtype;
};

struct model_context {
	const struct model *model;
	const struct backend *backend;
	struct step *step;
	size_t max_rows;
};

void model_files_close(struct model_files *m)
{
	chat_free(m->chat);
	tokenizer_free(m->tokenizer);
	tensor_source_close(m->tensors);
	config_free(m->generation);
	config_free(m->config);
	*m = (struct model_files) { 0 };
}

static int report(
	const struct model_options *opt, double fraction, const char *stage, struct fault *f)
{
	if (opt->progress && !opt->progress(opt->progress_arg, fraction, stage))
		return fault_set(f, ERR_CANCELLED, "the load was cancelled");
	return 0;
}

static bool names(const char *list, const char *word)
{
	size_t n = strlen(word);

	for (const char *at = list; n > 0 && (at = strstr(at, word)); at += n)
		if ((at == list || at[-1] == ' ') && (at[n] == ' ' || at[n] == '\0'))
			return true;
	return false;
}

const struct arch *arch_find(const char *model_type)
{
	for (size_t i = 0; i < sizeof ARCHES / sizeof *ARCHES; i++)
		if (names(ARCHES[i]->model_types, model_type))
			return ARCHES[i];
	return NULL;
}

static int find_arch(struct model *m, struct fault *f)
{
	struct config *c = m->files.config;
	const char *type;
	int rc;

	/* A multimodal model's text half is a model of its own in all but the file. */
	m->config = config_is_object(c, "text_config") ? config_object(c, "text_config") : c;
	type = config_str(m->config, "model_type");
	rc = config_status(c, f);
	if (rc < 0)
		return rc;
	m->arch = arch_find(type);
	m->architecture = xstrdup(type);
	if (!m->arch)
		return fault_set(f, ERR_MODEL_LOAD,
			"%s: model_type: architecture \"%s\" is not supported", config_where(c),
			type);
	return 0;
}

/* A folder's real path; a file's, but under the name it was given: a link's target need not
 * tell its format (Hugging Face's cache calls it by a digest), nor lie beside its other parts. */
static char *settle_path(const char *path)
{
	char *folder, *real = realpath(path, NULL);
	const char *slash = strrchr(path, '/');
	struct stat st;

	if (!real || (stat(real, &st) == 0 && S_ISDIR(st.st_mode)))
		return real;
	free(real);
	folder = slash ? xstrndup(path, (size_t)(slash - path) + 1) : xstrdup(".");
	real = realpath(folder, NULL);
	free(folder);
	if (!real)
		return NULL;
	folder = real;
	real = xasprintf("%s/%s", strcmp(folder, "/") == 0 ? "" : folder, slash ? slash + 1 : path);
	free(folder);
	return real;
}

static int open_files(struct model *m, const char *path, struct fault *f)
{
	m->path = settle_path(path);
	if (!m->path)
		return fault_set(f, ERR_MODEL_LOAD, "%s: %s", path, strerror(errno));
	for (size_t i = 0; i < sizeof FORMATS / sizeof *FORMATS; i++)
		if (FORMATS[i]->recognises(m->path))
			return FORMATS[i]->open(m->path, &m->files, f);
	return fault_set(
		f, ERR_MODEL_LOAD, "%s: not a model folder or a weights file known here", path);
}

static int set_context_length(struct model *m, size_t wanted, struct fault *f)
{
	if (wanted > m->decoder.context_length)
		return fault_set(f, ERR_MODEL_LOAD,
			"context_length %zu is more than the model's own %zu", wanted,
			m->decoder.context_length);
	if (wanted > 0)
		m->decoder.context_length = wanted;
	return 0;
}

/* Products are exact in float32 whatever the weights are stored as, so float32 can be
 * promised for all; a narrower type only if it is what is stored. */
static int check_dtype(const struct model *m, const char *wanted, struct fault *f)
{
	const char *stored = m->weights.dtype ? m->weights.dtype : "float32";

	if (!wanted || strcmp(wanted, "float32") == 0 || strcmp(wanted, stored) == 0)
		return 0;
	return fault_set(f, ERR_MODEL_LOAD,
		"dtype \"%s\" cannot be honoured: the weights are stored as %s", wanted, stored);
}

static struct kv_shape kv_shape(const struct model *m)
{
	return (struct kv_shape) {
		.n_layers = m->decoder.n_layers,
		.n_kv_heads = m->decoder.n_kv_heads,
		.head_dim = m->decoder.head_dim,
		.dtype = m->kv_dtype,
	};
}

static size_t plain_length(const struct decoder *d)
{
	size_t n = d->context_length;

	for (size_t i = 0; i < d->n_ropes; i++) {
		const struct rope_table *t = &d->ropes[i];
		if ((t->inv_long || t->dynamic_factor != 0) && t->trained_length < n)
			n = t->trained_length;
	}
	return n;
}

static void fill_info(struct model *m)
{
	const struct decoder *d = &m->decoder;
	const struct kv_shape kv = kv_shape(m);
	const size_t packed = m->prepared ? prepared_bytes(m->prepared) : 0;
	const size_t mapped = m->weights.n_bytes + packed - m->weights.n_unread;

	m->info = (struct model_info) {
		.architecture = m->architecture,
		.format = m->files.format,
		.dtype = m->weights.dtype ? m->weights.dtype : "float32",
		.quantization = m->weights.quantized[0] ? m->weights.quantized : "none",
		.tokenizer_type = m->files.tokenizer ? tokenizer_kind(m->files.tokenizer) : NULL,
		.path = m->path,
		.parameter_count = m->weights.n_parameters,
		.vocab_size = d->vocab_size,
		.context_length = d->context_length,
		.n_layers = d->n_layers,
		.n_heads = d->n_heads,
		.n_kv_heads = d->n_kv_heads,
		.head_dim = d->head_dim,
		.dim = d->dim,
		.ffn_dim = d->ffn_dim,
		.weight_bytes = mapped + m->weights.n_owned_bytes,
		.shared_bytes = mapped,
		.packed_bytes = packed,
		.kv_bytes_per_token = kv_token_bytes(&kv),
		.plain_length = plain_length(d),
	};
}

/* By enum quantize and enum activations. */
static const char *const CHOICES[][3] = {
	{ "", "float", "int8" },
	{ "|int8", "float|int8", "int8|int8" },
	{ "|int4", "float|int4", "int8|int4" },
};

static struct prepared *new_prepared(const struct model *m, const struct model_options *opt)
{
	struct kernels k;
	unsigned mask = KERNELS_ALL;

	kernels_parse_mask(getenv("KERNELS_MASK"), &mask);
	const struct prepared_options o = {
		.store = opt->cache,
		.source = m->files.tensors,
		.config = config_where(m->files.config),
		.kernels = kernels_name(kernels_select(&k, mask)),
		.choices = CHOICES[opt->quantize][opt->activations],
		.model = m->path,
		.progress = opt->progress,
		.progress_arg = opt->progress_arg,
	};

	return prepared_new(&o);
}

static int bind(struct model *m, const struct model_options *opt, struct fault *f)
{
	struct weights *w = &m->weights;

	weights_init(w, m->files.tensors, f);
	w->headers_only = opt->headers_only;
	w->quantization = m->quantization;
	if (opt->cache && !opt->headers_only)
		w->prepared = m->prepared = new_prepared(m, opt);
	m->arch->bind(&m->decoder, w);
	w->fault = NULL; /* the caller's, gone after this call */
	if (w->rc < 0)
		return w->rc;
	return m->quantization ? config_status(m->quantization, f) : 0;
}

static int report_quantizing(void *arg, double done, struct fault *f)
{
	return report(arg, 0.5 + done / 4, "quantizing", f);
}

static int report_packing(void *arg, double done, struct fault *f)
{
	return report(arg, 0.75 + done / 4, "packing", f);
}

/* Bound weights into the form in which they are multiplied. */
static int prepare(struct model *m, const struct model_options *opt, struct fault *f)
{
	const struct quantizing_options quantizing = {
		.to = opt->quantize,
		.n_threads = opt->n_threads,
		.progress = report_quantizing,
		.arg = (void *)opt,
	};
	const struct packing_options packing = {
		.activations = opt->activations,
		.pairs = opt->activations == ACTIVATIONS_INT8 ||
			 (opt->activations == ACTIVATIONS_AUTO &&
				 strcmp(m->files.format, FORMAT_GGUF.name) == 0),
		.n_threads = opt->n_threads,
		.progress = report_packing,
		.arg = (void *)opt,
	};
	int rc = 0;

	if (opt->quantize != QUANTIZE_NONE)
		rc = quantizing_run(&m->decoder, &m->weights, &quantizing, f);
	return rc < 0 ? rc : packing_run(&m->decoder, &m->weights, &packing, f);
}

static int load(struct model *m, const struct model_options *opt, struct fault *f)
{
	struct model_files *files = &m->files;
	int rc;

	if ((rc = report(opt, 0, "opening", f)) < 0 || (rc = open_files(m, opt->path, f)) < 0 ||
		(rc = find_arch(m, f)) < 0)
		return rc;
	m->arch->configure(&m->decoder, m->config);
	pooling_read(&m->pooling, m->path, files->config);
	if ((rc = defaults_read(&m->defaults, files->config, files->generation, f)) < 0 ||
		(rc = quantization_read(files->config, &m->quantization, f)) < 0 ||
		(rc = config_finish(m->config, f)) < 0 ||
		(rc = set_context_length(m, opt->context_length, f)) < 0 ||
		(rc = report(opt, 0.5, "weights", f)) < 0)
		return rc;
	if ((rc = bind(m, opt, f)) < 0)
		return rc;
	if ((rc = check_dtype(m, opt->dtype, f)) < 0)
		return rc;
	if (!opt->headers_only && (rc = prepare(m, opt, f)) < 0)
		return rc;
	if (m->prepared)
		prepared_end(m->prepared);
	m->kv_dtype = opt->kv_dtype;
	fill_info(m);
	return report(opt, 1, "ready", f);
}

int model_open(const struct model_options *opt, struct model **out, struct fault *f)
{
	struct model *m = xcalloc(1, sizeof *m);
	int rc = load(m, opt, f);

	if (rc < 0 && !opt->headers_only) {
		model_close(m);
		return rc;
	}
	if (rc < 0)
		fill_info(m);
	*out = m;
	return rc;
}

void model_close(struct model *m)
{
	if (!m)
		return;
	decoder_release(&m->decoder);
	weights_release(&m->weights);
	prepared_free(m->prepared);
	config_free(m->quantization);
	model_files_close(&m->files);
	free(m->architecture);
	free(m->path);
	free(m);
}

const struct model_info *model_info(const struct model *m)
{
	return &m->info;
}

void model_census(const struct model *m, struct census *out)
{
	census_take(out, m->files.tensors, m->quantization);
}

const struct model_defaults *model_defaults(const struct model *m)
{
	return &m->defaults;
}

const struct pooling_defaults *model_pooling(const struct model *m)
{
	return &m->pooling;
}

const struct tokenizer *model_tokenizer(const struct model *m)
{
	return m->files.tokenizer;
}

const struct chat *model_chat(const struct model *m)
{
	return m->files.chat;
}

struct kv_pool *model_kv_pool(const struct model *m, size_t max_bytes, struct fault *f)
{
	const struct kv_shape shape = kv_shape(m);

	return kv_pool_new(&shape, max_bytes, f);
}

struct model_context *model_context_new(
	const struct model *m, struct pool *pool, size_t max_rows, struct fault *f)
{
	struct model_context *c = xcalloc(1, sizeof *c);

	c->model = m;
	c->backend = &BACKEND_CPU;
	c->max_rows = max_rows;
	c->step = c->backend->step_new(&m->decoder, max_rows, pool, f);
	if (c->step)
		return c;
	free(c);
	return NULL;
}

void model_context_free(struct model_context *c)
{
	if (!c)
		return;
	c->backend->step_free(c->step);
	free(c);
}

void model_context_touch(struct model_context *c)
{
	c->backend->touch(c->step);
}

/* The caller's promises about rows; a broken one must not reach memory. */
static int check_rows(
	const struct model_context *c, const struct batch_row *rows, size_t n_rows, struct fault *f)
{
	const struct decoder *d = &c->model->decoder;

	if (n_rows > c->max_rows)
		return fault_set(
			f, ERR_GENERATION, "a step of %zu rows where %zu fit", n_rows, c->max_rows);
	for (size_t i = 0, n_before = 0; i < n_rows; i++) {
		const struct batch_row *r = &rows[i];
		n_before = i > 0 && rows[i - 1].seq == r->seq ? n_before + 1 : 0;
		size_t pos = r->seq->n_tokens + n_before;
		if (r->token < 0 || (size_t)r->token >= d->vocab_size)
			return fault_set(f, ERR_GENERATION,
				"token %d is outside the vocabulary of %zu", r->token,
				d->vocab_size);
		if (r->pos < 0 || (size_t)r->pos != pos || pos >= d->context_length ||
			pos / KV_BLOCK_TOKENS >= r->seq->n_blocks)
			return fault_set(
				f, ERR_GENERATION, "no room for a row at position %d", r->pos);
	}
	return 0;
}

int model_forward(struct model_context *c, const struct batch_row *rows, size_t n_rows,
	float *logits, struct fault *f)
{
	int rc = check_rows(c, rows, n_rows, f);

	if (rc < 0 || n_rows == 0)
		return rc;
	c->backend->begin(c->step, rows, n_rows, logits);
	c->model->arch->forward(&c->model->decoder, c->backend, c->step);
	for (size_t i = 0; i < n_rows; i++)
		rows[i].seq->n_tokens++;
	return 0;
}
