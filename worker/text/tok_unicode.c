/* tok_unicode.c - character classes by general category. */
#include "worker/text/tok_unicode.h"
#include "protocol/utf8.h"
#include <utf8proc.h>

bool uni_is_space(uint32_t cp)
{
	if (cp < 0x80)
		return cp == ' ' || (cp >= 9 && cp <= 13);
	return cp == 0x85 || cp == 0xa0 || cp == 0x1680 || (cp >= 0x2000 && cp <= 0x200a) ||
	       cp == 0x2028 || cp == 0x2029 || cp == 0x202f || cp == 0x205f || cp == 0x3000;
}

static bool in(uint32_t cp, utf8proc_category_t first, utf8proc_category_t last)
{
	utf8proc_category_t c = utf8proc_category((utf8proc_int32_t)cp);
	return c >= first && c <= last;
}

bool uni_is_numeric(uint32_t cp)
{
	return in(cp, UTF8PROC_CATEGORY_ND, UTF8PROC_CATEGORY_NO);
}

bool uni_is_mark(uint32_t cp)
{
	return in(cp, UTF8PROC_CATEGORY_MN, UTF8PROC_CATEGORY_ME);
}

bool uni_is_nonspacing(uint32_t cp)
{
	return in(cp, UTF8PROC_CATEGORY_MN, UTF8PROC_CATEGORY_MN);
}

bool uni_is_punct(uint32_t cp)
{
	if (cp < 0x80)
		return (cp >= 33 && cp <= 47) || (cp >= 58 && cp <= 64) || (cp >= 91 && cp <= 96) ||
		       (cp >= 123 && cp <= 126);
	return in(cp, UTF8PROC_CATEGORY_PC, UTF8PROC_CATEGORY_PO);
}

bool uni_is_other(uint32_t cp)
{
	return in(cp, UTF8PROC_CATEGORY_CC, UTF8PROC_CATEGORY_CO);
}

bool uni_is_word(uint32_t cp)
{
	if (cp == 0x200c || cp == 0x200d)
		return true;
	/* Symbols with Other_Alphabetic: letters in circles and squares. */
	if ((cp >= 0x24b6 && cp <= 0x24e9) || (cp >= 0x1f130 && cp <= 0x1f149) ||
		(cp >= 0x1f150 && cp <= 0x1f169) || (cp >= 0x1f170 && cp <= 0x1f189))
		return true;
	/* Categories in order: Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc. */
	return in(cp, UTF8PROC_CATEGORY_LU, UTF8PROC_CATEGORY_NL) ||
	       in(cp, UTF8PROC_CATEGORY_PC, UTF8PROC_CATEGORY_PC);
}

uint32_t uni_next(const char *s, size_t n, size_t *at)
{
	uint32_t cp = 0xfffd;
	int len = utf8_decode(s + *at, n - *at, &cp);
	*at += len > 0 ? (size_t)len : 1;
	return cp;
}

uint32_t uni_last(const char *s, size_t n)
{
	size_t at = n - 1;
	while (at > 0 && n - at < 4 && ((unsigned char)s[at] & 0xc0) == 0x80)
		at--;
	return uni_next(s, n, &at);
}
