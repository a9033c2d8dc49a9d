/* relay.h - notifications from workers on their way to the host. */
#ifndef CONTROLLER_RELAY_H
#define CONTROLLER_RELAY_H
#include "controller/controller.h"

void relay_notification(struct worker *w, const struct rpc_msg *m, const char *text, size_t n);

/* What stream.c calls when a stream is over, however it ended. */
void relay_stream_ended(void *arg, struct stream *s);
#endif
