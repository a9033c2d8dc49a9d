/* run_options.c - the command line of `tandem run`. */
#include "controller/run_options.h"
#include "protocol/mem.h"
#include <getopt.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

const char run_options_help[] =
	"tandem run - let a model continue a text\n"
	"\n"
	"usage: tandem run -m MODEL -p PROMPT [options]\n"
	"       tandem run -m MODEL --selftest-determinism[=PROMPTS]\n"
	"\n"
	"  -m, --model=MODEL     a model folder or file, or an id found in --models\n"
	"  -p, --prompt=TEXT     the text to continue; - reads it from stdin\n"
	"  -n, --max-tokens=N    at most so many tokens (512)\n"
	"  --temperature=T       0 takes the likeliest token each time (0.7)\n"
	"  --top-p=P  --top-k=K  --min-p=P\n"
	"  --seed=N              the same seed writes the same text\n"
	"  --stop=TEXT           end before this text; may be repeated\n"
	"  --draft-model=MODEL   a smaller one of the same vocabulary, which drafts for it\n"
	"  --json                print the whole result as one line of JSON\n"
	"  --selftest-determinism  ask the same in many circumstances: alone, in a batch, under\n"
	"                        load, cut into chunks, cached, drafted, on more threads and\n"
	"                        workers; tell what differs, if anything does (8 prompts)\n"
	"  --workers=N  --worker=PATH  --threads=N  --models=DIR  -v  as of tandem itself\n"
	"  --help\n"
	"\n"
	"stdout gets the text and nothing else; progress and times go to stderr.\n"
	"Exit: 0 when the text is complete, 1 when loading or generating failed or an answer\n"
	"differed, 64 for a bad command line, 130 after Ctrl-C.\n";

enum {
	OPT_TEMPERATURE = 256,
	OPT_DRAFT_MODEL,
	OPT_TOP_P,
	OPT_TOP_K,
	OPT_MIN_P,
	OPT_SEED,
	OPT_STOP,
	OPT_JSON,
	OPT_SELFTEST,
	OPT_BASE,
	OPT_HELP
};

static const struct option LONG[] = {
	{ "model", required_argument, NULL, 'm' },
	{ "prompt", required_argument, NULL, 'p' },
	{ "max-tokens", required_argument, NULL, 'n' },
	{ "temperature", required_argument, NULL, OPT_TEMPERATURE },
	{ "top-p", required_argument, NULL, OPT_TOP_P },
	{ "top-k", required_argument, NULL, OPT_TOP_K },
	{ "min-p", required_argument, NULL, OPT_MIN_P },
	{ "seed", required_argument, NULL, OPT_SEED },
	{ "stop", required_argument, NULL, OPT_STOP },
	{ "draft-model", required_argument, NULL, OPT_DRAFT_MODEL },
	{ "json", no_argument, NULL, OPT_JSON },
	{ "selftest-determinism", optional_argument, NULL, OPT_SELFTEST },
	{ "workers", required_argument, NULL, OPT_BASE },
	{ "worker", required_argument, NULL, OPT_BASE },
	{ "threads", required_argument, NULL, OPT_BASE },
	{ "models", required_argument, NULL, OPT_BASE },
	{ "verbose", no_argument, NULL, 'v' },
	{ "help", no_argument, NULL, OPT_HELP },
	{ NULL, 0, NULL, 0 },
};

static bool add_number(struct buf *out, const char *key, const char *text)
{
	char *end;
	double v = strtod(text, &end);
	if (end == text || *end || !isfinite(v))
		return false;
	jout_key_num(out, key, v);
	return true;
}

static bool add_stop(struct run_options *o, const char *text)
{
	if (o->n_stops == RUN_STOPS_MAX)
		return false;
	o->stops[o->n_stops++] = text;
	return true;
}

static bool take_selftest(struct run_options *o, const char *text)
{
	char *end;
	long n = text ? strtol(text, &end, 10) : RUN_SELFTEST;
	if (text && (end == text || *end || n < 1 || n > RUN_SELFTEST_MOST))
		return false;
	o->n_selftest = (size_t)n;
	return true;
}

