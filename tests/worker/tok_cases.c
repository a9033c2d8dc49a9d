/* tok_cases.c - reading reference cases and holding a tokenizer against them. */
#include "tests/worker/tok_cases.h"
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

void tok_cases_read(const char *path, struct buf *out)
{
	FILE *file = fopen(path, "rb");
	char block[65536];
	size_t n;
	while (file && (n = fread(block, 1, sizeof block, file)) > 0)
		buf_add(out, block, n);
	if (file)
		fclose(file);
	buf_cstr(out);
}

bool tok_cases_open(
	struct tok_cases *c, const char *strings, const char *expected, bool decoded_skips)
{
	*c = (struct tok_cases) { .decoded_skips = decoded_skips, .flags = TOK_PARSE_SPECIAL };
	tok_cases_read(strings, &c->strings_text);
	tok_cases_read(expected, &c->expected_text);
	if (c->strings_text.n_bytes == 0 || c->expected_text.n_bytes == 0) {
		tok_cases_close(c);
		return false;
	}
	struct json_span s = { c->strings_text.data, c->strings_text.n_bytes };
	struct json_span e = { c->expected_text.data, c->expected_text.n_bytes };
	cr_assert_eq(json_scan(s.at, s.n, NULL), 0, "%s is not JSON", strings);
	cr_assert_eq(json_scan(e.at, e.n, NULL), 0, "%s is not JSON", expected);
	c->strings = json_iterate(s);
	c->cases = json_iterate(json_find(e, "cases"));
	return true;
}

static void read_ids(struct json_span list, struct tok_ids *out)
{
	struct json_cursor c = json_iterate(list);
	struct json_span value;
	int64_t id;
	out->n = 0;
	while (json_next_element(&c, &value)) {
		cr_assert(json_get_int(value, &id));
		tok_ids_push(out, (int32_t)id);
	}
}

bool tok_cases_next(struct tok_cases *c)
{
	struct json_span text, expected;
	struct tok_case *k = &c->now;
	if (!json_next_element(&c->strings, &text) || !json_next_element(&c->cases, &expected))
		return false;
	buf_clear(&k->text);
	buf_clear(&k->decoded);
	buf_clear(&k->skipped);
	json_get_str(text, &k->text);
	struct json_span ids = json_find(expected, "ids"), skip = json_find(expected, "skip"),
			 special = json_find(expected, "special"),
			 decoded = json_find(expected, "text");
	k->is_refused = ids.at == NULL;
	if (!k->is_refused) {
		read_ids(ids, &k->ids);
		read_ids(special.at ? special : ids, &k->special);
		json_get_str(decoded, &k->decoded);
		json_get_str(skip.at ? skip : decoded, &k->skipped);
	}
	c->n++;
	return true;
}

void tok_cases_close(struct tok_cases *c)
{
	buf_release(&c->strings_text);
	buf_release(&c->expected_text);
	buf_release(&c->now.text);
	buf_release(&c->now.decoded);
	buf_release(&c->now.skipped);
	tok_ids_release(&c->now.ids);
	tok_ids_release(&c->now.special);
}

static void print_ids(struct buf *b, const struct tok_ids *ids)
{
	for (size_t i = 0; i < ids->n && i < 60; i++)
		buf_addf(b, " %d", (int)ids->ids[i]);
}

static void check_ids(const struct tok_cases *c, const char *name, const struct tok_ids *got,
	const struct tok_ids *want)
{
	if (got->n == want->n &&
		(got->n == 0 || memcmp(got->ids, want->ids, got->n * sizeof *got->ids) == 0))
		return;
	struct buf b = BUF_INIT;
	buf_addf(&b, "%s, case %zu \"", name, c->n - 1);
	buf_add(&b, c->now.text.data, c->now.text.n_bytes < 120 ? c->now.text.n_bytes : 120);
	buf_adds(&b, "\"\n  got ");
	print_ids(&b, got);
	buf_adds(&b, "\n  want");
	print_ids(&b, want);
	cr_expect_fail("%s", buf_cstr(&b));
	buf_release(&b);
}

static void check_text(
	const struct tok_cases *c, const char *name, struct buf *got, struct buf *want)
{
	bool same = got->n_bytes == want->n_bytes &&
		    (got->n_bytes == 0 || memcmp(got->data, want->data, got->n_bytes) == 0);
	cr_expect(same, "%s, case %zu decoded\n  got  \"%s\"\n  want \"%s\"", name, c->n - 1,
		buf_cstr(got), buf_cstr(want));
}

static void check_decoding(struct tok_cases *c, const struct tokenizer *t, const char *name)
{
	struct buf text = BUF_INIT;
	const struct tok_ids *ids = &c->now.ids;
	if (!c->decoded_skips) {
		cr_expect_eq(tokenizer_decode(t, ids->ids, ids->n, false, &text, NULL), 0);
		check_text(c, name, &text, &c->now.decoded);
		buf_clear(&text);
	}
	cr_expect_eq(tokenizer_decode(t, ids->ids, ids->n, true, &text, NULL), 0);
	check_text(c, name, &text, &c->now.skipped);
	buf_release(&text);
}

void tok_cases_check(struct tok_cases *c, const struct tokenizer *t, const char *name)
{
	struct tok_ids ids = { 0 };
	while (tok_cases_next(c)) {
		struct tok_case *k = &c->now;
		struct fault f = { 0 };
		if (k->is_refused)
			continue;
		ids.n = 0;
		int err = tokenizer_encode(
			t, buf_cstr(&k->text), k->text.n_bytes, c->flags, &ids, &f);
		cr_expect_eq(err, 0, "%s, case %zu: %s", name, c->n - 1, f.text);
		check_ids(c, name, &ids, &k->ids);
		ids.n = 0;
		tokenizer_encode(
			t, k->text.data, k->text.n_bytes, c->flags | TOK_ADD_SPECIAL, &ids, &f);
		check_ids(c, name, &ids, &k->special);
		check_decoding(c, t, name);
	}
	cr_expect_gt(c->n, 0, "%s: no cases", name);
	tok_ids_release(&ids);
}
