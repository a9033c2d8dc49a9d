/* The hand-written scanners against PCRE2 on the patterns they stand for. */
#include "protocol/utf8.h"
#include "worker/text/tok_regex.h"
#include "worker/text/tok_scan.h"
#include <criterion/criterion.h>
#include <string.h>

static uint32_t rnd(uint64_t *state)
{
	*state = *state * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(*state >> 33);
}

/* Mostly what the patterns are about; all assigned since before Unicode 14, PCRE2's. */
static uint32_t random_char(uint64_t *state)
{
	static const uint32_t likely[] = { ' ', ' ', ' ', '\n', '\r', '\t', '\'', '\'', 's', 'S',
		't', 'r', 'e', 'E', 'v', 'm', 'l', 'L', 'd', 'a', 'Z', '0', '9', '5', '.', '-', '/',
		'"', '_', 0x17f, 0x212a, 0x85, 0xa0, 0x3000, 0x2028, 0x180e, 0x200b, 0x301, 0xe9,
		0x416, 0x4e2d, 0xac00, 0x661, 0xbd, 0x2167, 0x1f600, 0x2019, 0x201c, 0, 0x7f, 0xb,
		0xc };
	if (rnd(state) % 16)
		return likely[rnd(state) % (sizeof likely / sizeof likely[0])];
	return rnd(state) % 0x530 + 1;
}

static size_t random_text(uint64_t *state, char *out, size_t cap)
{
	size_t n = 0, n_chars = rnd(state) % 40 + 1;
	for (size_t i = 0; i < n_chars && n + 4 <= cap; i++) {
		uint32_t cp = random_char(state), again = rnd(state) % 8 == 0 ? rnd(state) % 5 : 0;
		do
			n += (size_t)utf8_encode(cp, out + n);
		while (again-- > 0 && n + 4 <= cap);
	}
	return n;
}

/* End of the stretch at `at` by the regex: the match there, or what lies before the next. */
static size_t regex_end(
	const struct tok_regex *re, struct regex_work *w, const char *s, struct tok_span text)
{
	struct tok_span m;
	int rc = tok_regex_find(re, w, text, s, &m);
	cr_assert_geq(rc, 0);
	if (rc == 0)
		return text.end;
	return m.start > text.start ? m.start : m.end;
}

Test(tok_scan, scanners_equal_the_regex_on_random_text)
{
	struct regex_work work = { 0 };
	for (size_t i = 0; tok_scan_at(i); i++) {
		const struct tok_scan *row = tok_scan_at(i);
		struct tok_regex *re;
		uint64_t state = i + 1;
		cr_assert_eq(tok_regex_new(row->pattern, strlen(row->pattern), &re, NULL), 0);
		for (int round = 0; round < 40000; round++) {
			char s[256];
			size_t n = random_text(&state, s, sizeof s);
			for (size_t at = 0; at < n;) {
				size_t want = regex_end(re, &work, s, (struct tok_span) { at, n });
				size_t got = row->scan(s, n, at);
				cr_assert_eq(got, want,
					"row %zu, round %d, byte %zu: %zu, not %zu, of \"%.*s\"", i,
					round, at, got, want, (int)n, s);
				at = want;
			}
		}
		tok_regex_free(re);
	}
	regex_work_release(&work);
}

Test(tok_scan, only_the_exact_pattern_has_a_scanner)
{
	const char *known = tok_scan_at(0)->pattern;
	cr_expect_eq(tok_scan_find(known, strlen(known)), tok_scan_at(0)->scan);
	cr_expect_null(tok_scan_find(known, strlen(known) - 1));
	cr_expect_null(tok_scan_find("\\s+", 3));
}

static void expect_translation(const char *from, const char *to)
{
	struct buf out = BUF_INIT;
	struct fault f = { 0 };
	cr_expect_eq(tok_regex_translate(from, strlen(from), &out, &f), 0, "%s: %s", from, f.text);
	cr_expect_str_eq(buf_cstr(&out), to);
	buf_release(&out);
}

Test(tok_regex, oniguruma_becomes_pcre2)
{
	expect_translation("\\p{L}+(?!x)", "\\p{L}+(?!x)");
	expect_translation("\\h", "[0-9a-fA-F]");
	expect_translation("[^\\h\\]]", "[^0-9a-fA-F\\]]");
	expect_translation("\\u00e9", "\\x{00e9}");
	expect_translation("(?mi:.)", "(?si:.)");
	expect_translation("[a-z&&[^aeiou]]", "(?:(?:(?=[a-z])(?:(?:[^aeiou]))))");
	expect_translation("[[:alpha:]x]", "[[:alpha:]x]");
}

static size_t first_match(const char *pattern, const char *text)
{
	struct tok_regex *re;
	struct regex_work w = { 0 };
	struct tok_span m = { 99, 99 };
	struct fault f = { 0 };
	cr_assert_eq(
		tok_regex_new(pattern, strlen(pattern), &re, &f), 0, "%s: %s", pattern, f.text);
	tok_regex_find(re, &w, (struct tok_span) { 0, strlen(text) }, text, &m);
	tok_regex_free(re);
	regex_work_release(&w);
	return m.start;
}

Test(tok_regex, classes_mean_what_oniguruma_means)
{
	cr_expect_eq(first_match("[a-z&&[^aeiou]]", "aeix"), 3);
	cr_expect_eq(first_match("[^a-z&&[^aeiou]]", "xyaz"), 2);
	cr_expect_eq(first_match("[\\S&&[^a]]", " ab"), 2);
	cr_expect_eq(first_match("\\s", "\xe1\xa0\x8e\xc2\xa0"), 3, "U+180E is no space");
	cr_expect_eq(first_match("^b", "a\nb"), 2, "lines begin after a newline");
	cr_expect_eq(first_match("\\w", "-_"), 1);
}

Test(tok_regex, refuses_what_it_cannot_honour)
{
	static const char *const bad[] = { "[a", "\\", "(?<n>a)\\k<n>", "(*VERB)", "(?P<x>a)",
		"a{2,1}", "\\p{", "\\p{NoSuchScript}", "(", "[[[[[[[[[[[[[[[[[[[[[[[[a" };
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct tok_regex *re = NULL;
		struct fault f = { 0 };
		cr_expect_eq(tok_regex_new(bad[i], strlen(bad[i]), &re, &f), ERR_TOKENIZER, "%s",
			bad[i]);
		cr_expect(f.text[0]);
		tok_regex_free(re);
	}
}

Test(tok_regex, ends_a_match_that_explodes, .timeout = 60)
{
	static const char bomb[] = "(a+)+$|(a|aa)+b";
	char text[4096];
	struct tok_regex *re;
	struct regex_work w = { 0 };
	struct tok_span m;
	memset(text, 'a', sizeof text);
	text[sizeof text - 1] = '!';
	cr_assert_eq(tok_regex_new(bomb, strlen(bomb), &re, NULL), 0);
	cr_expect_eq(tok_regex_find(re, &w, (struct tok_span) { 0, sizeof text }, text, &m),
		ERR_TOKENIZER);
	tok_regex_free(re);
	regex_work_release(&w);
}
