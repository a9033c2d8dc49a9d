/* test_roster.c - workers come and go while the rest serves. */
#include "controller/roster.h"
#include "tests/controller/rig.h"
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

RIG_SUITE(roster);

static struct worker *at(int i)
{
	return &r.c->fleet.workers[i];
}

static int home_of(const char *stream)
{
	return stream_find(&r.c->streams, stream)->worker;
}

static bool first_is_up(struct rig *rig)
{
	return worker_is_ready(&rig->c->fleet.workers[0]);
}

static void ask_of(int id, const char *method, int worker, const char *more)
{
	rig_send(&r,
		"{\"jsonrpc\":\"2.0\",\"id\":%d,\"method\":\"runtime/%s\",\"params\":"
		"{\"worker\":%d%s}}",
		id, method, worker, more);
}

Test(roster, an_added_worker_gets_the_models_that_all_have_and_shares_the_work)
{
	rig_open(&r, ARGS("--workers=1", "--", "--token-ms=20"));
	rig_load(&r);
	rig_send(&r, CALL("2", "load_model", "{\"model_id\":\"one\",\"workers\":1}"));
	rig_await(&r, "\"id\":2,");
	rig_send(&r, CALL("3", "runtime/add_worker", "{}"));
	rig_assert_has(rig_await(&r, "\"id\":3,"), "\"worker\":1,\"state\":\"ready\"");
	cr_assert(model_is_at(models_find(&r.c->models, "m"), 1));
	cr_assert_not(model_is_at(models_find(&r.c->models, "one"), 1), "one was enough");
	rig_send(&r, GENERATE("4", "a", ""));
	rig_send(&r, GENERATE("5", "b", ""));
	rig_await(&r, "\"id\":4,");
	rig_await(&r, "\"id\":5,");
	cr_assert_neq(home_of("a"), home_of("b"));
}

Test(roster, a_drained_worker_finishes_and_takes_nothing_until_that_is_undone)
{
	rig_open(&r, ARGS("--workers=2", "--", "--token-ms=20"));
	rig_load(&r);
	rig_send(&r, GENERATE("1", "s", ",\"max_tokens\":20"));
	rig_await(&r, "stream.chunk");
	int home = home_of("s");
	ask_of(2, "drain_worker", home, "");
	rig_send(&r, GENERATE("3", "t", ",\"max_tokens\":100000"));
	rig_send(&r, GENERATE("4", "u", ",\"max_tokens\":100000"));
	rig_await(&r, "\"id\":3,");
	rig_await(&r, "\"id\":4,");
	cr_assert(home_of("t") != home && home_of("u") != home);
	rig_assert_has(rig_await(&r, "\"id\":2,"), "\"state\":\"drained\"");
	cr_assert_eq(rig_count(&r, "\"stream_id\": \"s\", \"token\""), 20, "it was finished");
	ask_of(5, "drain_worker", home, ",\"undo\":true");
	rig_assert_has(rig_await(&r, "\"id\":5,"), "\"state\":\"ready\"");
	rig_send(&r, GENERATE("6", "v", ""));
	rig_await(&r, "\"id\":6,");
	cr_assert_eq(home_of("v"), home);
}

Test(roster, a_removed_worker_drops_no_stream_and_what_only_it_had_moves)
{
	rig_open(&r, ARGS("--workers=2", "--", "--token-ms=10"));
	rig_send(&r, CALL("1", "load_model", "{\"model_id\":\"m\",\"workers\":1}"));
	rig_await(&r, "\"id\":1,");
	int home = model_is_at(models_find(&r.c->models, "m"), 0) ? 0 : 1;
	pid_t pid = at(home)->pid;
	rig_send(&r, GENERATE("2", "s", ",\"max_tokens\":30"));
	rig_await(&r, "stream.chunk");
	ask_of(3, "remove_worker", home, "");
	rig_assert_has(rig_await(&r, "\"id\":3,"), "\"workers\":1");
	cr_assert_eq(rig_count(&r, "stream.chunk"), 30);
	rig_assert_has(rig_await(&r, "stream.event"), "length");
	cr_assert(kill(pid, 0) < 0, "it is gone");
	rig_send(&r, TOKENIZE("4", "a bb"));
	rig_assert_has(rig_await(&r, "\"id\":4,"), "[1, 2]");
	rig_send(&r, CALL("5", "runtime/state", "{}"));
	const char *state = rig_await(&r, "\"id\":5,");
	rig_assert_has(state, home ? "\"workers\":[{\"id\":0" : "\"workers\":[{\"id\":1");
	rig_assert_has(state, "\"restart_count\":0");
	rig_send(&r, CALL("6", "runtime/add_worker", "{}"));
	char part[32];
	snprintf(part, sizeof part, "\"worker\":%d,", home);
	rig_assert_has(rig_await(&r, "\"id\":6,"), part);
}

