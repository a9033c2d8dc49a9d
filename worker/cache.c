/* cache.c - what lies in the artifact cache, for people: ls, rm, verify. */
#include "worker/cache.h"
#include "protocol/mem.h"
#include "worker/model/artifact_store.h"
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

static const char HELP[] =
	"tandem cache - packed weights, kept so that later loads need not make them\n"
	"\n"
	"usage: tandem cache ls             key, size, last use and model, latest first\n"
	"       tandem cache rm KEY...      remove them (the start of a key will do)\n"
	"       tandem cache rm --all       remove all\n"
	"       tandem cache verify [KEY...]  read them, or all, and check every byte\n"
	"\n"
	"  --dir=DIR  another folder than $XDG_CACHE_HOME/tandem/weights\n"
	"  --help\n"
	"\n"
	"What is removed is made again by the next load; workers that use it keep it until then.\n"
	"Exit: 0, 65 if something is damaged, 66 if a key is not there, 64 for a bad command "
	"line.\n";

struct command {
	struct artifact_store store;
	struct artifact_listed *list;
	size_t n;
};

static int usage(const char *complaint)
{
	fprintf(stderr, "tandem cache: %s (see tandem cache --help)\n", complaint);
	return EX_USAGE;
}

static int open_listed(const struct command *c, size_t i, struct artifact **out, struct fault *f)
{
	char *path = artifact_store_path(&c->store, c->list[i].name, "pack");
	int rc = artifact_open(path, NULL, out, f);

	free(path);
	return rc;
}

static int list(struct command *c, size_t i)
{
	const struct artifact_listed *l = &c->list[i];
	struct artifact *a = NULL;
	struct fault f = { 0 };
	struct tm tm;
	char when[32] = "?";

	if (localtime_r(&l->used.tv_sec, &tm))
		strftime(when, sizeof when, "%Y-%m-%d %H:%M", &tm);
	open_listed(c, i, &a, &f);
	printf("%s %10.1f MB  %s  %s\n", l->name, (double)l->n_bytes / 1e6, when,
		a ? artifact_label(a) : "(damaged)");
	artifact_close(a);
	return EXIT_SUCCESS;
}

static int verify(struct command *c, size_t i)
{
	struct artifact *a = NULL;
	struct fault f = { 0 };
	int rc = open_listed(c, i, &a, &f);

	if (rc == 0)
		rc = artifact_verify(a, &f);
	printf("%s %s\n", c->list[i].name, rc == 0 ? "whole" : f.text);
	artifact_close(a);
	return rc == 0 ? EXIT_SUCCESS : EX_DATAERR;
}

static int drop(struct command *c, size_t i)
{
	const bool gone = artifact_store_remove(&c->store, c->list[i].name);

	printf("%s %s\n", c->list[i].name, gone ? "removed" : "cannot be removed");
	return gone ? EXIT_SUCCESS : EX_NOPERM;
}

static int drop_all(struct command *c)
{
	int code = EXIT_SUCCESS;

	for (size_t i = 0; i < c->n; i++)
		code = drop(c, i) ? EX_NOPERM : code;
	artifact_store_clear(&c->store);
	return code;
}

typedef int action_fn(struct command *c, size_t i);

/* Of all, or of those whose key begins like one of the keys; the worst exit code. */
static int apply(struct command *c, action_fn *act, char *const *keys, int n_keys)
{
	int worst = EXIT_SUCCESS;

	for (size_t i = 0; n_keys == 0 && i < c->n; i++) {
		int code = act(c, i);
		worst = code ? code : worst;
	}
	for (int k = 0; k < n_keys; k++) {
		bool found = false;
		for (size_t i = 0; i < c->n; i++)
			if (keys[k][0] && strncmp(c->list[i].name, keys[k], strlen(keys[k])) == 0) {
				int code = act(c, i);
				worst = code ? code : worst;
				found = true;
			}
		if (!found) {
			fprintf(stderr, "tandem cache: no packed weights with key %s\n", keys[k]);
			worst = EX_NOINPUT;
		}
	}
	return worst;
}

static int run(const char *dir, bool all, int argc, char **argv)
{
	struct command c = { 0 };
	char *folder = dir ? xstrdup(dir) : artifact_store_default();
	const char *what = argc > 0 ? argv[0] : "";
	action_fn *act = strcmp(what, "ls") == 0       ? list
			 : strcmp(what, "rm") == 0     ? drop
			 : strcmp(what, "verify") == 0 ? verify
						       : NULL;
	int code;

	artifact_store_init(&c.store, folder, 0);
	c.list = artifact_store_list(&c.store, &c.n);
	if (!act)
		code = usage("ls, rm or verify");
	else if (act == drop && all == (argc > 1))
		code = usage("rm needs either keys or --all");
	else if (act == list && argc > 1)
		code = usage("ls takes no key");
	else if (act != drop && all)
		code = usage("--all is for rm");
	else if (all)
		code = drop_all(&c);
	else
		code = apply(&c, act, argv + 1, argc - 1);
	if (fflush(stdout) != 0)
		code = EX_IOERR;
	free(c.list);
	artifact_store_release(&c.store);
	free(folder);
	return code;
}

int cache_main(int argc, char **argv)
{
	static const struct option LONG[] = { { "all", no_argument, NULL, 'a' },
		{ "dir", required_argument, NULL, 'd' }, { "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 } };
	const char *dir = NULL;
	bool all = false;
	int opt;

	opterr = 0;
	while ((opt = getopt_long(argc, argv, "", LONG, NULL)) != -1) {
		if (opt == 'h')
			return fputs(HELP, stdout) < 0 ? EX_IOERR : EXIT_SUCCESS;
		if (opt == '?')
			return usage("unknown option or missing value");
		if (opt == 'a')
			all = true;
		else
			dir = optarg;
	}
	return run(dir, all, argc - optind, argv + optind);
}
