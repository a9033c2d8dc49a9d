/* check_draft.h - could this model draft for that one, and how much of a draft stands? */
#ifndef WORKER_CHECK_DRAFT_H
#define WORKER_CHECK_DRAFT_H
#include "worker/handlers.h"

/* Two forms in one method: the pair form (primary_id, draft_id) is answered at once from
 * what is loaded; the token form (model_id, prompt, draft) goes to the engine (draft.h). */
handler_fn handle_check_draft;
#endif
