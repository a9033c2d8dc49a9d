/* options.c - the controller's command line. */
#include "controller/options.h"
#include "controller/bundle.h"
#include "controller/record.h"
#include "controller/spawn.h"
#include "controller/supervise.h"
#include "controller/words.h"
#include "protocol/cpus.h"
#include "protocol/limits.h"
#include "protocol/mem.h"
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char options_help[] =
	"tandem - language models over stdin and stdout\n"
	"\n"
	"usage: tandem [options]                        serve a host: JSON-RPC on stdin/stdout\n"
	"       tandem run -m MODEL -p PROMPT [options] write to the terminal (run --help)\n"
	"       tandem replay FILE [--check]            what --record=FILE heard, once more\n"
	"       tandem inspect PATH [--json]            what a model is, and why it would not "
	"load\n"
	"       tandem cache ls|rm|verify               packed weights on disk (cache --help)\n"
	"\n"
	"  --workers=N           worker processes (1)\n"
	"  --worker=PATH         the worker binary (tandem-worker beside this one)\n"
	"  --worker-command=LINE the command that starts a worker, as `ssh host tandem-worker`; "
	"it\n"
	"                        is split without a shell and given the worker's options; may be\n"
	"                        repeated: workers use them in turns, one each without --workers\n"
	"  --models=DIR          where models are found by id; may be repeated\n"
	"  --roots-only          workers load no model from elsewhere, whatever local_path says\n"
	"  --threads=N           threads of each worker (processors / workers)\n"
	"  --pin                 each worker on processors of its own, each thread on one\n"
	"  --kv-bytes=BYTES      memory of one model's KV cache in each worker; K, M, G (1G)\n"
	"  --model-bytes=BYTES   memory of all models' weights in each worker: the ones unused\n"
	"                        longest leave until a call names them (no bound)\n"
	"  --cache-bytes=BYTES   disk for packed weights; K, M, G (32G; --no-cache: none)\n"
	"  --framing=MODE        auto, ndjson or lsp; auto decides by the first byte (auto)\n"
	"  --drain-ms=N          at the end, time for what is running to finish (1500)\n"
	"  --max-message=BYTES   the longest message accepted (67108864)\n"
	"  --queue-calls=N       requests that may wait before `overloaded` (16384)\n"
	"  --queue-bytes=BYTES   the same in bytes (268435456)\n"
	"  --streams=N           generates one worker holds; the rest wait in turn (256)\n"
	"  --ack-window=N        tokens of a stream that may wait for the host; 0 = any (256)\n"
	"  --stall-ms=N          a stream nobody reads ends after this long; 0 = never (300000)\n"
	"  --heartbeat-ms=N      silence after which a worker counts as stuck; 0 = never (20000)\n"
	"  --restarts=N          of one worker in a minute before it is given up (3)\n"
	"  --retry-budget=N      requests lost with a worker that may go again at once (1024)\n"
	"  --record=FILE         every frame of the host's, both ways, for `tandem replay`\n"
	"  --record-bytes=N      the size at which a record ends (1073741824)\n"
	"  --bundles=N           files about dead workers kept in ~/.local/state/tandem (16)\n"
	"  --sandbox=MODE        of each worker: off, basic or strict (basic)\n"
	"  -v, --verbose         more on stderr; TRACE=all prints each request's way\n"
	"  --version, --help\n"
	"  -- ARGS               further arguments for each worker (tandem-worker --help)\n"
	"\n"
	"One JSON-RPC 2.0 message a line, or LSP headers. For example:\n"
	"  echo '{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"runtime/info\"}' | tandem\n"
	"`rpc.discover` lists every method with its parameters. stdout carries answers and\n"
	"nothing else. Exit: 0 at the end of stdin, after `shutdown`, on SIGTERM and SIGINT;\n"
	"64 for a bad command line; 73 when a record cannot be created; 74 when stdout cannot\n"
	"be written any more. SIGHUP replaces the workers by new ones, streams going on.\n";