Test(roster, removed_by_force_its_streams_go_on_elsewhere)
{
	rig_open(&r, ARGS("--workers=2", "--", "--token-ms=10"));
	rig_load(&r);
	rig_send(&r, GENERATE("1", "s", ",\"max_tokens\":30,\"resume\":\"replay\""));
	rig_await_n(&r, "stream.chunk", 3);
	ask_of(2, "remove_worker", home_of("s"), ",\"force\":true");
	rig_await(&r, "\"id\":2,");
	rig_assert_has(rig_await(&r, "stream.event"), "length");
	cr_assert_eq(rig_count(&r, "stream.chunk"), 30);
}

Test(roster, what_cannot_be_is_refused)
{
	rig_open(&r, ARGS("--workers=1"));
	rig_load(&r);
	ask_of(1, "remove_worker", 0, "");
	rig_assert_has(rig_await(&r, "\"id\":1,"), "-32602");
	ask_of(2, "drain_worker", 7, "");
	rig_assert_has(rig_await(&r, "\"id\":2,"), "there is no worker 7");
	rig_send(&r, CALL("3", "runtime/drain_worker", "{}"));
	rig_assert_has(rig_await(&r, "\"id\":3,"), "worker is required");
	rig_send(&r, GENERATE("4", "s", ",\"max_tokens\":100000"));
	rig_await(&r, "\"id\":4,");
	ask_of(5, "drain_worker", 0, "");
	ask_of(6, "drain_worker", 0, "");
	rig_assert_has(rig_await(&r, "\"id\":6,"), "-32011");
	rig_send(&r, CALL("7", "cancel", "{\"stream_id\":\"s\"}"));
	rig_assert_has(rig_await(&r, "\"id\":5,"), "drained");
}

Test(roster, a_worker_that_cannot_be_added_is_told_and_forgotten)
{
	rig_open(&r, ARGS("--workers=1"));
	rig_load(&r);
	free(r.opt.worker_argv[0]);
	r.opt.worker_argv[0] = strdup("/nonexistent/worker");
	rig_send(&r, CALL("1", "runtime/add_worker", "{}"));
	rig_assert_has(rig_await(&r, "\"id\":1,"), "-32009");
	rig_send(&r, TOKENIZE("2", "a"));
	rig_assert_has(rig_await(&r, "\"id\":2,"), "[1]");
}

static pid_t before[2];

static bool all_are_new(struct rig *rig)
{
	size_t n = 0;
	for (int i = 0; i < rig->c->fleet.n; i++) {
		const struct worker *w = &rig->c->fleet.workers[i];
		if (w->is_vacant)
			continue;
		if (!worker_is_ready(w) || w->pid == before[0] || w->pid == before[1])
			return false;
		n++;
	}
	return n == 2;
}

Test(roster, renewal_replaces_every_worker_and_drops_no_stream)
{
	rig_open(&r, ARGS("--workers=2", "--", "--token-ms=10"));
	rig_load(&r);
	for (int i = 0; i < 2; i++)
		before[i] = at(i)->pid;
	rig_send(&r, GENERATE("1", "s", ",\"max_tokens\":60"));
	rig_send(&r, GENERATE("2", "t", ",\"max_tokens\":60"));
	rig_await_n(&r, "stream.chunk", 2);
	roster_renew(r.c);
	rig_until(&r, all_are_new);
	rig_await_n(&r, "\"finish_reason\": \"length\"", 2);
	cr_assert_eq(rig_count(&r, "stream.chunk"), 120);
	cr_assert_eq(r.c->metrics.counts[METRICS_CRASHES], 0);
	cr_assert_eq(r.c->metrics.counts[METRICS_RETRIES], 0);
	rig_send(&r, TOKENIZE("3", "a"));
	rig_assert_has(rig_await(&r, "\"id\":3,"), "[1]");
}

static bool was_started_with(const struct worker *w, const char *argument)
{
	char path[32], line[4096];
	snprintf(path, sizeof path, "/proc/%d/cmdline", (int)w->pid);
	FILE *f = fopen(path, "re");
	cr_assert_not_null(f);
	size_t n = fread(line, 1, sizeof line, f);
	fclose(f);
	return memmem(line, n, argument, strlen(argument) + 1) != NULL;
}

Test(roster, renewal_leaves_every_worker_on_its_own_machine)
{
	size_t n_here = 0, n_there = 0;
	rig_open(&r, ARGS("--worker-command=tests/conform/fake_worker.py --token-ms=1",
			     "--worker-command=tests/conform/fake_worker.py --token-ms=2"));
	rig_load(&r);
	for (int i = 0; i < 2; i++)
		before[i] = at(i)->pid;
	roster_renew(r.c);
	rig_until(&r, all_are_new);
	for (int i = 0; i < r.c->fleet.n; i++) {
		n_here += !at(i)->is_vacant && was_started_with(at(i), "--token-ms=1");
		n_there += !at(i)->is_vacant && was_started_with(at(i), "--token-ms=2");
	}
	cr_assert(n_here == 1 && n_there == 1, "%zu here, %zu there", n_here, n_there);
}

