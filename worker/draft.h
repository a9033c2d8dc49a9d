/* draft.h - check_draft's token form: a draft judged in one forward pass. */
#ifndef WORKER_DRAFT_H
#define WORKER_DRAFT_H
#include "worker/worker.h"

/* Uses up rq like a handler. */
void draft_start(struct request *rq, const char *model_id);
#endif
