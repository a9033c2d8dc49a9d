/* bench_rpc.c - what the wire costs: a host that does nothing but measure.
 *
 *     bench_rpc TANDEM WORKER MODEL_FOLDER [RUNS [PART]]
 *
 * Through the controller and to a worker directly in turns, medians of RUNS (5). PART is lone,
 * full, many or stalled; without it all are run. Processor time of the controller is the
 * scheduler's own count (/proc/PID/schedstat), in nanoseconds. */
#include "protocol/frame.h"
#include "protocol/json_scan.h"
#include "protocol/mem.h"
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define RUNS_MAX    15
#define LONE_CALLS  2000
#define HANDSHAKES  300
#define IN_FLIGHT   64
#define SUSTAINED_S 1.5
#define N_STREAMS   1000
#define MANY_TOKENS 40
#define N_PACED     100
#define PACE_TOKENS 200
#define TWENTY      "It was a cold evening in November when the old man came home to his wife."

struct setup {
	char *tandem, *worker;
	const char *model;
	int runs;
};

struct child {
	pid_t pid;
	int in, out;
	struct frame_reader reader;
	struct buf queued;
	size_t sent;
};

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void die(const char *why)
{
	fprintf(stderr, "bench_rpc: %s\n", why);
	exit(1);
}

/* -- a child and its pipes -------------------------------------------------------------- */

static void child_open(struct child *c, char *const *argv)
{
	int in[2], out[2];
	memset(c, 0, sizeof *c);
	if (pipe(in) < 0 || pipe(out) < 0)
		die("no pipes");
	c->pid = fork();
	if (c->pid == 0) {
		dup2(in[0], 0);
		dup2(out[1], 1);
		dup2(open("/dev/null", O_WRONLY), 2);
		close(in[1]);
		close(out[0]);
		execv(argv[0], argv);
		_exit(127);
	}
	close(in[0]);
	close(out[1]);
	c->in = in[1];
	c->out = out[0];
	fcntl(c->in, F_SETFD, FD_CLOEXEC);
	fcntl(c->out, F_SETFD, FD_CLOEXEC);
	fcntl(c->in, F_SETFL, O_NONBLOCK);
	frame_reader_init(&c->reader, FRAMING_NDJSON, FRAME_IN_MAX);
}

static void child_close(struct child *c)
{
	close(c->in);
	waitpid(c->pid, NULL, 0);
	close(c->out);
	frame_reader_release(&c->reader);
	buf_release(&c->queued);
}

static void flush(struct child *c)
{
	while (c->sent < c->queued.n_bytes) {
		ssize_t n = write(c->in, c->queued.data + c->sent, c->queued.n_bytes - c->sent);
		if (n < 0)
			return;
		c->sent += (size_t)n;
	}
	buf_clear(&c->queued);
	c->sent = 0;
}

static void send_text(struct child *c, const char *text, size_t n)
{
	buf_add(&c->queued, text, n);
	buf_addc(&c->queued, '\n');
}

/* The next message; writes what is queued while it waits. */
static struct json_span hear(struct child *c)
{
	const char *text;
	size_t n;
	while (frame_next(&c->reader, &text, &n) != FRAME_TEXT) {
		struct pollfd fds[] = { { c->out, POLLIN, 0 },
			{ c->sent < c->queued.n_bytes ? c->in : -1, POLLOUT, 0 } };
		flush(c);
		if (c->sent < c->queued.n_bytes && poll(fds, 2, -1) < 0)
			die("poll");
		if (c->queued.n_bytes && !(fds[0].revents & POLLIN))
			continue;
		ssize_t got = read(c->out, frame_space(&c->reader, 262144), 262144);
		if (got <= 0)
			die("the process ended");
		frame_fed(&c->reader, (size_t)got);
	}
	return (struct json_span) { text, n };
}

static bool holds(struct json_span m, const char *part)
{
	return memmem(m.at, m.n, part, strlen(part)) != NULL;
}

static void load(struct child *c, const char *model)
{
	struct buf text = BUF_INIT;
	buf_adds(&text,
		"{\"jsonrpc\":\"2.0\",\"id\":\"load\",\"method\":\"load_model\",\"params\":{"
		"\"model_id\":\"m\",\"local_path\":");
	jout_cstr(&text, model);
	buf_adds(&text, "}}");
	send_text(c, text.data, text.n_bytes);
	buf_release(&text);
	if (!holds(hear(c), "\"result\""))
		die("the model does not load");
}

