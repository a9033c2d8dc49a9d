/* text_calls.h - tokenize and detokenize. */
#ifndef WORKER_TEXT_CALLS_H
#define WORKER_TEXT_CALLS_H
#include "worker/handlers.h"

handler_fn handle_tokenize, handle_detokenize;
#endif
