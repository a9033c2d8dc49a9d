/* stops.h - finding stop strings in text that arrives in pieces.
 *
 * Text goes in as the detokenizer makes it and comes out as soon as it cannot be the
 * beginning of a stop string any more: what is held back is exactly the longest end of the
 * text that is a proper beginning of a stop. Bounded by the longest stop; one step per byte
 * and stop (Knuth, Morris and Pratt, 1977). */
#ifndef WORKER_ENGINE_STOPS_H
#define WORKER_ENGINE_STOPS_H
#include "protocol/buf.h"
#include <stdbool.h>
#include <stddef.h>

struct stops;

/* Copies the strings; none is empty. include: the stop string is part of the text. NULL
 * when n is 0, which every function below takes as "no stops". */
struct stops *stops_new(char *const *strings, size_t n, bool include);
void stops_free(struct stops *s);

/* Feed text; append to out what is safe to show. True once a stop is complete: the first to
 * end wins, of several that end together the longest; text after it is dropped, and the
 * matcher is spent. */
bool stops_push(struct stops *s, const char *text, size_t n, struct buf *out);
/* The end of the text: what was held back is text after all. */
void stops_flush(struct stops *s, struct buf *out);
#endif
