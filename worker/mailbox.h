/* mailbox.h - how other threads hand work to the I/O thread.
 *
 * A letter lives inside the object it is about (no allocation per token); it is in the box
 * at most once at a time, which its sender sees to. Letters are opened in the order sent.
 * Everything the host can see is decided on the I/O thread, so tables, streams and the
 * outbox need no locks of their own. */
#ifndef WORKER_MAILBOX_H
#define WORKER_MAILBOX_H
#include <pthread.h>
#include <stddef.h>

/* The object that holds a member: for letters, chores and calls embedded in what they are
 * about. */
#define HOLDER(member_ptr, type, member) ((type *)((char *)(member_ptr)-offsetof(type, member)))

struct letter {
	void (*open)(struct letter *l); /* on the I/O thread; may free what holds *l */
	struct letter *next;
};

struct mailbox {
	pthread_mutex_t lock;
	struct letter *first, *last;
	int fd; /* eventfd: readable while a letter waits */
};

int mailbox_init(struct mailbox *m); /* 0, or ERR_IO */
void mailbox_release(struct mailbox *m);
void mailbox_send(struct mailbox *m, struct letter *l); /* any thread */
void mailbox_open(struct mailbox *m);                   /* the I/O thread: open all */
#endif
