/* inner.h - a host inside this process: a controller, and a socket pair to talk to it over, as
 * any host would. `tandem run` is made of it. */
#ifndef CONTROLLER_INNER_H
#define CONTROLLER_INNER_H
#include "controller/controller.h"
#include "controller/sink.h"
#include "protocol/jsonrpc.h"

#define INNER_SIGNALS 3

struct inner {
	struct event_base *base;
	struct controller *controller;
	struct sink to;             /* the controller */
	struct frame_reader reader; /* and back */
	struct event *readable;
	struct event *signals[INNER_SIGNALS];
	int fds[2];
	void (*heard)(void *arg, const struct rpc_msg *m);
	void (*signalled)(void *arg, int signal); /* SIGTERM, SIGINT or SIGHUP */
	void *arg;
};

/* The callbacks and arg are set before. opt is borrowed until inner_close. */
void inner_open(struct inner *in, const struct options *opt);
void inner_run(struct inner *in); /* until the controller has drained */
void inner_close(struct inner *in);

void inner_call(struct inner *in, int id, const char *method, const struct buf *params);
/* A path that exists, or looks like one, is loaded from there; anything else is an id. */
void inner_load(struct inner *in, int id, const char *model, const char *model_id);
/* The last part of the path, without what a model id may not hold. */
void inner_name_model(const char *model, char *out, size_t n);
/* The same for a model that drafts for it (NULL: none), never by the name of another. */
void inner_name_draft(const char *draft, const char *model, char *out, size_t n);
#endif
