/* host.h - the host's two descriptors: messages in, messages out.
 *
 * stdin may be a pipe, a socket, a file or a terminal; it is read until it ends, however
 * full stdout is. O_NONBLOCK is set on pipes and sockets only and put back by
 * host_close(), since the descriptor may be shared with the shell that started us. The
 * output queue is bounded: `level` tells when to produce less, and beyond the hard bound the
 * host is declared gone. */
#ifndef CONTROLLER_HOST_H
#define CONTROLLER_HOST_H
#include "controller/record.h"
#include "protocol/frame.h"
#include <event2/event.h>

#define HOST_FULL_BYTES    ((size_t)64 << 20)
#define HOST_CROWDED_BYTES ((size_t)16 << 20)
#define HOST_EASY_BYTES    ((size_t)4 << 20)
#define HOST_HARD_BYTES    ((size_t)512 << 20)

/* How much waits to be read. A level is entered above its mark and left below the next
 * lower one, so that nothing flutters. */
enum host_level { HOST_EASY, HOST_CROWDED, HOST_FULL };

struct host_events {
	void (*message)(void *arg, const char *text, size_t n);
	void (*unreadable)(void *arg, enum frame_status why);
	void (*ended)(void *arg);                        /* end of stdin */
	void (*gone)(void *arg, const char *why);        /* stdout cannot be written any more */
	void (*taken)(void *arg);                        /* some output was written */
	void (*level)(void *arg, enum host_level level); /* it has changed */
};

struct host_io {
	int in_fd, out_fd;
	enum framing framing;
	size_t max_message;
};

struct host;
struct host *host_open(struct event_base *base, const struct host_io *io,
	const struct host_events *events, void *arg);
void host_close(struct host *h); /* restores the descriptors' flags; does not close them */

/* Keep a record of both ways from here on; borrowed, NULL ends it. */
void host_record(struct host *h, struct record *r);

void host_write(struct host *h, const char *text, size_t n); /* one message */
/* From here on no read of the host's finds more than HOST_BURST_BYTES. Hosts of the reference
 * give up on whoever fills their buffer of twice that, with whole messages even. */
void host_limit_bursts(struct host *h);
#define HOST_BURST_BYTES 32768
size_t host_queued(const struct host *h);
uint64_t host_given(const struct host *h); /* bytes given to host_write so far, framed */
uint64_t host_taken(const struct host *h); /* of which the descriptor took */
enum host_level host_level(const struct host *h);
void host_stop_reading(struct host *h);
#endif
