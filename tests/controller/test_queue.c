/* test_queue.c - bounds, turns, ageing, the time to come back; and the batch policy. */
#include "controller/batch.h"
#include "controller/queue.h"
#include "protocol/err.h"
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define SECOND  UINT64_C(1000000)
#define N_ITEMS 200

static struct queue q;
static struct queue_item items[N_ITEMS];
static size_t n_items;
static int method;

static void start(void)
{
	queue_init(&q, 100, 10000);
}
TestSuite(queue, .init = start);

static struct queue_item *push(const char *client, enum queue_priority p, uint64_t now)
{
	struct queue_place place = { .method_name = "tokenize",
		.method = &method,
		.model = "m",
		.client = client,
		.priority = p,
		.gathers = true };
	struct queue_item *it = &items[n_items++];
	it->n_bytes = 10;
	return queue_push(&q, &place, it, now) == 0 ? it : NULL;
}

static struct queue_item *pop(uint64_t now)
{
	struct queue_item *out[1];
	struct batch_caps one = { 1, 1000 };
	return queue_pop(&q, q.buckets, out, &one, now) ? out[0] : NULL;
}

Test(queue, one_clients_calls_keep_their_order)
{
	struct queue_item *a = push("x", QUEUE_DEFAULT, 0), *b = push("x", QUEUE_DEFAULT, 0);
	cr_assert_eq(pop(0), a);
	cr_assert_eq(pop(0), b);
	cr_assert_null(pop(0));
}

Test(queue, clients_take_turns_however_much_one_sends)
{
	for (int i = 0; i < 50; i++)
		push("greedy", QUEUE_DEFAULT, 0);
	struct queue_item *modest = push("modest", QUEUE_DEFAULT, 0);
	pop(0);
	cr_assert_eq(pop(0), modest);
}

Test(queue, turns_are_counted_in_tokens_not_in_calls)
{
	size_t n_small = 0;
	for (int i = 0; i < 5; i++)
		push("large", QUEUE_DEFAULT, 0)->n_tokens = 100;
	for (int i = 0; i < 60; i++)
		push("small", QUEUE_DEFAULT, 0)->n_tokens = 10;
	for (int n_large = 0; n_large < 5;) {
		bool is_large = pop(0)->n_tokens == 100;
		n_large += is_large;
		n_small += !is_large;
		const size_t tokens = 10 * n_small, others = 100 * (size_t)n_large;
		cr_assert(tokens <= others + 100 && others <= tokens + 100, "%zu and %zu", tokens,
			others);
	}
	cr_assert_geq(n_small, 40);
}

Test(queue, who_comes_new_begins_with_what_the_least_served_had)
{
	for (int i = 0; i < 10; i++)
		push("old", QUEUE_DEFAULT, 0)->n_tokens = 50;
	for (int i = 0; i < 5; i++)
		pop(0);
	for (int i = 0; i < 10; i++)
		push("new", QUEUE_DEFAULT, 0)->n_tokens = 50;
	size_t n_old = 0;
	for (int i = 0; i < 10; i++)
		n_old += pop(0) < &items[10];
	cr_assert_eq(n_old, 5);
}

Test(queue, urgent_goes_first)
{
	push("x", QUEUE_BACKGROUND, 0);
	struct queue_item *d = push("x", QUEUE_DEFAULT, 0), *u = push("x", QUEUE_URGENT, 1);
	cr_assert_eq(pop(2), u);
	cr_assert_eq(pop(2), d);
}

Test(queue, background_advances_under_a_constant_urgent_load)
{
	struct queue_item *patient = push("b", QUEUE_BACKGROUND, 0);
	uint64_t now = 0;
	for (int i = 0; i < 90; i++, now += SECOND / 10) {
		push("u", QUEUE_URGENT, now);
		if (pop(now) == patient)
			break;
	}
	cr_assert_null(patient->lane, "still waiting after %d s", (int)(now / SECOND));
	cr_assert_leq(now, 2 * QUEUE_AGE_US + SECOND);
}