/* -- lone calls ------------------------------------------------------------------------- */

static const char TOKENIZE[] = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tokenize\",\"params\":{"
			       "\"model_id\":\"m\",\"text\":\"" TWENTY "\"}}";

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static double quantile(double *v, size_t n, double q)
{
	qsort(v, n, sizeof *v, by_size);
	return v[(size_t)(q * (double)(n - 1))];
}

struct latency {
	double p50, p99; /* µs */
};

static struct latency measure_tokenize(struct child *c)
{
	static double times[LONE_CALLS];
	for (int i = -100; i < LONE_CALLS; i++) {
		double began = now();
		send_text(c, TOKENIZE, sizeof TOKENIZE - 1);
		hear(c);
		if (i >= 0)
			times[i] = 1e6 * (now() - began);
	}
	return (struct latency) { quantile(times, LONE_CALLS, 0.5),
		quantile(times, LONE_CALLS, 0.99) };
}

/* One at a time, each ended before the next begins. */
static struct latency measure_handshake(struct child *c)
{
	static double times[HANDSHAKES];
	static unsigned number;
	for (int i = -20; i < HANDSHAKES; i++) {
		struct buf text = BUF_INIT;
		buf_addf(&text,
			"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"generate\",\"params\":{"
			"\"model_id\":\"m\",\"prompt\":\"The old house\",\"max_tokens\":1,"
			"\"stream_id\":\"h%u\"}}",
			number++);
		double began = now();
		send_text(c, text.data, text.n_bytes);
		hear(c);
		if (i >= 0)
			times[i] = 1e6 * (now() - began);
		while (!holds(hear(c), "\"stream.event\""))
			continue;
		buf_release(&text);
	}
	return (struct latency) { quantile(times, HANDSHAKES, 0.5),
		quantile(times, HANDSHAKES, 0.99) };
}

static void compare(const char *name, struct latency (*measure)(struct child *c),
	struct child *through, struct child *direct, int runs)
{
	double v[4][RUNS_MAX];
	for (int i = 0; i < runs; i++) {
		struct latency a = measure(through), b = measure(direct);
		v[0][i] = a.p50;
		v[1][i] = b.p50;
		v[2][i] = a.p99;
		v[3][i] = b.p99;
	}
	for (int k = 0; k < 4; k++)
		v[k][0] = quantile(v[k], (size_t)runs, 0.5);
	printf("| %s | %.0f | %.0f | %.0f | %.0f | %.0f | %.0f |\n", name, v[0][0], v[1][0],
		v[0][0] - v[1][0], v[2][0], v[3][0], v[2][0] - v[3][0]);
	fflush(stdout);
}

static void open_both(const struct setup *s, struct child *through, struct child *direct)
{
	child_open(through, (char *[]) { s->tandem, "--worker", s->worker, NULL });
	child_open(direct, (char *[]) { s->worker, NULL });
	load(through, s->model);
	load(direct, s->model);
}

static void lone(const struct setup *s)
{
	struct child through, direct;
	open_both(s, &through, &direct);
	printf("| lone call, us | p50 via tandem | direct | difference | p99 via tandem | direct | "
	       "difference |\n|---|---|---|---|---|---|---|\n");
	compare("tokenize, 20 tokens", measure_tokenize, &through, &direct, s->runs);
	compare("generate handshake", measure_handshake, &through, &direct, s->runs);
	child_close(&through);
	child_close(&direct);
}

/* -- a full pipe ------------------------------------------------------------------------ */

static double sustained(struct child *c)
{
	size_t n = 0;
	double began = now(), until = began + SUSTAINED_S;
	for (int i = 0; i < IN_FLIGHT; i++)
		send_text(c, TOKENIZE, sizeof TOKENIZE - 1);
	while (now() < until) {
		hear(c);
		n++;
		send_text(c, TOKENIZE, sizeof TOKENIZE - 1);
	}
	double took = now() - began;
	for (int i = 0; i < IN_FLIGHT; i++)
		hear(c);
	return (double)n / took;
}

