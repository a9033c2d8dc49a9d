/* generate.h - the method generate: admission, handshake, cancelling; and stream.ack. */
#ifndef WORKER_GENERATE_H
#define WORKER_GENERATE_H
#include "worker/handlers.h"

handler_fn handle_generate;
handler_fn handle_stream_ack;
#endif
