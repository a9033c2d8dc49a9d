/* lately.h - the last frames on one worker's pipe, both ways, cut to what tells them apart: what
 * a crash bundle shows. Bounded, and a copy of a few hundred bytes a frame. */
#ifndef CONTROLLER_LATELY_H
#define CONTROLLER_LATELY_H
#include "protocol/buf.h"

#define LATELY_FRAMES 64
#define LATELY_BYTES  1000 /* kept of each */

enum lately_dir { LATELY_TO, LATELY_FROM };

struct lately {
	struct lately_frame {
		uint64_t us;
		size_t n_bytes; /* of the whole frame */
		enum lately_dir dir;
		char bytes[LATELY_BYTES];
	} frames[LATELY_FRAMES]; /* a ring */
	size_t n;                /* ever noted */
};

void lately_note(
	struct lately *l, enum lately_dir dir, const char *text, size_t n, uint64_t now_us);
/* Append a JSON array, oldest first, times relative to now_us (not above 0). */
void lately_write(const struct lately *l, uint64_t now_us, struct buf *out);
#endif
