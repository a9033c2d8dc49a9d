/* lately.c - a ring of beginnings of frames. */
#include "controller/lately.h"
#include "protocol/utf8.h"
#include <string.h>

void lately_note(struct lately *l, enum lately_dir dir, const char *text, size_t n, uint64_t now_us)
{
	struct lately_frame *f = &l->frames[l->n++ % LATELY_FRAMES];
	f->us = now_us;
	f->dir = dir;
	f->n_bytes = n;
	memcpy(f->bytes, text, n < LATELY_BYTES ? n : LATELY_BYTES);
}

static size_t n_kept(const struct lately_frame *f)
{
	return f->n_bytes <= LATELY_BYTES ? f->n_bytes : utf8_whole_prefix(f->bytes, LATELY_BYTES);
}

void lately_write(const struct lately *l, uint64_t now_us, struct buf *out)
{
	size_t first = l->n > LATELY_FRAMES ? l->n - LATELY_FRAMES : 0;
	buf_addc(out, '[');
	for (size_t i = first; i < l->n; i++) {
		const struct lately_frame *f = &l->frames[i % LATELY_FRAMES];
		jout_sep(out);
		buf_addc(out, '{');
		jout_key_int(out, "us", -(int64_t)(now_us - f->us));
		jout_key_cstr(out, "dir", f->dir == LATELY_TO ? "to" : "from");
		jout_key_int(out, "n_bytes", (int64_t)f->n_bytes);
		jout_key_str(out, "text", f->bytes, n_kept(f));
		buf_addc(out, '}');
	}
	buf_addc(out, ']');
}
