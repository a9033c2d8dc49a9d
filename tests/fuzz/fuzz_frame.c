/* fuzz_frame.c - the messages in a byte stream do not hang on how it was cut into reads.
 *
 * Byte 0 picks framing and limit, byte 1 the first cut; the rest is the stream, read once
 * whole and once in pieces. */
#include "protocol/frame.h"
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void drain(struct frame_reader *r, struct buf *seen)
{
	const char *text = NULL;
	size_t n = 0;
	enum frame_status status;
	while ((status = frame_next(r, &text, &n)) != FRAME_NEED_MORE) {
		buf_addc(seen, (char)('0' + status));
		if (status != FRAME_TEXT)
			continue;
		if (n > r->max_bytes)
			abort();
		buf_add(seen, text, n);
		buf_addc(seen, '\n');
	}
}

/* Pieces of `step` bytes, growing by `grow` each. */
static struct buf read_in(
	struct frame_reader r, const uint8_t *data, size_t size, size_t step, size_t grow)
{
	struct buf seen = BUF_INIT;
	for (size_t at = 0; at < size; step += grow) {
		size_t n = size - at < step ? size - at : step;
		memcpy(frame_space(&r, n), data + at, n);
		frame_fed(&r, n);
		at += n;
		drain(&r, &seen);
	}
	frame_eof(&r);
	drain(&r, &seen);
	frame_reader_release(&r);
	buf_cstr(&seen);
	return seen;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const size_t limits[] = { 1, 10, 100, 100000 };
	struct frame_reader r;
	if (size < 2)
		return 0;
	frame_reader_init(&r, (enum framing)(data[0] % 3), limits[data[0] / 3 % 4]);
	struct buf whole = read_in(r, data + 2, size - 2, size, 0);
	struct buf pieces = read_in(r, data + 2, size - 2, 1 + data[1] % 16, data[1] / 16);
	if (whole.n_bytes != pieces.n_bytes || memcmp(whole.data, pieces.data, whole.n_bytes) != 0)
		abort();
	buf_release(&whole);
	buf_release(&pieces);
	return 0;
}