enum {
	OPT_WORKERS = 256,
	OPT_WORKER,
	OPT_WORKER_COMMAND,
	OPT_MODELS,
	OPT_ROOTS_ONLY,
	OPT_THREADS,
	OPT_PIN,
	OPT_KV_BYTES,
	OPT_MODEL_BYTES,
	OPT_CACHE_BYTES,
	OPT_NO_CACHE,
	OPT_FRAMING,
	OPT_DRAIN_MS,
	OPT_MAX_MESSAGE,
	OPT_QUEUE_CALLS,
	OPT_QUEUE_BYTES,
	OPT_STREAMS,
	OPT_ACK_WINDOW,
	OPT_STALL_MS,
	OPT_RESTARTS,
	OPT_SANDBOX,
	OPT_HEARTBEAT_MS,
	OPT_RETRY_BUDGET,
	OPT_BUNDLES,
	OPT_RECORD,
	OPT_RECORD_BYTES,
	OPT_HELP,
	OPT_VERSION,
};

static const struct option LONG[] = {
	{ "workers", required_argument, NULL, OPT_WORKERS },
	{ "worker", required_argument, NULL, OPT_WORKER },
	{ "worker-command", required_argument, NULL, OPT_WORKER_COMMAND },
	{ "models", required_argument, NULL, OPT_MODELS },
	{ "roots-only", no_argument, NULL, OPT_ROOTS_ONLY },
	{ "threads", required_argument, NULL, OPT_THREADS },
	{ "pin", no_argument, NULL, OPT_PIN },
	{ "kv-bytes", required_argument, NULL, OPT_KV_BYTES },
	{ "model-bytes", required_argument, NULL, OPT_MODEL_BYTES },
	{ "cache-bytes", required_argument, NULL, OPT_CACHE_BYTES },
	{ "no-cache", no_argument, NULL, OPT_NO_CACHE },
	{ "framing", required_argument, NULL, OPT_FRAMING },
	{ "drain-ms", required_argument, NULL, OPT_DRAIN_MS },
	{ "max-message", required_argument, NULL, OPT_MAX_MESSAGE },
	{ "queue-calls", required_argument, NULL, OPT_QUEUE_CALLS },
	{ "queue-bytes", required_argument, NULL, OPT_QUEUE_BYTES },
	{ "streams", required_argument, NULL, OPT_STREAMS },
	{ "ack-window", required_argument, NULL, OPT_ACK_WINDOW },
	{ "stall-ms", required_argument, NULL, OPT_STALL_MS },
	{ "heartbeat-ms", required_argument, NULL, OPT_HEARTBEAT_MS },
	{ "sandbox", required_argument, NULL, OPT_SANDBOX },
	{ "bundles", required_argument, NULL, OPT_BUNDLES },
	{ "record", required_argument, NULL, OPT_RECORD },
	{ "record-bytes", required_argument, NULL, OPT_RECORD_BYTES },
	{ "restarts", required_argument, NULL, OPT_RESTARTS },
	{ "retry-budget", required_argument, NULL, OPT_RETRY_BUDGET },
	{ "verbose", no_argument, NULL, 'v' },
	{ "help", no_argument, NULL, OPT_HELP },
	{ "version", no_argument, NULL, OPT_VERSION },
	{ NULL, 0, NULL, 0 },
};

bool options_number(const char *text, long min, long max, long *out)
{
	char *end;
	errno = 0;
	long v = strtol(text, &end, 10);
	if (errno || end == text || *end || v < min || v > max)
		return false;
	*out = v;
	return true;
}

void options_pass_on(struct options *o, const char *arg)
{
	o->worker_argv = xreallocarray(o->worker_argv, o->n_worker_argv + 2, sizeof(char *));
	o->worker_argv[o->n_worker_argv++] = xstrdup(arg);
	o->worker_argv[o->n_worker_argv] = NULL;
}

static void pass_on_pair(struct options *o, const char *name, const char *value)
{
	char *arg = xasprintf("--%s=%s", name, value);
	options_pass_on(o, arg);
	free(arg);
}

static bool take_sandbox(struct options *o, const char *mode)
{
	if (strcmp(mode, "off") != 0 && strcmp(mode, "basic") != 0 && strcmp(mode, "strict") != 0)
		return false;
	pass_on_pair(o, "sandbox", mode);
	return true;
}

/* As the worker will read it: a count above 0 with an optional K, M or G. */
static bool pass_on_size(struct options *o, const char *name, const char *value)
{
	const size_t digits = strspn(value, "0123456789");
	const char *unit = value + digits;
	const bool is_size = digits > 0 && digits <= 10 + (*unit ? 0 : 8) &&
			     strspn(value, "0") < digits &&
			     (!*unit || (strchr("KMGkmg", *unit) && !unit[1]));
	if (is_size)
		pass_on_pair(o, name, value);
	return is_size;
}

