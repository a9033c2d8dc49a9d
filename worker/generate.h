/* generate.h - the method generate: admission, handshake, cancelling. */
#ifndef WORKER_GENERATE_H
#define WORKER_GENERATE_H
#include "worker/handlers.h"

handler_fn handle_generate;
#endif
