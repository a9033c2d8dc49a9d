/* check_draft.h - could this model draft for that one, and how much of a draft stands? */
#ifndef WORKER_CHECK_DRAFT_H
#define WORKER_CHECK_DRAFT_H
#include "worker/handlers.h"

struct calibration; /* calibrate.h */

/* Two forms in one method: the pair form (primary_id, draft_id) is answered at once from
 * what is loaded; the token form (model_id, prompt, draft) goes to the engine (draft.h). */
handler_fn handle_check_draft;

/* May draft write drafts for primary? ERR_DRAFT_INCOMPATIBLE with the pair form's report in
 * data.report. */
int check_draft_pair(struct models *m, const struct model_ref *primary,
	const struct model_ref *draft, struct fault *f);
/* The pair form's result; measured NULL: estimated from the sizes. Takes reply. */
void check_draft_answer(struct reply *reply, const struct model_ref *primary,
	const struct model_ref *draft, const struct calibration *measured);
#endif
