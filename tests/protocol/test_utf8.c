#include "protocol/utf8.h"
#include <criterion/criterion.h>
#include <string.h>

Test(utf8, decodes_what_it_encodes_for_every_scalar_value)
{
	for (uint32_t cp = 0; cp <= 0x10ffff; cp++) {
		char bytes[4];
		uint32_t back;
		if (cp >= 0xd800 && cp <= 0xdfff)
			continue;
		int n = utf8_encode(cp, bytes);
		cr_assert_eq(utf8_decode(bytes, (size_t)n, &back), n, "U+%04X", cp);
		cr_assert_eq(back, cp);
		for (int cut = 0; cut < n; cut++)
			cr_assert_eq(
				utf8_decode(bytes, (size_t)cut, &back), 0, "U+%04X at %d", cp, cut);
	}
}

Test(utf8, refuses_what_rfc_3629_forbids)
{
	static const char *const bad[] = { "\x80", "\xbf", "\xc0\x80", "\xc1\xbf", "\xe0\x9f\xbf",
		"\xed\xa0\x80", "\xed\xbf\xbf", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80",
		"\xff", "\xfe", "\xc3(", "\xe2\x82(", "\xf0\x9f\x98(" };
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		uint32_t cp;
		cr_assert_eq(utf8_decode(bad[i], strlen(bad[i]), &cp), -1, "case %zu", i);
		cr_assert_not(utf8_is_valid(bad[i], strlen(bad[i])), "case %zu", i);
	}
}

Test(utf8, a_text_is_valid_at_every_offset_of_a_long_ascii_run)
{
	char text[40];
	for (size_t at = 0; at + 3 <= sizeof text; at++) {
		memset(text, 'a', sizeof text);
		memcpy(text + at, "\xe2\x82\xac", 3);
		cr_assert(utf8_is_valid(text, sizeof text), "at %zu", at);
		text[at + 1] = 'x';
		cr_assert_not(utf8_is_valid(text, sizeof text), "at %zu", at);
	}
	cr_assert(utf8_is_valid("", 0));
	cr_assert_not(utf8_is_valid("abc\xe2\x82", 5));
}

Test(utf8, whole_prefix_leaves_out_only_an_unfinished_character)
{
	cr_assert_eq(utf8_whole_prefix("", 0), 0);
	cr_assert_eq(utf8_whole_prefix("abc", 3), 3);
	cr_assert_eq(utf8_whole_prefix("ab\xc3", 3), 2);
	cr_assert_eq(utf8_whole_prefix("ab\xc3\xa9", 4), 4);
	cr_assert_eq(utf8_whole_prefix("\xe2\x82", 2), 0);
	cr_assert_eq(utf8_whole_prefix("a\xf0\x9f\x98", 4), 1);
	cr_assert_eq(utf8_whole_prefix("\xf0\x9f\x98\x80", 4), 4);
	cr_assert_eq(utf8_whole_prefix("a\xff", 2), 2, "an invalid byte waits for nothing");
	cr_assert_eq(utf8_whole_prefix("a\x80\x80", 3), 3);
	cr_assert_eq(utf8_whole_prefix("a\xe0\x80", 3), 3, "overlong: can never be finished");
}
