/* tok_base64.c - decoding base64, strictly. */
#include "worker/text/tok_base64.h"
#include <string.h>

static int digit(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

bool tok_base64_read(const char *s, size_t n, struct buf *out)
{
	if (n % 4 != 0)
		return false;
	size_t n_pad = n && s[n - 1] == '=' ? 1 + (s[n - 2] == '=') : 0;
	uint32_t group = 0;
	for (size_t i = 0; i < n; i++) {
		int d = i < n - n_pad ? digit(s[i]) : 0;
		if (d < 0)
			return false;
		group = group << 6 | (uint32_t)d;
		if (i % 4 != 3)
			continue;
		unsigned n_bytes = i + 1 == n ? 3 - (unsigned)n_pad : 3;
		for (unsigned k = 0; k < n_bytes && k < 3; k++)
			buf_addc(out, (char)(group >> (16 - 8 * k) & 255));
		group = 0;
	}
	return true;
}
