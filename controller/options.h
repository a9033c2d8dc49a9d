/* options.h - the controller's command line. */
#ifndef CONTROLLER_OPTIONS_H
#define CONTROLLER_OPTIONS_H
#include "protocol/err.h"
#include "protocol/frame.h"

#define OPTIONS_WORKERS_MAX 64

enum options_wish { OPTIONS_SERVE, OPTIONS_HELP, OPTIONS_VERSION };

struct options {
	enum options_wish wish;
	bool is_verbose;
	enum framing framing;
	size_t max_message; /* bytes of one message in */
	int n_workers;      /* 0 while none was asked for */
	int drain_ms;
	long threads; /* of each worker; 0 = unknown, of what a command starts */
	bool pin;     /* worker i on the i-th `threads` processors */
	size_t queue_calls, queue_bytes;
	unsigned heartbeat_ms; /* 0 = none */
	unsigned restarts;     /* of one worker in SUP_WINDOW_US */
	double retry_budget;   /* requests lost with a worker that may go again at once */
	size_t streams;        /* generates one worker may hold */
	size_t bundles;        /* crash bundles to keep */
	size_t ack_window;     /* tokens of a stream a worker may be ahead of the host; 0 = any */
	char *record_path;     /* owned; NULL = no record */
	size_t record_bytes;
	char **given; /* owned, NULL-terminated: the line, less what is about recording */
	size_t n_given;
	char **worker_argv; /* owned, NULL-terminated; [0] is the worker's path */
	size_t n_worker_argv;
	char ***commands; /* [n_commands] words each, words.h; they take the place of the path */
	size_t n_commands;
};

/* ERR_INVALID_PARAMS with a sentence for a bad line. argv strings are copied. An
 * argument that is no option is ignored: hosts of the reference give a script's path. */
int options_parse(struct options *o, int argc, char **argv, struct fault *f);
void options_release(struct options *o);

/* The command that starts worker i: the list is the caller's to free, its strings are o's. */
char **options_worker_command(const struct options *o, int i);

/* Add an argument for the workers. */
void options_pass_on(struct options *o, const char *arg);

/* A whole decimal number in [min, max] of a command line. */
bool options_number(const char *text, long min, long max, long *out);

extern const char options_help[];
#endif
