/* options.c - the worker's command line. */
#include "worker/options.h"
#include "protocol/cpus.h"
#include "protocol/mem.h"
#include "worker/engine/engine.h"
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char options_help[] =
	"tandem-worker - language models over stdin and stdout (JSON-RPC 2.0)\n"
	"\n"
	"usage: tandem-worker [options]              serve: JSON-RPC on stdin/stdout\n"
	"       tandem-worker inspect PATH [--json]  tell what a model is (inspect --help)\n"
	"       tandem-worker cache ls|rm|verify     packed weights on disk (cache --help)\n"
	"\n"
	"  --framing=auto|ndjson|lsp  how messages are cut (auto: by the first byte)\n"
	"  --models DIR               look models up here by model_id; may be given again\n"
	"                             (also: TANDEM_MODELS=DIR:DIR)\n"
	"  --roots-only               load no model from elsewhere (strict does not either)\n"
	"  --threads N                threads that compute (default: the CPUs it may use)\n"
	"  --pin                      each of them on a CPU of its own\n"
	"  --kv-bytes N[K|M|G]        memory of one model's KV cache (default 1G)\n"
	"  --model-bytes N[K|M|G]     memory of all models' weights: the ones unused longest "
	"leave\n"
	"                             until a call names them (default: no bound)\n"
	"  --max-running N            sequences of one model decoded together (default 64)\n"
	"  --chunk-tokens N           prompt tokens of one step, 1 to 256 (default: what keeps\n"
	"                             running streams going)\n"
	"  --cache-bytes N[K|M|G]     disk for packed weights (default 32G; `cache` lists them)\n"
	"  --no-cache                 keep no packed weights, use none\n"
	"  --max-frame N[K|M|G]       longest message read (default 64M)\n"
	"  --drain-ms N               time to finish in at the end (default 1500)\n"
	"  --ack-window N             tokens of a stream sent beyond its last stream.ack;\n"
	"                             0 = as many as the pipe takes (default 0)\n"
	"  --stall-ms N               a stream may stand still for so long because nobody reads\n"
	"                             it; then it ends, slow_consumer; 0 = for ever\n"
	"                             (default 300000)\n"
	"  --sandbox=off|basic|strict basic: no sockets, no programs, no ptrace; strict: also\n"
	"                             no files but below --models, none written (default basic)\n"
	"  -v, --verbose              more on stderr; TRACE=all prints each request's way\n"
	"  --help, --version\n"
	"\n"
	"For tests of recovery:\n"
	"  --dev-crash-after=N        abort after N tokens were written\n"
	"  --dev-stall-ms=N           wait N ms before each step\n"
	"  --dev-garbage              write a line that is no frame after each frame\n"
	"\n"
	"Try it:\n"
	"  echo '{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"runtime/info\"}' | tandem-worker\n";

enum {
	OPT_FRAMING = 256,
	OPT_MODELS,
	OPT_ROOTS_ONLY,
	OPT_THREADS,
	OPT_KV_BYTES,
	OPT_MODEL_BYTES,
	OPT_PIN,
	OPT_MAX_RUNNING,
	OPT_CHUNK_TOKENS,
	OPT_CACHE_BYTES,
	OPT_NO_CACHE,
	OPT_MAX_FRAME,
	OPT_DRAIN,
	OPT_ACK_WINDOW,
	OPT_STALL_MS,
	OPT_SANDBOX,
	OPT_HELP,
	OPT_VERSION,
	OPT_CRASH,
	OPT_STALL,
	OPT_GARBAGE
};

static const struct option table[] = {
	{ "framing", required_argument, NULL, OPT_FRAMING },
	{ "models", required_argument, NULL, OPT_MODELS },
	{ "model-root", required_argument, NULL, OPT_MODELS },
	{ "roots-only", no_argument, NULL, OPT_ROOTS_ONLY },
	{ "threads", required_argument, NULL, OPT_THREADS },
	{ "pin", no_argument, NULL, OPT_PIN },
	{ "kv-bytes", required_argument, NULL, OPT_KV_BYTES },
	{ "model-bytes", required_argument, NULL, OPT_MODEL_BYTES },
	{ "max-running", required_argument, NULL, OPT_MAX_RUNNING },
	{ "chunk-tokens", required_argument, NULL, OPT_CHUNK_TOKENS },
	{ "cache-bytes", required_argument, NULL, OPT_CACHE_BYTES },
	{ "no-cache", no_argument, NULL, OPT_NO_CACHE },
	{ "max-frame", required_argument, NULL, OPT_MAX_FRAME },
	{ "drain-ms", required_argument, NULL, OPT_DRAIN },
	{ "ack-window", required_argument, NULL, OPT_ACK_WINDOW },
	{ "stall-ms", required_argument, NULL, OPT_STALL_MS },
	{ "sandbox", required_argument, NULL, OPT_SANDBOX },
	{ "verbose", no_argument, NULL, 'v' },
	{ "help", no_argument, NULL, OPT_HELP },
	{ "version", no_argument, NULL, OPT_VERSION },
	{ "dev-crash-after", required_argument, NULL, OPT_CRASH },
	{ "dev-stall-ms", required_argument, NULL, OPT_STALL },
	{ "dev-garbage", no_argument, NULL, OPT_GARBAGE },
	{ NULL, 0, NULL, 0 },
};

static bool parse_long(const char *s, long min, long max, long *out)
{
	char *end;
	errno = 0;
	const long v = strtol(s, &end, 10);
	if (errno || end == s || *end || v < min || v > max)
		return false;
	*out = v;
	return true;
}

