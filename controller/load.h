/* load.h - how much each worker has to do, kept as calls and streams come, advance and go. */
#ifndef CONTROLLER_LOAD_H
#define CONTROLLER_LOAD_H
#include "controller/controller.h"

void load_add_calls(struct worker *w, size_t n, size_t n_tokens);
void load_drop_calls(struct worker *w, size_t n, size_t n_tokens);

/* s, which nobody has, is w's from here on. */
void load_add_stream(struct worker *w, struct stream *s, size_t n_tokens);
/* It is n tokens nearer to its end. */
void load_advance(struct worker *w, struct stream *s, size_t n);
/* Nobody's again, or over. Nothing if it was nobody's. */
void load_drop_stream(struct controller *c, struct stream *s);
#endif