static bool renewal_is_over(struct rig *rig)
{
	for (int i = 0; i < rig->c->fleet.n; i++)
		if (rig->c->fleet.workers[i].change.replaces >= 0 ||
			rig->c->fleet.workers[i].change.is_due)
			return false;
	return true;
}

static bool renewal_is_over_and_the_other_gone(struct rig *rig)
{
	const struct fleet *f = &rig->c->fleet;
	return renewal_is_over(rig) && f->n == 2 && f->workers[1].is_vacant;
}

static bool has_successor(struct rig *rig)
{
	return rig->c->fleet.n == 3;
}

Test(roster, one_that_is_being_replaced_is_not_removed_besides)
{
	rig_open(&r, ARGS("--workers=2", "--", "--slow-ms=100"));
	rig_load(&r);
	roster_renew(r.c);
	rig_until(&r, has_successor);
	ask_of(1, "remove_worker", 0, ",\"force\":true");
	rig_assert_has(rig_await(&r, "\"id\":1,"), "-32011");
	rig_until(&r, renewal_is_over);
}

static bool first_is_gone(struct rig *rig)
{
	return rig->c->fleet.workers[0].pid != before[0];
}

Test(roster, a_successor_of_one_that_died_sends_nobody_else_away)
{
	rig_open(&r, ARGS("--workers=2", "--", "--slow-ms=100"));
	rig_load(&r);
	ask_of(1, "drain_worker", 0, "");
	rig_assert_has(rig_await(&r, "\"id\":1,"), "drained");
	roster_renew(r.c);
	rig_until(&r, has_successor);
	before[0] = at(0)->pid;
	kill(before[0], SIGKILL);
	rig_until(&r, first_is_gone);
	rig_send(&r, CALL("2", "runtime/add_worker", "{}"));
	const char *answer = rig_await(&r, "\"id\":2,");
	rig_assert_has(answer, "\"state\":\"ready\"");
	const long added = strtol(strstr(answer, "\"worker\":") + strlen("\"worker\":"), NULL, 10);
	rig_until(&r, renewal_is_over);
	cr_assert(worker_is_ready(at((int)added)) && !at((int)added)->change.is_leaving);
}

Test(roster, a_binary_that_does_not_come_up_replaces_nobody)
{
	rig_open(&r, ARGS("--workers=2"));
	rig_load(&r);
	for (int i = 0; i < 2; i++)
		before[i] = at(i)->pid;
	free(r.opt.worker_argv[0]);
	r.opt.worker_argv[0] = strdup("/nonexistent/worker");
	roster_renew(r.c);
	rig_until(&r, renewal_is_over);
	for (int i = 0; i < 2; i++)
		cr_assert(at(i)->pid == before[i] && worker_is_ready(at(i)));
	rig_send(&r, TOKENIZE("1", "a"));
	rig_assert_has(rig_await(&r, "\"id\":1,"), "[1]");
}

Test(roster, a_successor_that_cannot_load_a_model_replaces_nobody)
{
	char mark[] = "/tmp/tandem-once-XXXXXX", option[64];
	close(mkstemp(mark));
	unlink(mark);
	snprintf(option, sizeof option, "--load-once=%s", mark);
	rig_open(&r, ARGS("--workers=1", "--", option));
	rig_load(&r);
	before[0] = at(0)->pid;
	roster_renew(r.c);
	rig_until(&r, renewal_is_over_and_the_other_gone);
	cr_assert(at(0)->pid == before[0] && worker_is_ready(at(0)));
	rig_send(&r, TOKENIZE("1", "a"));
	rig_assert_has(rig_await(&r, "\"id\":1,"), "[1]");
	unlink(mark);
}

Test(roster, the_end_does_not_wait_for_changes_under_way)
{
	rig_open(&r, ARGS("--workers=2", "--drain-ms=200", "--", "--token-ms=10"));
	rig_load(&r);
	rig_send(&r, GENERATE("1", "s", ",\"max_tokens\":100000"));
	rig_await(&r, "stream.chunk");
	ask_of(2, "remove_worker", home_of("s"), "");
	rig_send(&r, CALL("3", "runtime/add_worker", "{}"));
	rig_end_input(&r);
	rig_await_over(&r);
	cr_assert_eq(rig_count(&r, "\"id\":2,"), 1);
	cr_assert_eq(rig_count(&r, "\"id\":3,"), 1);
	cr_assert_eq(r.c->exit_code, 0);
}

Test(roster, a_worker_that_does_not_end_when_it_is_told_to_is_killed)
{
	rig_open(&r, ARGS("--workers=2", "--heartbeat-ms=1000", "--", "--deaf"));
	rig_until(&r, first_is_up);
	ask_of(1, "remove_worker", 0, "");
	rig_assert_has(rig_await(&r, "\"id\":1,"), "\"result\"");
	cr_assert(at(0)->is_vacant);
}
