#include "protocol/err.h"
#include "worker/outbox.h"
#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct outbox o;
static int ends[2]; /* read, write */

static void open_pipe(void)
{
	const struct sigaction ignore = { .sa_handler = SIG_IGN };
	sigaction(SIGPIPE, &ignore, NULL);
	cr_assert_eq(pipe(ends), 0);
	outbox_init(&o, ends[1]);
	o.framing = FRAMING_NDJSON;
}
TestSuite(outbox, .init = open_pipe, .timeout = 60);

Test(outbox, writes_frames_in_order_and_is_empty_then)
{
	char got[16];
	outbox_put(&o, "{1}", 3);
	outbox_put(&o, "{2}", 3);
	cr_assert_eq(outbox_flush(&o), 0);
	cr_assert_eq(outbox_unsent(&o), 0);
	cr_assert_eq(read(ends[0], got, sizeof got), 8);
	cr_assert_arr_eq(got, "{1}\n{2}\n", 8);
	outbox_release(&o);
}

Test(outbox, never_blocks_on_a_pipe_that_nobody_reads_and_loses_nothing)
{
	const size_t n_frames = 3000;
	size_t n_got = 0;
	char frame[101], got[65536];
	memset(frame, 'x', 100);
	for (size_t i = 0; i < n_frames; i++) {
		frame[0] = (char)('a' + i % 26);
		outbox_put(&o, frame, 100);
		outbox_flush(&o);
	}
	cr_assert_eq(outbox_flush(&o), ERR_AGAIN);
	while (n_got < n_frames * 101) {
		const ssize_t n = read(ends[0], got, sizeof got);
		cr_assert_gt(n, 0);
		for (ssize_t i = 0; i < n; i++) {
			const size_t at = n_got + (size_t)i, col = at % 101;
			const char want = col == 0     ? (char)('a' + at / 101 % 26)
					  : col == 100 ? '\n'
						       : 'x';
			cr_assert_eq(got[i], want, "byte %zu", at);
		}
		n_got += (size_t)n;
		outbox_flush(&o);
	}
	cr_assert_eq(outbox_unsent(&o), 0);
	outbox_release(&o);
}

Test(outbox, drops_everything_once_nobody_reads)
{
	close(ends[0]);
	outbox_put(&o, "{}", 2);
	cr_assert_eq(outbox_flush(&o), ERR_IO);
	cr_assert(o.broken);
	outbox_put(&o, "{}", 2);
	cr_assert_eq(outbox_unsent(&o), 0);
	outbox_release(&o);
}

Test(outbox, gives_a_shared_pipe_its_blocking_mode_back)
{
	cr_assert(fcntl(ends[1], F_GETFL) & O_NONBLOCK);
	outbox_release(&o);
	cr_assert_not(fcntl(ends[1], F_GETFL) & O_NONBLOCK);
}

Test(outbox, leaves_a_file_blocking_and_writes_it_in_pieces)
{
	char path[] = "/tmp/outbox-XXXXXX", frame[10000];
	struct outbox file;
	const int fd = mkstemp(path);
	unlink(path);
	outbox_init(&file, fd);
	cr_assert_not(fcntl(fd, F_GETFL) & O_NONBLOCK);
	memset(frame, 'y', sizeof frame);
	outbox_put(&file, frame, sizeof frame);
	int turns = 0;
	while (outbox_flush(&file) == ERR_AGAIN)
		turns++;
	cr_assert_gt(turns, 0);
	cr_assert_eq(lseek(fd, 0, SEEK_END), (off_t)sizeof frame + 1);
	outbox_release(&file);
	outbox_release(&o);
	close(fd);
}

Test(outbox, answers_with_headers_when_headers_were_heard)
{
	char got[64];
	o.framing = FRAMING_LSP;
	outbox_put(&o, "{}", 2);
	outbox_flush(&o);
	const ssize_t n = read(ends[0], got, sizeof got);
	cr_assert_eq(n, 23);
	cr_assert_arr_eq(got, "Content-Length: 2\r\n\r\n{}", 23);
	outbox_release(&o);
}
