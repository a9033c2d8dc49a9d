/* flow.h - credit: how far a worker may run ahead of the host, for each stream.
 *
 * Workers are started with a window (--ack-window) and send no more tokens of a stream than
 * that beyond what we acknowledged. A token counts as read when the host's pipe took its
 * bytes or, for a stream that the host acknowledges itself (stream.ack), when it said so.
 * So what waits here for the host is bounded by streams times window, workers are always
 * read, and their answers and heartbeats pass. */
#ifndef CONTROLLER_FLOW_H
#define CONTROLLER_FLOW_H
#include "controller/controller.h"

/* A chunk of s was given to the host's queue, or it was opened. */
void flow_passed(struct controller *c, struct stream *s);
/* The host's pipe took bytes. */
void flow_drained(struct controller *c);
/* The host has the first n tokens of s. */
void flow_acked(struct controller *c, struct stream *s, size_t n);
/* s goes to a worker, which counts from what s has. */
void flow_begin(struct stream *s);
/* s is about to be freed. */
void flow_forget(struct controller *c, struct stream *s);
#endif
