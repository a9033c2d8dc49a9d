/* frame.c - bytes into messages, whatever the cuts between reads. Stop 2; next: json_scan.c
 *
 * What comes out depends on the bytes alone, never on how they were cut into reads. */
#include "protocol/frame.h"
#include <string.h>
#include <strings.h>

/* A buffer that one large message left behind is given back beyond this. */
#define KEEP_MAX ((size_t)1 << 20)

/* Kept of a header block that is too long, so that a Content-Length line cut by the bound
 * is still found whole. */
#define HEADER_TAIL 256

void frame_reader_init(struct frame_reader *r, enum framing framing, size_t max_bytes)
{
	*r = (struct frame_reader) { .framing = framing, .max_bytes = max_bytes };
}

void frame_reader_release(struct frame_reader *r)
{
	buf_release(&r->in);
}

char *frame_space(struct frame_reader *r, size_t want)
{
	if (r->at == r->in.n_bytes) {
		if (r->in.cap > KEEP_MAX)
			buf_release(&r->in);
		buf_clear(&r->in);
		r->at = r->scanned = 0;
	} else if (r->at >= r->in.n_bytes / 2) {
		/* At most as much is moved as was consumed, so all moves together stay linear. */
		buf_consume(&r->in, r->at);
		r->scanned -= r->scanned < r->at ? r->scanned : r->at;
		r->at = 0;
	}
	buf_reserve(&r->in, want);
	return r->in.data + r->in.n_bytes;
}

void frame_fed(struct frame_reader *r, size_t n)
{
	r->in.n_bytes += n;
}

void frame_eof(struct frame_reader *r)
{
	r->eof = true;
}

