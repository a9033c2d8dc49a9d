/* batch.h - batch_tokenize, batch_generate, batch_check_draft: many calls in one frame. */
#ifndef WORKER_BATCH_H
#define WORKER_BATCH_H
#include "worker/handlers.h"

/* Each item of requests[] is dispatched like a request of its own and fails alone. */
handler_fn handle_batch;
#endif
