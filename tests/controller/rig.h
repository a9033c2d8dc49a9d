/* rig.h - a controller in the test's own process, with scripted workers
 * (tests/conform/fake_worker.py) and the test as its host. Every wait is woken by what arrives; the
 * suite's timeout is what ends one that never is. */
#ifndef TESTS_CONTROLLER_RIG_H
#define TESTS_CONTROLLER_RIG_H
#include "controller/controller.h"

struct rig {
	struct options opt;
	struct event_base *base;
	struct controller *c;
	int host, theirs; /* the two ends of a socket pair */
	struct frame_reader reader;
	char **messages; /* everything heard, in order */
	size_t n_messages;
	bool is_over;
	bool is_deaf; /* the host does not read */
};

/* args: the controller's options and, after "--", the fake workers'; ended by NULL. */
void rig_open(struct rig *r, const char *const *args);
void rig_close(struct rig *r);

/* printf-like; one line. */
void rig_send(struct rig *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void rig_end_input(struct rig *r);

/* Run until a message holds `part`; returns the first that does. */
const char *rig_await(struct rig *r, const char *part);
/* Run until n messages hold `part`. */
void rig_await_n(struct rig *r, const char *part, size_t n);
/* Run until the condition holds. */
void rig_until(struct rig *r, bool (*is_so)(struct rig *r));
/* Run until the controller is over. */
void rig_await_over(struct rig *r);

size_t rig_count(const struct rig *r, const char *part);   /* messages heard with it */
ptrdiff_t rig_find(const struct rig *r, const char *part); /* index of the first, or -1 */

bool rig_all_ready(struct rig *r); /* every worker serves, for rig_until() */

/* Send load_model of "m" and await its answer (id "load"). */
void rig_load(struct rig *r);
/* The message holds the part, or the test fails and shows it. */
void rig_assert_has(const char *text, const char *part);

/* A suite whose tests have a rig `r`, which is closed behind each. */
#define RIG_SUITE(suite)               \
	static struct rig r;           \
	static void close_rig(void)    \
	{                              \
		if (r.c)               \
			rig_close(&r); \
	}                              \
	TestSuite(suite, .fini = close_rig, .timeout = 60)

/* Requests as text. */
#define ARGS(...) ((const char *const[]) { __VA_ARGS__, NULL })
#define CALL(id, method, params) \
	"{\"jsonrpc\":\"2.0\",\"id\":" id ",\"method\":\"" method "\",\"params\":" params "}"
#define NOTE(method, params) "{\"jsonrpc\":\"2.0\",\"method\":\"" method "\",\"params\":" params "}"
#define GENERATE(id, stream, more) \
	CALL(id, "generate",       \
		"{\"model_id\":\"m\",\"prompt\":\"p\",\"stream_id\":\"" stream "\"" more "}")
#define TOKENIZE(id, text) CALL(id, "tokenize", "{\"model_id\":\"m\",\"text\":\"" text "\"}")
#endif
