/* test_poison.c - what ended workers once more is refused before it does so again. */
#include "controller/poison.h"
#include "tests/controller/rig.h"
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* -- the table -------------------------------------------------------------------------- */

static struct poison p;

static void start(void)
{
	poison_init(&p);
}

static void end(void)
{
	poison_forget(&p);
}
TestSuite(poison, .init = start, .fini = end, .timeout = 10);

static struct json_span text(const char *json)
{
	return (struct json_span) { json, strlen(json) };
}

static void note(const char *params, uint64_t now)
{
	poison_note(&p, "tokenize", text(params), text("{\"code\":-32009}"), now);
}

static bool knows(const char *method, const char *params, uint64_t now)
{
	struct json_span error;
	if (!poison_find(&p, method, text(params), now, &error))
		return false;
	cr_assert_eq(error.n, 15);
	cr_assert_arr_eq(error.at, "{\"code\":-32009}", 15);
	return true;
}

Test(poison, the_same_is_known_however_it_is_to_be_delivered_and_nothing_else)
{
	cr_assert_not(knows("tokenize", "{\"text\":\"x\"}", 0));
	note("{\"text\":\"x\",\"timeout_ms\":5,\"client\":\"a\"}", 1);
	cr_assert(knows("tokenize", "{\"text\":\"x\"}", 2));
	cr_assert(knows("tokenize",
		"{ \"stream_id\": \"s\", \"text\" : \"x\", \"_meta\":{},\"resume\":\"replay\"}",
		2));
	cr_assert_not(knows("detokenize", "{\"text\":\"x\"}", 2));
	cr_assert_not(knows("tokenize", "{\"text\":\"xx\"}", 2));
	cr_assert_not(knows("tokenize", "{\"text\":\"x\",\"more\":1}", 2));
	cr_assert_not(knows("tokenize", "{}", 2));
}

Test(poison, it_is_known_for_a_time_from_the_last_that_was_heard_of_it)
{
	note("{\"a\":1}", 1000);
	note("{\"b\":1}", 1001);
	note("{\"a\":1}", 1002);
	cr_assert_eq(p.n, 2);
	cr_assert(knows("tokenize", "{\"b\":1}", 1001 + POISON_KEEP_US));
	cr_assert_not(knows("tokenize", "{\"b\":1}", 1002 + POISON_KEEP_US));
	cr_assert(knows("tokenize", "{\"a\":1}", 1002 + POISON_KEEP_US));
	cr_assert_not(knows("tokenize", "{\"a\":1}", 1003 + POISON_KEEP_US));
	cr_assert_eq(p.n + p.n_bytes, 0);
}

Test(poison, the_oldest_make_room_in_number_and_in_bytes)
{
	char params[64];
	for (int i = 0; i <= POISON_KEPT; i++) {
		snprintf(params, sizeof params, "{\"a\":%d}", i);
		note(params, 1);
	}
	cr_assert_eq(p.n, POISON_KEPT);
	cr_assert_not(knows("tokenize", "{\"a\":0}", 1));
	cr_assert(knows("tokenize", "{\"a\":1}", 1));
	struct buf giant = BUF_INIT;
	buf_adds(&giant, "{\"a\":\"");
	for (size_t i = 0; i < POISON_BYTES; i++)
		buf_addc(&giant, 'x');
	buf_adds(&giant, "\"}");
	note(buf_cstr(&giant), 1);
	cr_assert_eq(p.n + p.n_bytes, 0, "what is beyond all room is not kept");
	buf_release(&giant);
}

/* -- in the controller ------------------------------------------------------------------ */

RIG_SUITE(refused);

/* The answer without its id. */
static const char *error_of(const char *id)
{
	return strstr(rig_await(&r, id), "\"error\":");
}