Test(queue, is_bounded_by_calls)
{
	for (int i = 0; i < 100; i++)
		cr_assert_not_null(push("x", QUEUE_DEFAULT, 0));
	cr_assert_null(push("x", QUEUE_DEFAULT, 0));
	cr_assert_eq(q.n_calls, 100);
	pop(0);
	cr_assert_not_null(push("x", QUEUE_DEFAULT, 0));
}

Test(queue, is_bounded_by_bytes_and_huge_sizes_do_not_wrap)
{
	struct queue_place place = { .method_name = "t", .model = "m", .client = "" };
	struct queue_item big = { .n_bytes = 9990 }, more = { .n_bytes = 11 },
			  wrap = { .n_bytes = SIZE_MAX };
	cr_assert_eq(queue_push(&q, &place, &big, 0), 0);
	cr_assert_eq(queue_push(&q, &place, &more, 0), ERR_OVERLOADED);
	cr_assert_eq(queue_push(&q, &place, &wrap, 0), ERR_OVERLOADED);
	more.n_bytes = 10;
	cr_assert_eq(queue_push(&q, &place, &more, 0), 0);
}

Test(queue, a_removed_call_is_gone_and_the_rest_stays)
{
	struct queue_item *a = push("x", QUEUE_DEFAULT, 0), *b = push("y", QUEUE_URGENT, 0);
	queue_remove(&q, b);
	cr_assert_eq(pop(0), a);
	queue_settle(&q, q.buckets);
	cr_assert_null(q.buckets, "an empty bucket is freed");
	queue_release(&q);
}

Test(queue, a_frame_takes_what_its_caps_allow_but_at_least_one)
{
	struct queue_item *out[64];
	for (int i = 0; i < 10; i++)
		push("x", QUEUE_DEFAULT, 0);
	struct batch_caps bytes = { 64, 35 }, tiny = { 64, 1 }, count = { 2, 1000 };
	cr_assert_eq(queue_pop(&q, q.buckets, out, &bytes, 0), 3);
	cr_assert_eq(queue_pop(&q, q.buckets, out, &tiny, 0), 1);
	cr_assert_eq(queue_pop(&q, q.buckets, out, &count, 0), 2);
	cr_assert_eq(q.n_calls, 4);
	cr_assert_eq(q.n_bytes, 40);
}

Test(queue, calls_of_different_models_methods_and_forms_never_share_a_bucket)
{
	struct queue_place p = { .method_name = "tokenize", .model = "a", .client = "" };
	const char *models[] = { "a", "b", "a", "a" };
	const char *methods[] = { "tokenize", "tokenize", "embed", "tokenize" };
	for (int i = 0; i < 4; i++) {
		p.model = models[i];
		p.method_name = methods[i];
		p.gathers = i == 3;
		queue_push(&q, &p, &items[i], 0);
	}
	cr_assert_eq(HASH_COUNT(q.buckets), 4);
	cr_assert_eq(queue_find_model(&q, "b"), &items[1]);
	cr_assert_null(queue_find_model(&q, "c"));
}

Test(queue, the_time_to_come_back_follows_depth_and_rate)
{
	cr_assert_eq(queue_retry_after_ms(&q, 0), 30000, "nothing ever left");
	for (int i = 0; i < 100; i++)
		push("x", QUEUE_DEFAULT, 0);
	uint64_t now = 0;
	for (int i = 0; i < 50; i++)
		pop(now += SECOND / 50);
	unsigned deep = queue_retry_after_ms(&q, now);
	cr_assert(deep > 500 && deep < 10000, "50 waiting at some 10 to 50 a second: %u", deep);
	for (int i = 0; i < 49; i++)
		pop(now += SECOND / 50);
	cr_assert_lt(queue_retry_after_ms(&q, now), deep);
}

