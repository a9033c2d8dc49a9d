/* admit.h - a host's message becomes calls, each with its place to go. */
#ifndef CONTROLLER_ADMIT_H
#define CONTROLLER_ADMIT_H
#include "controller/controller.h"

void admit_message(struct controller *c, const char *text, size_t n);
void admit_unreadable(struct controller *c, enum frame_status why);

/* A call of m, to wherever its kind goes. id and params as below. */
void admit_call(struct controller *c, const struct method *m, struct json_span id,
	struct json_span params, struct call_seat seat);

/* A call that goes to a model: checked as far as routing needs, then queued. id is absent
 * for a notification or an item of a batch_* method; params is an object. */
void admit_model_call(struct controller *c, const struct method *m, struct json_span id,
	struct json_span params, struct call_seat seat);

/* Answer the calls that waited for that of an equal one. */
void admit_joined(struct controller *c);

/* Time the call out at its deadline, if it has one and no timer yet. */
void admit_time(struct controller *c, struct call *call);

/* A call that lost its worker, back into the queue, alone; the bounds do not hold for it. */
void admit_again(struct controller *c, struct call *call);
/* A generate of ours that continues s, queued before others. */
void admit_continuation(struct controller *c, struct stream *s, struct json_span params);

/* Full parameter check, for the cases the controller decides itself. 0, or the fault. */
int admit_check(const struct method *m, struct json_span params, struct fault *f);
#endif
