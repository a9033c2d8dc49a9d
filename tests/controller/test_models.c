/* test_models.c - loads and unloads that fail, are called off, or come in each other's way. */
#include "tests/controller/rig.h"
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

RIG_SUITE(models);

#define LOAD(id, model)   CALL(id, "load_model", "{\"model_id\":\"" model "\"}")
#define UNLOAD(id, model) CALL(id, "unload_model", "{\"model_id\":\"" model "\"}")
#define FORCE(id, model)  CALL(id, "unload_model", "{\"model_id\":\"" model "\",\"force\":true}")

static bool is_up(struct rig *rig)
{
	return worker_is_ready(&rig->c->fleet.workers[0]);
}

Test(models, a_call_that_waited_for_a_load_that_fails_hears_that_there_is_no_model)
{
	rig_open(&r, ARGS("--workers=1"));
	rig_send(&r, LOAD("1", "unloadable"));
	rig_send(&r, CALL("2", "tokenize", "{\"model_id\":\"unloadable\",\"text\":\"x\"}"));
	rig_assert_has(rig_await(&r, "\"id\":1,"), "-32001");
	const char *text = rig_await(&r, "\"id\":2,");
	rig_assert_has(text, "-32005");
	rig_assert_has(text, "\"model_id\":\"unloadable\"");
	cr_assert_null(models_find(&r.c->models, "unloadable"));
}

Test(models, what_nobody_loaded_cannot_be_unloaded)
{
	rig_open(&r, ARGS("--workers=1"));
	rig_send(&r, UNLOAD("1", "absent"));
	rig_assert_has(rig_await(&r, "\"id\":1,"), "-32005");
	rig_send(&r, CALL("2", "unload_model", "{\"model_id\":5}"));
	rig_assert_has(rig_await(&r, "\"id\":2,"), "-32602");
}

static void on_unloaded(void *arg, const struct peer_reply *answer)
{
	(void)arg;
	cr_assert_eq(answer->outcome, PEER_RESULT);
}

Test(models, a_worker_that_has_the_model_no_more_has_unloaded_it)
{
	static const char params[] = "{\"model_id\":\"m\"}";
	rig_open(&r, ARGS("--workers=1"));
	rig_load(&r);
	peer_call(r.c->fleet.workers[0].peer, "unload_model",
		(struct json_span) { params, sizeof params - 1 }, on_unloaded, NULL);
	rig_send(&r, UNLOAD("1", "m"));
	rig_assert_has(rig_await(&r, "\"id\":1,"), "\"success\":true");
	cr_assert_null(models_find(&r.c->models, "m"));
}

Test(models, a_load_behind_another_is_called_off_at_once)
{
	rig_open(&r, ARGS("--workers=1"));
	rig_until(&r, is_up);
	kill(r.c->fleet.workers[0].pid, SIGSTOP);
	rig_send(&r, LOAD("1", "m"));
	rig_send(&r, LOAD("2", "m"));
	rig_send(&r, NOTE("$/cancelRequest", "{\"id\":2}"));
	rig_assert_has(rig_await(&r, "\"id\":2,"), "-32800");
	kill(r.c->fleet.workers[0].pid, SIGCONT);
	rig_assert_has(rig_await(&r, "\"id\":1,"), "\"ready\"");
	rig_send(&r, TOKENIZE("3", "x"));
	rig_assert_has(rig_await(&r, "\"id\":3,"), "\"tokens\"");
}

Test(models, a_load_that_runs_is_called_off_at_its_worker)
{
	char log[] = "/tmp/tandem-log-XXXXXX", option[64], line[4096];
	int fd = mkstemp(log);
	snprintf(option, sizeof option, "--log=%s", log);
	rig_open(&r, ARGS("--workers=1", "--", option));
	rig_until(&r, is_up);
	kill(r.c->fleet.workers[0].pid, SIGSTOP);
	rig_send(&r, LOAD("1", "m"));
	rig_send(&r, NOTE("$/cancelRequest", "{\"id\":1}"));
	rig_send(&r, CALL("2", "ping", "{}"));
	rig_await(&r, "\"id\":2,");
	kill(r.c->fleet.workers[0].pid, SIGCONT);
	rig_await(&r, "\"id\":1,"); /* this worker had loaded it already, and says so */
	rig_send(&r, TOKENIZE("3", "x"));
	rig_assert_has(rig_await(&r, "\"id\":3,"), "\"tokens\"");
	cr_assert_eq(rig_count(&r, "\"id\":1,"), 1);
	FILE *f = fdopen(fd, "r");
	bool is_told = false;
	while (fgets(line, sizeof line, f))
		is_told = is_told || strstr(line, "$/cancelRequest");
	cr_assert(is_told);
	fclose(f);
	unlink(log);
}

Test(models, a_forced_unload_calls_off_what_waits)
{
	rig_open(&r, ARGS("--workers=1", "--", "--mute-first"));
	rig_load(&r);
	rig_send(&r, CALL("1", "tokenize",
			     "{\"model_id\":\"m\",\"text\":\"never\",\"timeout_ms\":60000}"));
	rig_send(&r, CALL("2", "ping", "{}"));
	rig_await(&r, "\"id\":2,");
	rig_send(&r, TOKENIZE("3", "x"));
	rig_send(&r, FORCE("4", "m"));
	rig_assert_has(rig_await(&r, "\"id\":3,"), "-32800");
	rig_assert_has(rig_await(&r, "\"id\":4,"), "\"success\"");
	rig_send(&r, TOKENIZE("5", "x"));
	rig_assert_has(rig_await(&r, "\"id\":5,"), "-32005");
}

Test(models, a_model_that_does_not_come_back_is_failed_and_its_callers_hear_so)
{
	char mark[] = "/tmp/tandem-once-XXXXXX", option[64];
	int fd = mkstemp(mark);
	close(fd);
	unlink(mark);
	snprintf(option, sizeof option, "--load-once=%s", mark);
	rig_open(&r, ARGS("--workers=1", "--", option));
	rig_load(&r);
	kill(r.c->fleet.workers[0].pid, SIGKILL);
	rig_send(&r, TOKENIZE("1", "x"));
	rig_assert_has(rig_await(&r, "\"id\":1,"), "\"error\"");
	rig_until(&r, is_up);
	cr_assert(models_find(&r.c->models, "m")->is_failed);
	rig_send(&r, UNLOAD("2", "m"));
	rig_assert_has(rig_await(&r, "\"id\":2,"), "\"success\"");
	cr_assert_null(models_find(&r.c->models, "m"));
	unlink(mark);
}