static void set_worker(struct options *o, const char *path)
{
	free(o->worker_argv[0]);
	o->worker_argv[0] = xstrdup(path);
}

static bool add_command(struct options *o, const char *line)
{
	char **words = words_split(line);
	if (!words)
		return false;
	o->commands = xreallocarray(o->commands, o->n_commands + 1, sizeof *o->commands);
	o->commands[o->n_commands++] = words;
	return true;
}

char **options_worker_command(const struct options *o, int i)
{
	char **command = o->n_commands ? o->commands[(size_t)i % o->n_commands] : o->worker_argv;
	size_t n = 1, skip = o->n_worker_argv - 1;
	while (o->n_commands && command[n])
		n++;
	char **argv = xcalloc(n + skip + 1, sizeof *argv);
	memcpy(argv, command, n * sizeof *argv);
	memcpy(argv + n, o->worker_argv + 1, skip * sizeof *argv);
	return argv;
}

static void set_record(struct options *o, const char *path)
{
	free(o->record_path);
	o->record_path = xstrdup(path);
}

static void note_given(struct options *o, char *arg)
{
	o->given = xreallocarray(o->given, o->n_given + 2, sizeof(char *));
	o->given[o->n_given++] = arg;
	o->given[o->n_given] = NULL;
}

/* What a replay repeats: all but the record, which is what it reads. */
static void note_option(struct options *o, int opt, const char *name, const char *value)
{
	if (opt == OPT_RECORD || opt == OPT_RECORD_BYTES)
		return;
	if (value)
		note_given(o, xasprintf("--%s=%s", name, value));
	else
		note_given(o, opt == 'v' ? xstrdup("-v") : xasprintf("--%s", name));
}

/* What a numeric option may be; those not named here, 1 to 2^40. */
static bool read_number(int opt, const char *value, long *out)
{
	static const struct {
		int opt;
		long min, max;
	} bounds[] = {
		{ OPT_WORKERS, 1, OPTIONS_WORKERS_MAX },
		{ OPT_THREADS, 1, 1024 },
		{ OPT_DRAIN_MS, 0, 86400000 },
		{ OPT_HEARTBEAT_MS, 0, 86400000 },
		{ OPT_STALL_MS, 0, 86400000 },
		{ OPT_RESTARTS, 0, SUP_RESTARTS_MAX },
		{ OPT_RETRY_BUDGET, 0, (long)1 << 40 },
		{ OPT_BUNDLES, 0, 4096 },
		{ OPT_ACK_WINDOW, 0, LIMIT_ACK_WINDOW },
	};
	for (size_t i = 0; i < sizeof bounds / sizeof bounds[0]; i++)
		if (bounds[i].opt == opt)
			return options_number(value, bounds[i].min, bounds[i].max, out);
	return options_number(value, 1, (long)1 << 40, out);
}

/* The numeric options: where each goes. */
static bool take_number(struct options *o, int opt, const char *value)
{
	long v = 0;
	if (!read_number(opt, value, &v))
		return false;
	switch (opt) {
	case OPT_WORKERS: o->n_workers = (int)v; break;
	case OPT_DRAIN_MS: o->drain_ms = (int)v; break;
	case OPT_MAX_MESSAGE: o->max_message = (size_t)v; break;
	case OPT_QUEUE_CALLS: o->queue_calls = (size_t)v; break;
	case OPT_QUEUE_BYTES: o->queue_bytes = (size_t)v; break;
	case OPT_BUNDLES: o->bundles = (size_t)v; break;
	case OPT_RECORD_BYTES: o->record_bytes = (size_t)v; break;
	case OPT_ACK_WINDOW: o->ack_window = (size_t)v; break;
	case OPT_STALL_MS: pass_on_pair(o, "stall-ms", value); break;
	case OPT_STREAMS: o->streams = (size_t)v; break;
	case OPT_THREADS: o->threads = v; break;
	case OPT_HEARTBEAT_MS: o->heartbeat_ms = (unsigned)v; break;
	case OPT_RESTARTS: o->restarts = (unsigned)v; break;
	case OPT_RETRY_BUDGET: o->retry_budget = (double)v; break;
	}
	return true;
}

