/* replay.h - requests and streams whose worker died, continued elsewhere.
 *
 * A call not answered yet is queued again as it came. An open stream is continued by a generate of
 * our own: the host's parameters, the seed of the handshake, and the tokens delivered so far as
 * `resume_tokens`. The host sees one stream. */
#ifndef CONTROLLER_REPLAY_H
#define CONTROLLER_REPLAY_H
#include "controller/controller.h"

/* The call was lost with w and is nobody's now. True: it waits in the queue again. Else it is
 * still the caller's, and *error holds what to answer. */
bool replay_call(struct worker *w, struct call *call, struct buf *error);

/* The same for a call that needs no model and is not queued: the caller asks again. */
bool replay_local(struct worker *w, struct call *call, struct buf *error);

/* The streams w had, its calls apart: each is continued, or ends. */
void replay_streams(struct worker *w);
/* The same for those whose end was asked for already: they end so. */
void replay_end_cancelled(struct worker *w);

/* A worker accepted the stream: keep what a continuation will need of its answer. */
void replay_note_handshake(struct stream *s, struct json_span result);
/* The host's generate is answered and about to be freed: keep its parameters. */
void replay_keep_params(struct stream *s, struct call *call);
/* A continuation of s was answered (call->answer): if it failed, so does s. */
void replay_answered(struct controller *c, struct stream *s, struct call *call);
#endif