/* A count of bytes with an optional K, M or G (powers of 1024). */
static bool parse_size(const char *s, size_t *out)
{
	char *end;
	errno = 0;
	const unsigned long long v = strtoull(s, &end, 10);
	unsigned shift = 0;
	if (errno || end == s || *s == '-')
		return false;
	if (*end) {
		const char *unit = strchr("KMG", *end & ~0x20);
		if (!unit || !*unit || end[1])
			return false;
		shift = 10 * (unsigned)(unit - "KMG" + 1);
		if (v > SIZE_MAX >> shift)
			return false;
	}
	*out = (size_t)v << shift;
	return *out > 0;
}

static void add_root(struct worker_options *o, const char *dir)
{
	o->roots = xreallocarray(o->roots, o->n_roots + 1, sizeof *o->roots);
	o->roots[o->n_roots++] = dir;
}

static void add_env_roots(struct worker_options *o, const char *models_env)
{
	o->roots_env = models_env ? xstrdup(models_env) : NULL;
	for (char *at = o->roots_env; at && *at;) {
		char *colon = strchr(at, ':');
		if (colon)
			*colon = '\0';
		if (*at)
			add_root(o, at);
		at = colon ? colon + 1 : NULL;
	}
}

static bool take_number(struct worker_options *o, int opt, const char *arg)
{
	long v = 0;
	const long max = opt == OPT_THREADS        ? 1024
			 : opt == OPT_CHUNK_TOKENS ? ENGINE_CHUNK_ROWS
						   : 1000000000;
	const bool not_0 = opt == OPT_THREADS || opt == OPT_MAX_RUNNING || opt == OPT_CHUNK_TOKENS;
	if (!parse_long(arg, not_0, max, &v))
		return false;
	if (opt == OPT_THREADS)
		o->threads = (int)v;
	else if (opt == OPT_MAX_RUNNING)
		o->max_running = (size_t)v;
	else if (opt == OPT_CHUNK_TOKENS)
		o->chunk_tokens = (size_t)v;
	else if (opt == OPT_DRAIN)
		o->drain_ms = (int)v;
	else if (opt == OPT_ACK_WINDOW)
		o->window = (size_t)v;
	else if (opt == OPT_STALL_MS)
		o->stall_ms = (int)v;
	else if (opt == OPT_CRASH)
		o->dev_crash_after = v;
	else
		o->dev_stall_ms = (int)v;
	return true;
}

static bool take(struct worker_options *o, int opt, const char *arg)
{
	switch (opt) {
	case OPT_FRAMING: return frame_parse_name(arg, &o->framing);
	case OPT_MODELS: add_root(o, arg); return true;
	case OPT_ROOTS_ONLY: o->roots_only = true; return true;
	case OPT_PIN: o->pin = true; return true;
	case OPT_KV_BYTES: return parse_size(arg, &o->kv_bytes);
	case OPT_MODEL_BYTES: return parse_size(arg, &o->model_bytes);
	case OPT_CACHE_BYTES: return parse_size(arg, &o->cache_bytes);
	case OPT_NO_CACHE: o->no_cache = true; return true;
	case OPT_MAX_FRAME: return parse_size(arg, &o->max_frame);
	case OPT_SANDBOX:
		o->confinement_is_asked = true;
		if (!confine_parse(arg, &o->confinement))
			return false;
		o->roots_only = o->roots_only || o->confinement == CONFINE_STRICT;
		return true;
	case OPT_GARBAGE: o->dev_garbage = true; return true;
	case 'v': o->verbose = true; return true;
	default: return take_number(o, opt, arg);
	}
}

static const char *option_name(int opt)
{
	for (size_t i = 0; table[i].name; i++)
		if (table[i].val == opt)
			return table[i].name;
	return "?";
}

enum options_outcome options_parse(
	struct worker_options *o, int argc, char *const argv[], const char *models_env)
{
	int opt;
	*o = (struct worker_options) { .threads = cpus_allowed(),
		.kv_bytes = (size_t)1 << 30,
		.cache_bytes = (size_t)32 << 30,
		.max_running = 64,
		.max_frame = FRAME_IN_MAX,
		.confinement = CONFINE_BASIC,
		.drain_ms = 1500,
		.stall_ms = 300000 };
	optind = 0; /* so that a second parse in one process (tests) starts anew */
	opterr = 0;
	while ((opt = getopt_long(argc, argv, "v", table, NULL)) != -1) {
		if (opt == OPT_HELP)
			return OPTIONS_HELP;
		if (opt == OPT_VERSION)
			return OPTIONS_VERSION;
		if (opt == '?') {
			snprintf(o->complaint, sizeof o->complaint,
				"unknown option or missing value: %.180s", argv[optind - 1]);
			return OPTIONS_BAD;
		}
		if (!take(o, opt, optarg)) {
			snprintf(o->complaint, sizeof o->complaint, "--%s: cannot be '%.150s'",
				option_name(opt), optarg);
			return OPTIONS_BAD;
		}
	}
	if (argc - optind > 1) {
		snprintf(o->complaint, sizeof o->complaint, "unexpected argument: %.180s",
			argv[optind + 1]);
		return OPTIONS_BAD;
	}
	add_env_roots(o, models_env);
	return OPTIONS_RUN;
}

void options_release(struct worker_options *o)
{
	free(o->roots);
	free(o->roots_env);
}
