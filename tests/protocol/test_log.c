#include "protocol/log.h"
#include <criterion/criterion.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int reader;
static char seen[1 << 17];

/* stderr becomes a pipe that nobody empties but read_all(). */
static void capture(const char *trace, enum log_level level)
{
	int fds[2];
	cr_assert_eq(pipe(fds), 0);
	cr_assert_neq(dup2(fds[1], STDERR_FILENO), -1);
	close(fds[1]);
	reader = fds[0];
	fcntl(reader, F_SETFL, O_NONBLOCK);
	if (trace)
		setenv("TRACE", trace, 1);
	else
		unsetenv("TRACE");
	log_init("test", level);
}

static const char *read_all(void)
{
	size_t n = 0;
	ssize_t got;
	while ((got = read(reader, seen + n, sizeof seen - 1 - n)) > 0)
		n += (size_t)got;
	seen[n] = '\0';
	return seen;
}

Test(log, levels_below_the_chosen_one_are_silent, .timeout = 10)
{
	capture(NULL, LOG_WARN);
	log_info("not this");
	log_debug("nor this");
	log_warn("disk %d", 7);
	log_error("gone");
	cr_assert_str_eq(read_all(), "test: warning: disk 7\ntest: error: gone\n");
}

Test(log, a_message_is_one_line_whatever_it_carries, .timeout = 10)
{
	capture(NULL, LOG_INFO);
	log_info("a\nb\x1b[31m%s", "\r\n");
	cr_assert_str_eq(read_all(), "test: a b [31m  \n");
	char big[10000];
	memset(big, 'x', sizeof big - 1);
	big[sizeof big - 1] = '\0';
	log_info("%s", big);
	read_all();
	cr_assert_eq(strlen(seen), 4095);
	cr_assert_eq(seen[4094], '\n');
}

Test(log, trace_names_parts, .timeout = 10)
{
	capture("relay,queue", LOG_INFO);
	cr_assert(log_traces("relay"));
	cr_assert(log_traces("queue"));
	cr_assert_not(log_traces("que"));
	cr_assert_not(log_traces("elay"));
	cr_assert_not(log_traces(""));
	log_trace("queue", "id %d", 3);
	log_trace("peer", "not traced");
	cr_assert_str_eq(read_all(), "test: [queue] id 3\n");
}

Test(log, trace_all_names_every_part, .timeout = 10)
{
	capture("all", LOG_INFO);
	cr_assert(log_traces("anything"));
}

Test(log, what_trace_names_that_is_no_part_is_warned_of, .timeout = 10)
{
	capture(",que,queue,,Queue", LOG_INFO);
	const char *second = strchr(read_all(), '\n') + 1;
	cr_assert(strstr(seen, "test: warning: TRACE names que, which is no part; there are all,"));
	cr_assert(strstr(second, "test: warning: TRACE names Queue, which is no part"));
	cr_assert_eq(strchr(second, '\n')[1], '\0', "these two alone");
	cr_assert(log_traces("queue"), "the others are traced all the same");
}

Test(log, without_trace_no_part_is_traced, .timeout = 10)
{
	capture(NULL, LOG_INFO);
	cr_assert_not(log_traces("anything"));
}

Test(log, a_full_stderr_neither_blocks_nor_is_forgotten, .timeout = 10)
{
	capture(NULL, LOG_INFO);
	for (int i = 0; i < 5000; i++)
		log_info("%0100d", i);
	size_t n_lines = 0;
	for (const char *p = read_all(); (p = strchr(p, '\n')) != NULL; p++)
		n_lines++;
	cr_assert_lt(n_lines, 5000);
	cr_assert_eq(seen[strlen(seen) - 1], '\n', "no line is torn");
	log_info("again");
	char expected[128];
	snprintf(expected, sizeof expected,
		"test: %zu log lines were dropped: stderr was full\ntest: again\n", 5000 - n_lines);
	cr_assert_str_eq(read_all(), expected);
}

static void *log_much(void *arg)
{
	for (int i = 0; i < 100; i++)
		log_info("%s-%s", (const char *)arg, (const char *)arg);
	return NULL;
}

Test(log, lines_of_threads_do_not_mix, .timeout = 10)
{
	static char *const names[] = { "aaaa", "bbbb", "cccc" };
	pthread_t threads[3];
	capture(NULL, LOG_INFO);
	for (int i = 0; i < 3; i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, log_much, names[i]), 0);
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	int n_lines = 0;
	read_all();
	for (char *rest = seen, *line; (line = strsep(&rest, "\n")) && *line; n_lines++)
		cr_assert(!strcmp(line, "test: aaaa-aaaa") || !strcmp(line, "test: bbbb-bbbb") ||
				  !strcmp(line, "test: cccc-cccc"),
			"%s", line);
	cr_assert_eq(n_lines, 300);
}

Test(log, a_closed_stderr_does_not_end_the_process, .timeout = 10)
{
	capture(NULL, LOG_INFO);
	close(reader);
	for (int i = 0; i < 100; i++)
		log_info("to nobody");
	close(STDERR_FILENO);
	log_info("to nothing");
}

Test(log, fatal_says_why_and_aborts, .timeout = 10, .signal = SIGABRT)
{
	log_fatal("impossible: %d", 1);
}