Test(refused, what_was_poison_gets_the_same_error_again_and_no_worker_dies)
{
	rig_open(&r, ARGS("--workers=1", "--", "--die-on=poison"));
	rig_load(&r);
	rig_send(&r, TOKENIZE("1", "poison"));
	char *first = strdup(error_of("\"id\":1,"));
	rig_assert_has(first, "\"poison\":true");
	rig_send(&r, CALL("2", "tokenize",
			     "{\"model_id\":\"m\",\"text\":\"poison\",\"timeout_ms\":60000,"
			     "\"idempotency_key\":\"k\",\"client\":\"other\"}"));
	cr_assert_str_eq(error_of("\"id\":2,"), first);
	rig_send(&r, CALL("3", "batch_tokenize",
			     "{\"requests\":[{\"model_id\":\"m\",\"text\":\"poison\"},"
			     "{\"model_id\":\"m\",\"text\":\"a\"}]}"));
	rig_assert_has(rig_await(&r, "\"id\":3,"), "\"tokens\": [1]");
	rig_assert_has(rig_await(&r, "\"id\":3,"), "\"error_code\":-32009");
	cr_assert_eq(r.c->fleet.workers[0].sup.restarts, RETRY_DEATHS);
	cr_assert_eq(r.c->metrics.counts[METRICS_POISONED], 3);
	cr_assert_eq(registry_count(r.c->registry), 0);
	free(first);
}

Test(refused, a_generate_is_known_by_what_it_asks_for_not_by_its_stream)
{
	rig_open(&r, ARGS("--workers=2", "--", "--die-on=poison"));
	rig_load(&r);
	rig_send(&r, CALL("1", "generate", "{\"model_id\":\"m\",\"prompt\":\"poison\"}"));
	rig_assert_has(rig_await(&r, "\"id\":1,"), "\"poison\":true");
	rig_send(&r, CALL("2", "generate",
			     "{\"model_id\":\"m\",\"prompt\":\"poison\",\"stream_id\":\"s\"}"));
	const char *again = rig_await(&r, "\"id\":2,");
	rig_assert_has(again, "\"poison\":true");
	rig_assert_has(again, "\"tokens_delivered\":0");
	cr_assert_eq(r.c->streams.n, 0);
	cr_assert_eq(r.c->metrics.counts[METRICS_CRASHES], RETRY_DEATHS);
}

Test(refused, a_stream_that_was_open_when_its_workers_broke_is_known_too)
{
	/* The frame after the handshake loses its half, so that no token ever comes. */
	rig_open(&r, ARGS("--workers=1", "--", "--torn-at=5"));
	rig_load(&r);
	rig_send(&r, GENERATE("1", "s", ""));
	rig_assert_has(rig_await(&r, "\"event\":\"error\""), "\"poison\":true");
	rig_send(&r, GENERATE("2", "s", ""));
	rig_assert_has(error_of("\"id\":2,"), "\"poison\":true");
	cr_assert_eq(r.c->metrics.counts[METRICS_CRASHES], RETRY_DEATHS);
}

Test(refused, a_model_that_is_loaded_anew_is_asked_again)
{
	rig_open(&r, ARGS("--workers=1", "--restarts=20", "--", "--die-on=poison"));
	rig_load(&r);
	for (size_t n = 1; n <= 2; n++) {
		rig_send(&r, TOKENIZE("1", "poison"));
		rig_await_n(&r, "\"id\":1,", n);
		cr_assert_eq(r.c->metrics.counts[METRICS_CRASHES], n * RETRY_DEATHS);
		rig_send(&r, CALL("2", "load_model", "{\"model_id\":\"m\"}"));
		rig_await_n(&r, "\"id\":2,", n);
	}
}

/* Either may have been the cause. */
Test(refused, who_died_in_company_is_not_remembered)
{
	rig_open(&r, ARGS("--workers=1", "--", "--die-on=poison", "--mute-on=quiet"));
	rig_load(&r);
	rig_send(&r, TOKENIZE("1", "quiet"));
	rig_send(&r, CALL("2", "generate", "{\"model_id\":\"m\",\"prompt\":\"poison\"}"));
	rig_assert_has(rig_await(&r, "\"id\":2,"), "\"poison\":true");
	cr_assert_eq(r.c->poison.n, 0);
}

Test(refused, who_was_killed_from_outside_is_not_remembered)
{
	rig_open(&r, ARGS("--workers=1", "--restarts=20", "--", "--die-after=4"));
	rig_load(&r);
	/* Its handshake is the last that each says. */
	rig_send(&r, GENERATE("1", "s", ""));
	rig_assert_has(rig_await(&r, "\"event\""), "\"poison\":true");
	cr_assert_eq(r.c->poison.n, 0);
}