static size_t unread(const struct frame_reader *r)
{
	return r->in.n_bytes - r->at;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static void skip_blank(struct frame_reader *r)
{
	while (unread(r) && is_blank(r->in.data[r->at]))
		r->at++;
}

/* Past byte order marks and blank space at the start of the session, deciding the framing.
 * False while more bytes are needed. */
static bool start(struct frame_reader *r)
{
	static const char bom[3] = { '\xef', '\xbb', '\xbf' };
	for (;;) {
		skip_blank(r);
		size_t have = unread(r) < sizeof bom ? unread(r) : sizeof bom;
		if (!have)
			return false;
		bool is_bom = memcmp(r->in.data + r->at, bom, have) == 0;
		if (is_bom && have < sizeof bom && !r->eof)
			return false;
		if (!is_bom || have < sizeof bom)
			break;
		r->at += sizeof bom;
	}
	char c = r->in.data[r->at];
	if (r->framing == FRAMING_AUTO)
		r->framing = c == 'C' || c == 'c' ? FRAMING_LSP : FRAMING_NDJSON;
	return r->started = true;
}

/* -- lines ------------------------------------------------------------------------------ */

static bool all_blank(const char *s, size_t n)
{
	while (n && is_blank(s[n - 1]))
		n--;
	return n == 0;
}

/* The line at r->at, without its end, in *text and *n; r moves past it. False if its end
 * has not come, unless nothing more will. */
static bool take_line(struct frame_reader *r, const char **text, size_t *n)
{
	size_t from = r->scanned > r->at ? r->scanned : r->at;
	const char *line = r->in.data + r->at, *nl = NULL;
	if (from < r->in.n_bytes)
		nl = memchr(r->in.data + from, '\n', r->in.n_bytes - from);
	r->scanned = r->in.n_bytes;
	if (!nl && (!r->eof || !unread(r)))
		return false;
	*n = nl ? (size_t)(nl - line) : unread(r);
	*text = line;
	r->at += *n + (nl != NULL);
	r->scanned = r->at;
	if (*n && line[*n - 1] == '\r')
		--*n;
	return true;
}

static void drop_all(struct frame_reader *r)
{
	r->at = r->scanned = r->in.n_bytes;
}

static enum frame_status next_line(struct frame_reader *r, const char **text, size_t *n)
{
	while (take_line(r, text, n)) {
		bool was_told = r->skipping;
		r->skipping = false;
		if (was_told)
			continue;
		if (*n > r->max_bytes)
			return FRAME_TOO_LONG;
		if (!all_blank(*text, *n))
			return FRAME_TEXT;
	}
	if (r->skipping) {
		drop_all(r);
	} else if (unread(r) > r->max_bytes + 1) { /* + 1: the last may be the \r of its end */
		drop_all(r);
		r->skipping = true;
		return FRAME_TOO_LONG;
	}
	return FRAME_NEED_MORE;
}

/* -- headers ---------------------------------------------------------------------------- */

/* Bytes of the header block at s up to and including its blank line, 0 if that is not in
 * s[0..n). A bare \n ends a line too. */
static size_t block_length(const char *s, size_t n)
{
	const char *p = s, *end = s + n;
	while ((p = memchr(p, '\n', (size_t)(end - p))) != NULL) {
		p++;
		if (p < end && *p == '\n')
			return (size_t)(p + 1 - s);
		if (end - p >= 2 && p[0] == '\r' && p[1] == '\n')
			return (size_t)(p + 2 - s);
	}
	return 0;
}

/* The digits of `: N` at p; false when that is not all there is before the line's end. */
static bool parse_length(const char *p, const char *end, size_t *out)
{
	while (p < end && (*p == ' ' || *p == '\t'))
		p++;
	if (p == end || *p++ != ':')
		return false;
	while (p < end && (*p == ' ' || *p == '\t'))
		p++;
	const char *digits = p;
	size_t v = 0;
	for (; p < end && *p >= '0' && *p <= '9'; p++)
		if (__builtin_mul_overflow(v, 10, &v) ||
			__builtin_add_overflow(v, (size_t)(*p - '0'), &v))
			return false;
	*out = v;
	return p > digits && all_blank(p, (size_t)(end - p));
}

#define NAME     "Content-Length"
#define NAME_LEN (sizeof NAME - 1)

/* The header's name at the start of the line; after a bad header also behind other bytes,
 * because a body that was not understood runs into the next header without a line end. */
static const char *find_name(const char *line, const char *end, bool anywhere)
{
	const char *found = NULL;
	for (const char *p = line; end - p >= (ptrdiff_t)NAME_LEN; p++) {
		if (strncasecmp(p, NAME, NAME_LEN) == 0)
			found = p;
		if (!anywhere)
			break;
	}
	return found;
}

/* Content-Length of a block; false when it is missing, unusable or given twice. */
static bool parse_block(const char *s, size_t n, bool resync, size_t *length)
{
	int n_found = 0;
	for (const char *end = s + n; s < end;) {
		const char *nl = memchr(s, '\n', (size_t)(end - s));
		const char *line_end = nl ? nl : end;
		const char *name = find_name(s, line_end, resync);
		if (name && !parse_length(name + NAME_LEN, line_end, length))
			return false;
		n_found += name != NULL;
		s = nl ? nl + 1 : end;
	}
	return n_found == 1;
}

/* The header block at r->at, read into r->body. FRAME_TEXT stands for "a body follows". */
static enum frame_status next_header(struct frame_reader *r)
{
	for (;;) {
		skip_blank(r);
		const char *block = r->in.data + r->at;
		size_t have = unread(r) < FRAME_HEADER_MAX ? unread(r) : FRAME_HEADER_MAX;
		size_t n = have ? block_length(block, have) : 0;
		bool was_bad = r->skipping;
		if (!n && have < FRAME_HEADER_MAX)
			return FRAME_NEED_MORE;
		r->at += n ? n : have - HEADER_TAIL;
		r->skipping = !n || !parse_block(block, n, was_bad, &r->body);
		if (!r->skipping)
			return FRAME_TEXT;
		/* Bytes without end after a bad header are part of that one failure. */
		if (n || !was_bad)
			return FRAME_BAD_HEADER;
	}
}

/* Drop what has come of an over-long body; false while some is still to come. */
static bool drop_body(struct frame_reader *r)
{
	size_t n = r->skip < unread(r) ? r->skip : unread(r);
	r->at += n;
	r->skip -= n;
	return r->skip == 0;
}

static enum frame_status next_body(struct frame_reader *r, const char **text, size_t *n)
{
	if (!drop_body(r))
		return FRAME_NEED_MORE;
	if (!r->in_body) {
		enum frame_status status = next_header(r);
		if (status != FRAME_TEXT)
			return status;
		if (r->body > r->max_bytes) {
			r->skip = r->body;
			r->body = 0;
			return FRAME_TOO_LONG;
		}
		r->in_body = true;
	}
	if (unread(r) < r->body)
		return FRAME_NEED_MORE;
	*text = r->in.data + r->at;
	*n = r->body;
	r->at += r->body;
	r->body = 0;
	r->in_body = false;
	return FRAME_TEXT;
}

enum frame_status frame_next(struct frame_reader *r, const char **text, size_t *n)
{
	if (!r->started && !start(r))
		return FRAME_NEED_MORE;
	return r->framing == FRAMING_LSP ? next_body(r, text, n) : next_line(r, text, n);
}

void frame_write(struct buf *out, enum framing framing, const char *text, size_t n)
{
	if (framing == FRAMING_LSP)
		buf_addf(out, "Content-Length: %zu\r\n\r\n", n);
	buf_add(out, text, n);
	if (framing != FRAMING_LSP)
		buf_addc(out, '\n');
}

bool frame_parse_name(const char *s, enum framing *out)
{
	static const char *const names[] = { "auto", "ndjson", "lsp" };
	for (int i = 0; i < 3; i++) {
		if (strcmp(s, names[i]) == 0) {
			*out = (enum framing)i;
			return true;
		}
	}
	return false;
}
