/* tok_bytelevel.c - bytes as printable characters, as GPT-2's encoder.py defines them. */
#include "worker/text/tok_bytelevel.h"
#include "protocol/utf8.h"

/* Bytes that print in Latin-1 stand for themselves; the 68 others take U+0100 onwards in
 * order: 0..32, then 127..160, then 173. */
static bool is_itself(uint32_t c)
{
	return (c >= '!' && c <= '~') || (c >= 0xa1 && c <= 0xac) || (c >= 0xae && c <= 0xff);
}

uint32_t bytelevel_char(unsigned char byte)
{
	if (is_itself(byte))
		return byte;
	if (byte <= 32)
		return 0x100u + byte;
	return byte == 173 ? 0x143 : 0x121u + byte - 127u;
}

int bytelevel_byte(uint32_t cp)
{
	if (cp < 0x100)
		return is_itself(cp) ? (int)cp : -1;
	if (cp <= 0x120)
		return (int)(cp - 0x100);
	if (cp <= 0x142)
		return (int)(cp - 0x121 + 127);
	return cp == 0x143 ? 173 : -1;
}

void bytelevel_write(const char *s, size_t n, struct buf *out)
{
	for (size_t i = 0; i < n; i++) {
		char c[4];
		buf_add(out, c, (size_t)utf8_encode(bytelevel_char((unsigned char)s[i]), c));
	}
}

bool bytelevel_read(const char *s, size_t n, struct buf *out)
{
	size_t before = out->n_bytes;
	for (size_t at = 0; at < n;) {
		uint32_t cp;
		int len = utf8_decode(s + at, n - at, &cp);
		int byte = len > 0 ? bytelevel_byte(cp) : -1;
		if (byte < 0) {
			out->n_bytes = before;
			return false;
		}
		buf_addc(out, (char)byte);
		at += (size_t)len;
	}
	return true;
}
