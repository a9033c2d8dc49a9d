/* frame.h - message framing on a byte stream: NDJSON lines or LSP headers.
 *
 * In AUTO the first non-blank byte decides ('{' or '[' or anything but 'C'/'c': lines;
 * 'C'/'c': headers) and the choice then holds for the session; a UTF-8 byte order mark at
 * the start is skipped. The reader only splits; it does not look into the text. A message
 * over the limit costs one FRAME_TOO_LONG and is skipped to its end without being kept.
 * Blank lines are skipped, `\r\n` is a line end. A last line without `\n` at EOF counts. */
#ifndef PROTOCOL_FRAME_H
#define PROTOCOL_FRAME_H
#include "protocol/buf.h"

enum framing { FRAMING_AUTO, FRAMING_NDJSON, FRAMING_LSP };

#define FRAME_IN_MAX     ((size_t)64 << 20) /* default limit of one message in */
#define FRAME_OUT_MAX    ((size_t)8 << 20)  /* we never write a larger one */
#define FRAME_HEADER_MAX ((size_t)4 << 10)  /* a header block beyond this is not LSP */

enum frame_status {
	FRAME_NEED_MORE,  /* nothing whole yet */
	FRAME_TEXT,       /* *text is one message */
	FRAME_TOO_LONG,   /* a message exceeded the limit; answer -32600, id null */
	FRAME_BAD_HEADER, /* a header block without a usable Content-Length; resynchronised at
			     the next blank line; answer -32700, id null */
};

struct frame_reader {
	enum framing framing; /* AUTO until the first byte decided */
	size_t max_bytes;
	struct buf in;
	size_t at;      /* next unread byte of in */
	size_t scanned; /* bytes of in already searched for a line end */
	size_t body;    /* LSP: bytes of the body still expected, 0 between messages */
	size_t skip;    /* LSP: bytes of an over-long body still to drop */
	bool in_body;
	bool skipping; /* NDJSON: dropping up to the next line end */
	bool started;
	bool eof;
};

void frame_reader_init(struct frame_reader *r, enum framing framing, size_t max_bytes);
void frame_reader_release(struct frame_reader *r);

/* Where the next read(2) may put up to `want` bytes; follow with frame_fed(n). */
char *frame_space(struct frame_reader *r, size_t want);
void frame_fed(struct frame_reader *r, size_t n);
void frame_eof(struct frame_reader *r);

/* The next message. *text is borrowed until the next call on r. Call until NEED_MORE. */
enum frame_status frame_next(struct frame_reader *r, const char **text, size_t *n);

/* Append one message in the given framing (AUTO writes NDJSON). text holds no newline. */
void frame_write(struct buf *out, enum framing framing, const char *text, size_t n);

/* "auto" | "ndjson" | "lsp" → *out; false for anything else. */
bool frame_parse_name(const char *s, enum framing *out);
#endif