static bool take(struct options *o, int opt, const char *value)
{
	switch (opt) {
	case OPT_RECORD: set_record(o, value); return true;
	case OPT_WORKER: set_worker(o, value); return true;
	case OPT_WORKER_COMMAND: return add_command(o, value);
	case OPT_MODELS: pass_on_pair(o, "models", value); return true;
	case OPT_PIN:
		o->pin = true;
		options_pass_on(o, "--pin");
		return true;
	case OPT_ROOTS_ONLY: options_pass_on(o, "--roots-only"); return true;
	case OPT_SANDBOX: return take_sandbox(o, value);
	case OPT_KV_BYTES: return pass_on_size(o, "kv-bytes", value);
	case OPT_MODEL_BYTES: return pass_on_size(o, "model-bytes", value);
	case OPT_CACHE_BYTES: return pass_on_size(o, "cache-bytes", value);
	case OPT_NO_CACHE: options_pass_on(o, "--no-cache"); return true;
	case OPT_FRAMING: return frame_parse_name(value, &o->framing);
	case OPT_HELP: o->wish = OPTIONS_HELP; return true;
	case OPT_VERSION: o->wish = OPTIONS_VERSION; return true;
	case 'v':
		o->is_verbose = true;
		options_pass_on(o, "--verbose");
		return true;
	default: return take_number(o, opt, value);
	}
}

static void set_defaults(struct options *o)
{
	char *worker = spawn_sibling("tandem-worker");
	*o = (struct options) {
		.framing = FRAMING_AUTO,
		.max_message = FRAME_IN_MAX,
		.drain_ms = 1500,
		.queue_calls = LIMIT_QUEUE_CALLS,
		.queue_bytes = LIMIT_QUEUE_BYTES,
		.streams = 256,
		.ack_window = 256,
		.heartbeat_ms = 20000,
		.restarts = SUP_RESTARTS,
		.retry_budget = 1024,
		.bundles = BUNDLES,
		.record_bytes = RECORD_FILE_BYTES,
	};
	options_pass_on(o, worker);
	free(worker);
}

static void pass_on_window(struct options *o)
{
	char count[24];
	snprintf(count, sizeof count, "%zu", o->ack_window);
	pass_on_pair(o, "ack-window", count);
}

/* Workers side by side share the processors; more threads than those only wait. What a command
 * starts is on processors that we know nothing of. */
static void share_processors(struct options *o)
{
	if (o->n_workers == 0)
		o->n_workers = o->n_commands ? (int)o->n_commands : 1;
	if (o->n_commands && !o->threads)
		return;
	if (!o->threads)
		o->threads = cpus_allowed() / o->n_workers;
	if (!o->threads)
		o->threads = 1;
	char count[16];
	snprintf(count, sizeof count, "%ld", o->threads);
	pass_on_pair(o, "threads", count);
}

/* getopt moves what is no option behind "--", so the line is cut there before. */
static int cut_line(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (!strcmp(argv[i], "--"))
			return i;
	return argc;
}

int options_parse(struct options *o, int argc, char **argv, struct fault *f)
{
	int opt, at = 0, cut = cut_line(argc, argv);
	set_defaults(o);
	optind = 0;
	opterr = 0;
	while ((opt = getopt_long(cut, argv, "v", LONG, &at)) != -1) {
		if (opt == '?')
			return fault_set(f, ERR_INVALID_PARAMS,
				"unknown option or missing value: %s", argv[optind - 1]);
		if (!take(o, opt, optarg))
			return fault_set(f, ERR_INVALID_PARAMS, "--%s cannot be '%s'",
				LONG[at].name, optarg);
		note_option(o, opt, LONG[at].name, optarg);
	}
	if (o->n_commands > OPTIONS_WORKERS_MAX)
		return fault_set(f, ERR_INVALID_PARAMS, "more than %d --worker-command",
			OPTIONS_WORKERS_MAX);
	share_processors(o);
	pass_on_window(o);
	for (int i = cut; i < argc; i++)
		note_given(o, xstrdup(argv[i]));
	for (int i = cut + 1; i < argc; i++)
		options_pass_on(o, argv[i]);
	return 0;
}

void options_release(struct options *o)
{
	for (size_t i = 0; i < o->n_worker_argv; i++)
		free(o->worker_argv[i]);
	for (size_t i = 0; i < o->n_given; i++)
		free(o->given[i]);
	free(o->worker_argv);
	for (size_t i = 0; i < o->n_commands; i++)
		words_free(o->commands[i]);
	free(o->commands);
	free(o->given);
	free(o->record_path);
}