static void full(const struct setup *s)
{
	struct child through, direct;
	double rate[2][RUNS_MAX];
	open_both(s, &through, &direct);
	for (int i = 0; i < s->runs; i++) {
		rate[0][i] = sustained(&through);
		rate[1][i] = sustained(&direct);
	}
	printf("\n| tokenize calls a second, %d in flight | via tandem | direct |\n|---|---|---|\n"
	       "| 20 tokens each | %.0f | %.0f |\n",
		IN_FLIGHT, quantile(rate[0], (size_t)s->runs, 0.5),
		quantile(rate[1], (size_t)s->runs, 0.5));
	child_close(&through);
	child_close(&direct);
}

/* -- many streams ----------------------------------------------------------------------- */

/* The nth of the numbers in /proc/PID/NAME. */
static double proc_number(pid_t pid, const char *name, int nth)
{
	char path[64], line[256], *at = line;
	unsigned long long value = 0;
	snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, name);
	FILE *f = fopen(path, "r");
	if (!f || !fgets(line, sizeof line, f))
		die("/proc does not tell");
	fclose(f);
	for (int i = 0; i < nth; i++)
		value = strtoull(at, &at, 10);
	return (double)value;
}

static double cpu_of(pid_t pid)
{
	return proc_number(pid, "schedstat", 1) * 1e-9;
}

static double rss_mib(pid_t pid)
{
	return proc_number(pid, "statm", 2) * (double)sysconf(_SC_PAGESIZE) / 1048576;
}

struct streaming {
	double bytes, tokens, chunks, cpu_us, rss;
};

static size_t tokens_in(struct json_span m)
{
	static const char key[] = "\"token_id\":";
	size_t n = 0;
	const char *at = m.at, *end = m.at + m.n;
	while ((at = memmem(at, (size_t)(end - at), key, sizeof key - 1)) != NULL) {
		at += sizeof key - 1;
		n++;
	}
	return n;
}

static struct streaming stream_many(struct child *c, int n, int n_tokens, const char *options)
{
	struct streaming s = { 0 };
	static unsigned number;
	double cpu = cpu_of(c->pid), rss = rss_mib(c->pid);
	for (int i = 0; i < n; i++) {
		struct buf text = BUF_INIT;
		buf_addf(&text,
			"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"generate\",\"params\":{"
			"\"model_id\":\"m\",\"prompt\":\"Once upon a time\",\"max_tokens\":%d,"
			"\"ignore_eos\":true,\"stream_id\":\"b%u\"%s}}",
			n_tokens, number++, options);
		send_text(c, text.data, text.n_bytes);
		buf_release(&text);
	}
	for (int n_ended = 0; n_ended < n;) {
		struct json_span m = hear(c);
		n_ended += holds(m, "\"stream.event\"");
		if (!holds(m, "\"stream.chunk\""))
			continue;
		s.chunks++;
		s.bytes += (double)m.n + 1;
		s.tokens += (double)tokens_in(m);
		double grown =
			s.chunks > 0 && (int)s.chunks % 1000 == 0 ? rss_mib(c->pid) - rss : 0;
		s.rss = grown > s.rss ? grown : s.rss;
	}
	s.cpu_us = 1e6 * (cpu_of(c->pid) - cpu);
	return s;
}

static void many(const struct setup *setup)
{
	char *argv[] = { setup->tandem, "--worker", setup->worker, "--streams=1000", "--",
		"--max-running=1000", NULL };
	static const char *const names[] = { "each token by itself", "interval_tokens 16" };
	static const char *const options[] = { "", ",\"stream_options\":{\"interval_tokens\":16}" };
	struct child c;
	printf("\n| 1000 live streams | bytes per token | controller, us of CPU per token | MiB it "
	       "grew by |\n|---|---|---|---|\n");
	for (int i = 0; i < 2; i++) {
		child_open(&c, argv);
		load(&c, setup->model);
		struct streaming s = stream_many(&c, N_STREAMS, MANY_TOKENS, options[i]);
		printf("| %s | %.0f | %.1f | %.1f |\n", names[i], s.bytes / s.tokens,
			s.cpu_us / s.tokens, s.rss);
		fflush(stdout);
		child_close(&c);
	}
}

/* -- one that nobody reads, among many --------------------------------------------------- */

static void ask_paced(struct child *c, int i, bool is_stalled)
{
	struct buf text = BUF_INIT;
	buf_addf(&text,
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"generate\",\"params\":{\"model_id\":"
		"\"m\","
		"\"prompt\":\"Once upon a time\",\"max_tokens\":%d,\"ignore_eos\":true,"
		"\"stream_id\":\"%d\"%s}}",
		PACE_TOKENS, i, is_stalled ? ",\"stream_options\":{\"ack_window\":4}" : "");
	send_text(c, text.data, text.n_bytes);
	buf_release(&text);
}