Test(queue, refused_callers_are_told_to_come_back_one_after_the_other)
{
	for (int i = 0; i < 100; i++)
		push("x", QUEUE_DEFAULT, 0);
	for (uint64_t i = 1; i <= 50; i++)
		pop(i * SECOND / 100);
	unsigned first = queue_retry_after_ms(&q, SECOND / 2), last = first;
	for (int i = 0; i < 100; i++)
		last = queue_retry_after_ms(&q, SECOND / 2);
	cr_assert(first > 490 && first < 510, "50 waiting at 100 a second: %u", first);
	cr_assert(last > first + 990 && last < first + 1010, "and 100 before it: %u", last);
	for (uint64_t i = 51; i <= 99; i++)
		pop(i * SECOND / 100);
	cr_assert_lt(queue_retry_after_ms(&q, SECOND), last - 900, "they have come by then");
	pop(SECOND);
	push("x", QUEUE_DEFAULT, SECOND);
	cr_assert_eq(queue_retry_after_ms(&q, SECOND), 50, "nobody was there to wait for");
}

Test(queue, time_in_which_nobody_waits_makes_nobody_wait_longer)
{
	for (uint64_t i = 0; i < 50; i++) {
		push("x", QUEUE_DEFAULT, i * SECOND);
		pop(i * SECOND + 1000);
	}
	for (uint64_t i = 0; i < 100; i++)
		push("x", QUEUE_DEFAULT, 100 * SECOND);
	unsigned ms = queue_retry_after_ms(&q, 100 * SECOND);
	cr_assert(ms > 90 && ms < 110, "a millisecond each: %u", ms);
}

Test(queue, a_call_larger_than_the_bound_goes_where_nobody_waits)
{
	q.max_bytes = 5;
	cr_assert_not_null(push("x", QUEUE_DEFAULT, 0));
	cr_assert_null(push("x", QUEUE_DEFAULT, 0));
	pop(0);
	cr_assert_not_null(push("x", QUEUE_DEFAULT, 0));
}

/* -- batch ------------------------------------------------------------------------------ */

static size_t allowed(struct batch_view v)
{
	return batch_allow(&v).n_calls;
}

Test(batch, an_idle_worker_gets_a_lone_call_at_once)
{
	cr_assert_eq(
		allowed((struct batch_view) { .gathers = true, .n_waiting = 1, .room = 64 }), 1);
}

Test(batch, calls_gather_while_a_frame_is_in_flight_and_leave_together)
{
	struct batch_view v = { .gathers = true, .n_waiting = 30, .n_in_flight = 1, .room = 64 };
	cr_assert_eq(allowed(v), 0);
	v.n_in_flight = 0;
	cr_assert_eq(allowed(v), 30);
	v.n_waiting = 1000;
	cr_assert_eq(allowed(v), BATCH_CALLS);
}

Test(batch, a_full_frame_waits_behind_one_in_flight_at_the_worker_not_here)
{
	struct batch_view v = {
		.gathers = true, .n_waiting = BATCH_CALLS, .n_in_flight = 1, .room = 64
	};
	cr_assert_eq(allowed(v), BATCH_CALLS);
	v.n_waiting = BATCH_CALLS - 1;
	cr_assert_eq(allowed(v), 0, "more may gather");
	v.n_waiting = 1000;
	v.n_in_flight = 2;
	cr_assert_eq(allowed(v), 0);
}

Test(batch, a_frame_that_takes_long_is_joined_by_a_second_but_not_by_many)
{
	struct batch_view v = { .gathers = true,
		.n_waiting = 5,
		.n_in_flight = 1,
		.room = 64,
		.oldest_wait_us = BATCH_AGE_US };
	cr_assert_eq(allowed(v), 5);
	v.n_in_flight = BATCH_FRAMES;
	cr_assert_eq(allowed(v), 0);
}

Test(batch, room_at_the_worker_bounds_a_frame)
{
	struct batch_view v = { .gathers = true, .n_waiting = 30, .room = 7 };
	cr_assert_eq(allowed(v), 7);
	v.room = 0;
	cr_assert_eq(allowed(v), 0);
}

Test(batch, what_has_no_batch_form_goes_one_by_one_side_by_side)
{
	struct batch_view v = { .n_waiting = 9, .n_in_flight = 3, .room = 64 };
	cr_assert_eq(allowed(v), 1);
	v.n_in_flight = BATCH_SOLO;
	cr_assert_eq(allowed(v), 0);
}
