#include "worker/engine/sampling.h"
#include "worker/engine/stops.h"
#include <criterion/criterion.h>
#include <string.h>

static struct buf out;

static void setup(void)
{
	out = (struct buf)BUF_INIT;
}
static void teardown(void)
{
	buf_release(&out);
}
TestSuite(stops, .init = setup, .fini = teardown);

static struct stops *make(bool include, char *a, char *b)
{
	char *strings[] = { a, b };
	return stops_new(strings, b ? 2 : 1, include);
}

static bool feed(struct stops *s, const char *text)
{
	return stops_push(s, text, strlen(text), &out);
}

#define shown(want) cr_assert_str_eq(buf_cstr(&out), want)

Test(stops, ends_the_text_before_the_stop)
{
	struct stops *s = make(false, "END", NULL);
	cr_assert(feed(s, "one END two"));
	shown("one ");
	stops_flush(s, &out);
	shown("one ");
	stops_free(s);
}

Test(stops, finds_a_stop_that_spans_pieces)
{
	struct stops *s = make(false, "\n\nUser:", NULL);
	cr_assert_not(feed(s, "fine.\n"));
	shown("fine.");
	cr_assert_not(feed(s, "\nUs"));
	shown("fine.");
	cr_assert(feed(s, "er: hi"));
	shown("fine.");
	stops_free(s);
}

Test(stops, holds_back_only_what_may_begin_a_stop)
{
	struct stops *s = make(false, "aab", NULL);
	cr_assert_not(feed(s, "aaa"));
	shown("a");
	cr_assert_not(feed(s, "a"));
	shown("aa");
	cr_assert_not(feed(s, "c"));
	shown("aaaac");
	cr_assert(feed(s, "aab"));
	shown("aaaac");
	stops_free(s);
}

Test(stops, lets_go_of_what_was_held_at_the_end)
{
	struct stops *s = make(false, "</s>", NULL);
	cr_assert_not(feed(s, "x </"));
	shown("x ");
	stops_flush(s, &out);
	shown("x </");
	stops_free(s);
}

Test(stops, can_include_the_stop)
{
	struct stops *s = make(true, "END", NULL);
	cr_assert_not(feed(s, "one E"));
	cr_assert(feed(s, "ND two"));
	shown("one END");
	stops_free(s);
}

Test(stops, the_first_to_end_wins_and_then_the_longest)
{
	struct stops *s = make(false, "abcd", "bc");
	cr_assert(feed(s, "xabcd"));
	shown("xa");
	stops_free(s);
	buf_clear(&out);
	s = make(false, "c", "abc");
	cr_assert(feed(s, "xabc"));
	shown("x");
	stops_free(s);
}

Test(stops, none_lets_everything_through)
{
	struct stops *s = stops_new(NULL, 0, false);
	cr_assert_null(s);
	cr_assert_not(feed(s, "anything"));
	stops_flush(s, &out);
	shown("anything");
	stops_free(s);
}

/* -- against the definition, on random text over a tiny alphabet ---------------------------- */

#define TEXT_MAX 40

struct want {
	size_t shown; /* bytes */
	bool stopped;
};

/* What must be visible after text[0..n): look at everything again, the slow way. */
static struct want define(const char *text, size_t n, char stops[][8], size_t n_stops)
{
	for (size_t end = 1; end <= n; end++) {
		size_t longest = 0;
		for (size_t i = 0; i < n_stops; i++) {
			size_t len = strlen(stops[i]);
			if (len <= end && len > longest &&
				memcmp(text + end - len, stops[i], len) == 0)
				longest = len;
		}
		if (longest > 0)
			return (struct want) { end - longest, true };
	}
	for (size_t held = n; held > 0; held--)
		for (size_t i = 0; i < n_stops; i++)
			if (held < strlen(stops[i]) && memcmp(text + n - held, stops[i], held) == 0)
				return (struct want) { n - held, false };
	return (struct want) { n, false };
}

static void random_string(char *s, size_t n, uint64_t seed)
{
	for (size_t i = 0; i < n; i++)
		s[i] = sampler_uniform(seed, i) < 0.6 ? 'a' : 'b';
	s[n] = 0;
}

Test(stops, shows_and_holds_exactly_what_the_definition_says)
{
	for (uint64_t round = 0; round < 3000; round++) {
		char stops[3][8], text[TEXT_MAX + 1], *list[3];
		size_t n_stops = 1 + round % 3;
		for (size_t i = 0; i < n_stops; i++) {
			random_string(stops[i], 2 + (size_t)(sampler_uniform(1, round * 3 + i) * 5),
				round * 7 + i);
			list[i] = stops[i];
		}
		random_string(text, TEXT_MAX, round * 13 + 5);
		struct stops *s = stops_new(list, n_stops, false);
		buf_clear(&out);
		for (size_t at = 0; at < TEXT_MAX;) {
			size_t n = 1 + (size_t)(sampler_uniform(2, round * 99 + at) * 4);
			n = at + n > TEXT_MAX ? TEXT_MAX - at : n;
			bool stopped = stops_push(s, text + at, n, &out);
			at += n;
			struct want want = define(text, at, stops, n_stops);
			cr_assert_eq(stopped, want.stopped, "%s of %s", stops[0], text);
			cr_assert_eq(out.n_bytes, want.shown, "round %d at %zu", (int)round, at);
			cr_assert_arr_eq(buf_cstr(&out), text, want.shown);
		}
		stops_free(s);
	}
}
