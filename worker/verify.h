/* verify.h - check_draft's token form: a draft judged in one forward pass. */
#ifndef WORKER_VERIFY_H
#define WORKER_VERIFY_H
#include "worker/worker.h"

/* Uses up rq like a handler. */
void verify_start(struct request *rq, const char *model_id);
#endif
