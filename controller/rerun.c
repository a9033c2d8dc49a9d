/* rerun.c - `tandem replay`: the record's frames, at their turn, to a controller of our own. */
#include "controller/rerun.h"
#include "controller/controller.h"
#include "controller/drain.h"
#include "controller/sink.h"
#include "protocol/log.h"
#include "protocol/mem.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <unistd.h>

#define PATIENCE_SECONDS 60 /* without a word while something is awaited */

static const char HELP[] =
	"usage: tandem replay FILE [--check] [options of tandem]\n"
	"\n"
	"Tells a fresh tandem what was told the one that `--record=FILE` was given to, with its\n"
	"options (but those that name programs or loosen the sandbox) and those given here, and\n"
	"prints what it says. --check prints instead where that differs from the record in more\n"
	"than times and measures; exit 1 if it does.\n";

struct rerun {
	struct recording recording;
	struct transcript whole;  /* of the record */
	struct transcript so_far; /* of the record, up to the cursor: what was asked for */
	struct transcript fresh;
	struct rerun_asked *asked;
	size_t cursor;
	bool is_added; /* the frame at the cursor is in so_far */
	bool is_told;  /* everything was sent */
	bool is_stuck;
	bool is_check;
	int out;
	struct controller *controller;
	struct sink to;
	struct frame_reader reader;
	struct event *readable, *patience;
	int fd;
};

static void print(const struct rerun *r, const char *text, size_t n)
{
	while (n > 0) {
		ssize_t wrote = write(r->out, text, n);
		if (wrote < 0 && errno == EINTR)
			continue;
		if (wrote < 0)
			return;
		text += wrote;
		n -= (size_t)wrote;
	}
}

/* -- the record's turn ------------------------------------------------------------------ */

static void send_frame(struct rerun *r, const struct recorded *x)
{
	struct buf text = BUF_INIT;
	if (x->is_json)
		rerun_write_request(&text, x->text, &r->whole, &r->asked);
	else
		buf_add(&text, x->text.at, x->text.n);
	/* With headers, since not every frame of a record is one line. */
	frame_write(sink_buf(&r->to), FRAMING_LSP, text.data, text.n_bytes);
	sink_kick(&r->to);
	buf_release(&text);
}

/* An answer that nobody asked for is not waited for, only found missing in the end. */
static void expect(struct rerun *r, struct json_span frame)
{
	struct json_cursor c = json_iterate(frame);
	struct json_span one;
	struct rpc_msg m;
	if (json_kind(frame) == '[') {
		while (json_next_element(&c, &one))
			expect(r, one);
		return;
	}
	rpc_parse(frame, &m);
	bool is_answer = m.kind == RPC_RESULT || m.kind == RPC_ERROR;
	if (!is_answer || rerun_is_asked(r->asked, m.id, transcript_count(&r->so_far, m.id)))
		transcript_add(&r->so_far, frame);
}

/* Has the fresh one said as much as the recorded one when it said this? */
static bool is_level(struct rerun *r, const struct recorded *x)
{
	if (!x->is_json)
		return true;
	if (!r->is_added)
		expect(r, x->text);
	r->is_added = true;
	return transcript_is_level(&r->fresh, &r->so_far, x->text);
}

static void advance(struct rerun *r)
{
	const struct timeval patience = { PATIENCE_SECONDS, 0 };
	for (; r->cursor < r->recording.n_frames; r->cursor++) {
		const struct recorded *x = &r->recording.frames[r->cursor];
		if (x->dir == RECORD_IN)
			send_frame(r, x);
		else if (!is_level(r, x))
			break;
		r->is_added = false;
	}
	event_add(r->patience, &patience);
	if (r->cursor < r->recording.n_frames || r->is_told)
		return;
	r->is_told = true;
	drain_leave(r->controller, "the record is at its end");
}

static void on_patience(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	struct rerun *r = arg;
	r->is_stuck = true;
	drain_leave(r->controller, "the replay does not get on");
}

/* -- what the fresh one says ------------------------------------------------------------ */

static void hear(struct rerun *r, const char *text, size_t n)
{
	if (json_scan(text, n, NULL) < 0)
		return;
	transcript_add(&r->fresh, json_whole(text, n));
	if (!r->is_check) {
		print(r, text, n);
		print(r, "\n", 1);
	}
}

static bool read_some(struct rerun *r)
{
	const char *text;
	size_t n_text;
	ssize_t n = read(r->fd, frame_space(&r->reader, 65536), 65536);
	if (n <= 0)
		return false;
	frame_fed(&r->reader, (size_t)n);
	while (frame_next(&r->reader, &text, &n_text) == FRAME_TEXT)
		hear(r, text, n_text);
	return true;
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	if (read_some(arg))
		advance(arg);
}

/* -- life ------------------------------------------------------------------------------- */

static void open_ends(struct rerun *r, struct event_base *base, int fd)
{
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	r->fd = fd;
	sink_init(&r->to, base, fd, 65536);
	frame_reader_init(&r->reader, FRAMING_LSP, FRAME_IN_MAX);
	r->readable = event_new(base, fd, EV_READ | EV_PERSIST, on_readable, r);
	r->patience = evtimer_new(base, on_patience, r);
	event_add(r->readable, NULL);
}

static void close_ends(struct rerun *r)
{
	event_free(r->readable);
	event_free(r->patience);
	sink_release(&r->to);
	frame_reader_release(&r->reader);
}

