/* credit.h - how far a stream may run ahead of its reader, and what becomes of one that does.
 * Pure policy: numbers and times in, decisions out.
 *
 * Tokens leave while the pipe takes them and, where the reader acknowledges, while no more
 * than `window` of them are unacknowledged. Those that may not leave wait and will travel
 * together; when many wait the sequence is parked, so that memory stays bounded and nobody
 * else is slowed down; when they have waited too long the stream is given up. */
#ifndef WORKER_CREDIT_H
#define WORKER_CREDIT_H
#include <stdbool.h>
#include <stddef.h>

#define CREDIT_TOKENS 128                 /* waiting tokens that park a sequence */
#define CREDIT_BYTES  ((size_t)512 << 10) /* the same in bytes: alternatives are long */
#define CREDIT_WINDOW 256                 /* of a reader that acknowledges unasked */

struct credit {
	size_t window;     /* tokens that may be unacknowledged; 0 = nobody acknowledges */
	size_t n_sent;     /* tokens, all choices together */
	size_t n_acked;    /* <= n_sent */
	double stalled_at; /* since when tokens wait that may not leave; 0 = none do */
	bool is_parked;
};

/* What waits, and whether the pipe takes anything. */
struct credit_view {
	size_t n_tokens, n_bytes;
	bool is_pipe_full;
	double now;
	double patience; /* seconds a stall may last; 0 = for ever */
};

/* Tokens that may leave now. */
size_t credit_left(const struct credit *c, bool is_pipe_full);
void credit_sent(struct credit *c, size_t n_tokens);
/* The reader has the first n tokens of the stream. */
void credit_acked(struct credit *c, size_t n);

enum credit_verdict {
	CREDIT_FINE,    /* run */
	CREDIT_PARK,    /* compute nothing more until FINE */
	CREDIT_GIVEN_UP /* the stall lasted too long */
};

/* After what could be sent was. *due: seconds until it is given up, -1 = never. */
enum credit_verdict credit_judge(struct credit *c, const struct credit_view *v, double *due);
#endif