static int stream_of(struct json_span m)
{
	static const char key[] = "\"stream_id\":\"";
	const char *at = memmem(m.at, m.n, key, sizeof key - 1);
	return at ? (int)strtol(at + sizeof key - 1, NULL, 10) : -1;
}

struct paced {
	double last[N_PACED];               /* when a token of each came; 0 = none did */
	double gaps[N_PACED * PACE_TOKENS]; /* us between tokens, once every stream has begun */
	size_t n_begun, n_gaps;
};

/* Tokens that come together have no time between them. */
static void note_chunk(struct paced *p, struct json_span m)
{
	const int i = stream_of(m);
	const double at = now();
	if (i <= 0 || i >= N_PACED)
		return;
	for (size_t n = tokens_in(m); n > 0 && p->n_begun == N_PACED - 1; n--)
		p->gaps[p->n_gaps++] = n > 1 ? 0 : 1e6 * (at - p->last[i]);
	p->n_begun += p->last[i] == 0;
	p->last[i] = at;
}

/* Of all streams but the first, which nobody acknowledges if is_stalled. */
static struct latency measure_pace(struct child *c, bool is_stalled)
{
	static const char cancel[] = "{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"cancel\","
				     "\"params\":{\"stream_id\":\"0\"}}";
	static struct paced p;
	memset(&p, 0, sizeof p);
	for (int i = 0; i < N_PACED; i++)
		ask_paced(c, i, is_stalled && i == 0);
	bool is_over = !is_stalled; /* the cancel was answered, or is not needed */
	for (int n_ended = 0; n_ended < N_PACED || !is_over;) {
		struct json_span m = hear(c);
		if (holds(m, "\"stream.chunk\""))
			note_chunk(&p, m);
		is_over = is_over || holds(m, "\"id\":2");
		n_ended += holds(m, "\"stream.event\"");
		if (is_stalled && n_ended == N_PACED - 1 && holds(m, "\"stream.event\""))
			send_text(c, cancel, sizeof cancel - 1);
	}
	return (struct latency) { quantile(p.gaps, p.n_gaps, 0.5),
		quantile(p.gaps, p.n_gaps, 0.99) };
}

static void stalled(const struct setup *s)
{
	char *argv[] = { s->tandem, "--worker", s->worker, "--", "--max-running=100", NULL };
	struct child c;
	double v[5][RUNS_MAX];
	child_open(&c, argv);
	load(&c, s->model);
	measure_pace(&c, false);
	for (int i = 0; i < s->runs; i++) {
		struct latency all = measure_pace(&c, false), others = measure_pace(&c, true);
		v[0][i] = all.p50;
		v[1][i] = others.p50;
		v[2][i] = all.p99;
		v[3][i] = others.p99;
		v[4][i] = others.p99 / all.p99;
	}
	child_close(&c);
	for (int k = 0; k < 5; k++)
		v[k][0] = quantile(v[k], (size_t)s->runs, 0.5);
	printf("\n| between tokens of %d streams, us | p50, all read | one stalled | p99, all read "
	       "| "
	       "one stalled | ratio |\n|---|---|---|---|---|---|\n"
	       "| of the other %d | %.0f | %.0f | %.0f | %.0f | %.2f |\n",
		N_PACED, N_PACED - 1, v[0][0], v[1][0], v[2][0], v[3][0], v[4][0]);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(const struct setup *s);
	} parts[] = { { "lone", lone }, { "full", full }, { "many", many },
		{ "stalled", stalled } };
	if (argc < 4)
		die("usage: bench_rpc TANDEM WORKER MODEL_FOLDER [RUNS [lone|full|many|stalled]]");
	struct setup s = { argv[1], argv[2], argv[3],
		argc > 4 ? (int)strtol(argv[4], NULL, 10) : 5 };
	if (s.runs < 1 || s.runs > RUNS_MAX)
		die("1 to 15 runs");
	sigaction(SIGPIPE, &(struct sigaction) { .sa_handler = SIG_IGN }, NULL);
	for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
		if (argc > 5 && strcmp(argv[5], parts[i].name) != 0)
			continue;
		parts[i].run(&s);
		fflush(stdout);
	}
	return 0;
}
