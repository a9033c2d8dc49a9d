/* test_loop.c - the I/O thread between a host's pipes, which the test fills and empties. */
#include "tests/worker/desk.h"
#include "worker/generate.h"
#include "worker/loop.h"
#include "worker/stream.h"
#include <criterion/criterion.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

TestSuite(loop, .timeout = 600);

static struct worker w;
static int in[2], out[2], signals[2], drained[2]; /* read, write */
static struct buf heard;

static void open_worker(void)
{
	cr_assert(pipe(in) == 0 && pipe(out) == 0 && pipe(signals) == 0 && pipe(drained) == 0);
	w.options = (struct worker_options) { .framing = FRAMING_NDJSON,
		.threads = 1,
		.kv_bytes = (size_t)64 << 20,
		.max_running = 16,
		.max_frame = FRAME_IN_MAX,
		.drain_ms = 60000 };
	cr_assert_eq(worker_start(&w, out[1]), 0);
}

static void say(const char *line)
{
	cr_assert_eq(write(in[1], line, strlen(line)), (ssize_t)strlen(line));
	cr_assert_eq(write(in[1], "\n", 1), 1);
}

/* All that the pipe holds; true while more may come. */
static bool hear_some(void)
{
	char bytes[65536];
	const ssize_t n = read(out[0], bytes, sizeof bytes);
	if (n > 0)
		buf_add(&heard, bytes, (size_t)n);
	return n > 0;
}

/* The only stream has made its last token, and some wait behind a full pipe. */
static bool has_ended_unread(void)
{
	struct stream *s = generate_find(&w, "s");
	if (!s)
		return false;
	pthread_mutex_lock(&s->lock);
	const bool is_so = s->ended && !s->posted && s->n_tokens > 0;
	pthread_mutex_unlock(&s->lock);
	return is_so;
}

/* On the I/O thread, again and again until it is so; then the host reads the pipe empty, and
 * nothing else happens any more. */
static void watch_stream(struct letter *l)
{
	if (!has_ended_unread()) {
		mailbox_send(&w.mail, l);
		return;
	}
	fcntl(out[0], F_SETFL, O_NONBLOCK);
	while (hear_some())
		continue;
	fcntl(out[0], F_SETFL, 0);
	cr_assert_eq(write(drained[1], "", 1), 1);
}

static void *read_on(void *arg)
{
	char none;
	if (read(drained[0], &none, 1) != 1)
		return arg;
	while (!memmem(heard.data, heard.n_bytes, "stream.event", 12) && hear_some())
		continue;
	close(in[1]);
	while (hear_some())
		continue;
	return NULL;
}

Test(loop, the_rest_of_a_stream_is_written_when_its_host_reads_all_at_once)
{
	static struct letter watch = { watch_stream, NULL };
	pthread_t host;
	open_worker();
	say("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"load_model\",\"params\":{\"model_id\":"
	    "\"m\","
	    "\"local_path\":\"" DESK_MODEL "\"}}");
	/* Each token has a kilobyte of alternatives beside it. */
	say("{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"generate\",\"params\":{\"model_id\":\"m\","
	    "\"prompt\":\"It was\",\"max_tokens\":150,\"ignore_eos\":true,\"logprobs\":true,"
	    "\"top_logprobs\":20,\"stream_id\":\"s\"}}");
	mailbox_send(&w.mail, &watch);
	pthread_create(&host, NULL, read_on, NULL);
	const struct loop_io io = { in[0], signals[0], getppid() };
	cr_assert(loop_run(&w, &io), "every call ended");
	worker_stop(&w);
	close(out[1]);
	pthread_join(host, NULL);
	cr_assert(memmem(heard.data, heard.n_bytes, "\"index\":149,", 12));
	cr_assert(memmem(heard.data, heard.n_bytes, "\"finish_reason\":\"length\"", 24));
	buf_release(&heard);
}