static bool take(struct run_options *o, int opt, const char *value)
{
	struct buf *s = &o->sampling;
	switch (opt) {
	case 'm': o->model = value; return true;
	case 'p': o->prompt = value; return true;
	case 'n': return add_number(s, "max_tokens", value);
	case OPT_TEMPERATURE: return add_number(s, "temperature", value);
	case OPT_TOP_P: return add_number(s, "top_p", value);
	case OPT_TOP_K: return add_number(s, "top_k", value);
	case OPT_MIN_P: return add_number(s, "min_p", value);
	case OPT_SEED: return add_number(s, "seed", value);
	case OPT_STOP: return add_stop(o, value);
	case OPT_DRAFT_MODEL: o->draft_model = value; return true;
	case OPT_JSON: o->is_json = true; return true;
	case OPT_SELFTEST: return take_selftest(o, value);
	case OPT_HELP: o->base.wish = OPTIONS_HELP; return true;
	}
	return false;
}

/* The controller's own options are collected and parsed by their own parser. */
struct own_args {
	char *argv[128];
	int n;
};

static bool keep(struct own_args *own, const char *name, const char *value)
{
	if (own->n >= 126)
		return false;
	own->argv[own->n++] = value ? xasprintf("--%s=%s", name, value) : xasprintf("--%s", name);
	return true;
}

static int parse_own(
	struct run_options *o, int argc, char **argv, struct own_args *own, struct fault *f)
{
	int opt, at = 0;
	optind = 0;
	opterr = 0;
	while ((opt = getopt_long(argc, argv, "m:p:n:v", LONG, &at)) != -1) {
		bool ok;
		if (opt == '?')
			return fault_set(f, ERR_INVALID_PARAMS,
				"unknown option or missing value: %s", argv[optind - 1]);
		if (opt == OPT_BASE)
			ok = keep(own, LONG[at].name, optarg);
		else
			ok = opt == 'v' ? keep(own, "verbose", NULL) : take(o, opt, optarg);
		if (!ok)
			return fault_set(f, ERR_INVALID_PARAMS, "%s cannot be '%s'",
				argv[optind - 1], optarg ? optarg : "");
	}
	if (optind < argc)
		return fault_set(f, ERR_INVALID_PARAMS, "what is '%s'? A prompt goes after -p",
			argv[optind]);
	return 0;
}

static int check(const struct run_options *o, struct fault *f)
{
	bool asks_text = o->prompt || o->n_stops > 0 || o->is_json || o->sampling.n_bytes > 1;
	if (o->n_selftest && !o->model)
		return fault_set(f, ERR_INVALID_PARAMS, "the self-test needs a model (-m)");
	if (o->n_selftest && asks_text)
		return fault_set(f, ERR_INVALID_PARAMS,
			"--selftest-determinism asks questions of its own: no prompt, sampling or "
			"output options go with it");
	if (!o->n_selftest && (!o->model || !o->prompt))
		return fault_set(f, ERR_INVALID_PARAMS, "run needs a model (-m) and a prompt (-p)");
	return 0;
}

int run_options_parse(struct run_options *o, int argc, char **argv, struct fault *f)
{
	struct own_args own = { .n = 1 };
	char name[] = "tandem";
	memset(o, 0, sizeof *o);
	buf_addc(&o->sampling, '{');
	own.argv[0] = name;
	int err = parse_own(o, argc, argv, &own, f);
	enum options_wish wish = o->base.wish;
	int base_err = options_parse(&o->base, own.n, own.argv, err < 0 ? NULL : f);
	for (int i = 1; i < own.n; i++)
		free(own.argv[i]);
	if (err < 0 || base_err < 0)
		return ERR_INVALID_PARAMS;
	o->base.wish = wish;
	return wish == OPTIONS_HELP ? 0 : check(o, f);
}

void run_options_release(struct run_options *o)
{
	buf_release(&o->sampling);
	options_release(&o->base);
}
