/* generate.h - the method generate: admission, handshake, cancelling; and stream.ack. */
#ifndef WORKER_GENERATE_H
#define WORKER_GENERATE_H
#include "worker/handlers.h"
#include "worker/stream.h"

handler_fn handle_generate;
handler_fn handle_stream_ack;

/* The stream of that id whose model is there; NULL if there is none. Borrowed. */
struct stream *generate_find(struct worker *w, const char *stream_id);
#endif