static void drive(struct rerun *r, struct options *opt)
{
	int pair[2];
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		log_fatal("no socket pair: %s", strerror(errno));
	struct event_base *base = controller_event_base();
	opt->framing = FRAMING_LSP;
	open_ends(r, base, pair[0]);
	r->controller = controller_new(base, opt, pair[1], pair[1]);
	advance(r);
	event_base_dispatch(base);
	/* What it said last may still be on its way. */
	while (read_some(r))
		continue;
	controller_free(r->controller);
	close_ends(r);
	event_base_free(base);
	close(pair[0]);
	close(pair[1]);
}

static int tell(struct rerun *r)
{
	struct rerun_sides sides = { &r->recording, &r->whole, &r->fresh, r->asked };
	struct buf lines = BUF_INIT;
	size_t n_skipped = 0, n = 0;
	if (r->is_check)
		n = rerun_compare(&sides, &lines, &n_skipped);
	if (r->is_stuck) {
		buf_addf(&lines, "stopped at frame %zu of %zu: nothing came for %d s\n", r->cursor,
			r->recording.n_frames, PATIENCE_SECONDS);
		n++;
	}
	if (r->recording.n_lost)
		buf_addf(&lines, "the record lacks %llu frames\n",
			(unsigned long long)r->recording.n_lost);
	if (r->is_check)
		buf_addf(&lines,
			"%zu frames, %u answers, %u streams; %zu not compared, %zu differences\n",
			r->recording.n_frames, HASH_COUNT(r->whole.answers),
			HASH_COUNT(r->whole.streams), n_skipped, n);
	print(r, lines.data, lines.n_bytes);
	buf_release(&lines);
	return n ? EXIT_FAILURE : EXIT_SUCCESS;
}

static void release(struct rerun *r)
{
	struct rerun_asked *a, *next;
	HASH_ITER (hh, r->asked, a, next) {
		HASH_DEL(r->asked, a);
		free(a->key);
		free(a);
	}
	transcript_release(&r->whole);
	transcript_release(&r->so_far);
	transcript_release(&r->fresh);
	recording_release(&r->recording);
}

/* Those that a record may set: a file from elsewhere must not name a program to run. */
static bool is_harmless(const char *option)
{
	static const char *const names[] = { "--workers=", "--threads=", "--models=", "--kv-bytes=",
		"--cache-bytes=", "--no-cache", "--framing=", "--drain-ms=", "--max-message=",
		"--queue-calls=", "--queue-bytes=", "--streams=", "--heartbeat-ms=", "--restarts=",
		"--retry-budget=", "--bundles=", "--ack-window=", "--stall-ms=", "--roots-only",
		"-v" };
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		size_t n = strlen(names[i]);
		bool takes_value = names[i][n - 1] == '=';
		if (takes_value ? !strncmp(option, names[i], n) : !strcmp(option, names[i]))
			return true;
	}
	return false;
}

static bool is_given(const char *option, char **given, int n_given)
{
	size_t n = strcspn(option, "=");
	for (int i = 0; i < n_given; i++)
		if (!strncmp(given[i], option, n) && (given[i][n] == '=' || !given[i][n]))
			return true;
	return false;
}

/* The recorded options, then those given now, then what the recorded line had for its workers. */
static char **join_options(const struct recording *x, char **given, int n_given, int *n)
{
	char **argv = xcalloc(x->n_options + (size_t)n_given + 1, sizeof *argv);
	size_t at = 0;
	*n = 0;
	argv[(*n)++] = x->options[at++]; /* the program's name */
	for (; at < x->n_options && strcmp(x->options[at], "--") != 0; at++)
		if (is_harmless(x->options[at]))
			argv[(*n)++] = x->options[at];
		else if (!is_given(x->options[at], given, n_given))
			log_warn("%s is not repeated: give it here if you want it", x->options[at]);
	for (int i = 0; i < n_given; i++)
		argv[(*n)++] = given[i];
	while (at < x->n_options)
		argv[(*n)++] = x->options[at++];
	return argv;
}

static int rerun(struct rerun *r, char **given, int n_given)
{
	struct options opt;
	struct fault f;
	int argc, code = EX_USAGE;
	char **argv = join_options(&r->recording, given, n_given, &argc);
	if (options_parse(&opt, argc, argv, &f) < 0) {
		log_error("%s", f.text);
	} else {
		log_set_level(opt.is_verbose ? LOG_DEBUG : LOG_WARN);
		for (size_t i = 0; i < r->recording.n_frames; i++)
			if (r->recording.frames[i].dir == RECORD_OUT &&
				r->recording.frames[i].is_json)
				transcript_add(&r->whole, r->recording.frames[i].text);
		drive(r, &opt);
		code = tell(r);
	}
	options_release(&opt);
	free(argv);
	return code;
}

int rerun_main(int out, int argc, char **argv)
{
	struct rerun r = { .out = out };
	struct fault f;
	const char *path = NULL;
	int n_given = 0, code = EX_USAGE;
	char **given = xcalloc((size_t)argc, sizeof *given);
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--check"))
			r.is_check = true;
		else if (argv[i][0] != '-' && !path)
			path = argv[i];
		else
			given[n_given++] = argv[i];
	}
	if (n_given && !strcmp(given[0], "--help"))
		code = dprintf(out, "%s", HELP) < 0 ? EX_IOERR : EXIT_SUCCESS;
	else if (!path)
		log_error("a record must be named (see tandem replay --help)");
	else if (recording_open(&r.recording, path, &f) < 0)
		log_error("%s", f.text), code = EX_NOINPUT;
	else
		code = rerun(&r, given, n_given);
	release(&r);
	free(given);
	return code;
}
