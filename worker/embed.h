/* embed.h - texts to vectors: each text a JOB_EMBED, one answer for all of them. */
#ifndef WORKER_EMBED_H
#define WORKER_EMBED_H
#include "worker/handlers.h"

/* An answer holds at most this many numbers, however long each prints, so that it fits in
 * a frame: 127 vectors of 4096, 1016 of 512. */
#define EMBED_NUMBER_BYTES 16 /* "-1.23456789e-05," */
#define EMBED_NUMBERS_MAX  ((FRAME_OUT_MAX - 65536) / EMBED_NUMBER_BYTES)

handler_fn handle_embed;
#endif
