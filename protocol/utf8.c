/* utf8.c - UTF-8 by the table of well-formed sequences (Unicode 15, table 3-7). */
#include "protocol/utf8.h"
#include <string.h>

/* Length of the sequence that lead byte c opens, 0 if none does, and the range its second
 * byte must lie in: that range alone rules out overlong forms, surrogates and > 10FFFF. */
static int lead(unsigned char c, unsigned char *low, unsigned char *high)
{
	*low = 0x80;
	*high = 0xbf;
	if (c >= 0xc2 && c <= 0xdf)
		return 2;
	if (c >= 0xe0 && c <= 0xef) {
		if (c == 0xe0)
			*low = 0xa0;
		if (c == 0xed)
			*high = 0x9f;
		return 3;
	}
	if (c >= 0xf0 && c <= 0xf4) {
		if (c == 0xf0)
			*low = 0x90;
		if (c == 0xf4)
			*high = 0x8f;
		return 4;
	}
	return 0;
}

int utf8_decode(const char *s, size_t n, uint32_t *cp)
{
	if (n == 0)
		return 0;
	const unsigned char *u = (const unsigned char *)s;
	if (u[0] < 0x80) {
		*cp = u[0];
		return 1;
	}
	unsigned char low, high;
	int len = lead(u[0], &low, &high);
	if (len == 0)
		return -1;
	uint32_t c = u[0] & (0x7fu >> len);
	for (int i = 1; i < len; i++) {
		if ((size_t)i == n)
			return 0;
		if (u[i] < low || u[i] > high)
			return -1;
		c = c << 6 | (u[i] & 0x3fu);
		low = 0x80;
		high = 0xbf;
	}
	*cp = c;
	return len;
}

bool utf8_is_valid(const char *s, size_t n)
{
	size_t at = 0;
	while (at < n) {
		uint64_t eight;
		/* Most text is ASCII: pass it eight bytes at a time. */
		while (n - at >= 8 && (memcpy(&eight, s + at, 8), !(eight & 0x8080808080808080u)))
			at += 8;
		uint32_t cp;
		int len = at < n ? utf8_decode(s + at, n - at, &cp) : 1;
		if (len <= 0)
			return false;
		at += (size_t)len;
	}
	return true;
}

size_t utf8_whole_prefix(const char *s, size_t n)
{
	/* An unfinished character is at most the last three bytes. */
	for (size_t back = 1; back <= 3 && back <= n; back++) {
		uint32_t cp;
		if (utf8_decode(s + n - back, back, &cp) == 0)
			return n - back;
	}
	return n;
}

int utf8_encode(uint32_t cp, char out[4])
{
	if (cp < 0x80) {
		out[0] = (char)cp;
		return 1;
	}
	int len = cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4;
	for (int i = len - 1; i > 0; i--) {
		out[i] = (char)(0x80 | (cp & 0x3f));
		cp >>= 6;
	}
	out[0] = (char)((0xf00 >> len) | cp);
	return len;
}
