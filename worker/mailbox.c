/* mailbox.c - other threads' letters to the I/O thread. */
#include "worker/mailbox.h"
#include "protocol/err.h"
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

int mailbox_init(struct mailbox *m)
{
	*m = (struct mailbox) { .fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) };
	if (m->fd < 0)
		return ERR_IO;
	pthread_mutex_init(&m->lock, NULL);
	return 0;
}

void mailbox_release(struct mailbox *m)
{
	close(m->fd);
	pthread_mutex_destroy(&m->lock);
}

void mailbox_send(struct mailbox *m, struct letter *l)
{
	l->next = NULL;
	pthread_mutex_lock(&m->lock);
	const bool was_empty = !m->first;
	if (was_empty)
		m->first = l;
	else
		m->last->next = l;
	m->last = l;
	pthread_mutex_unlock(&m->lock);
	/* Only the letter that ends the silence rings: one system call a step, not a token. */
	if (was_empty && write(m->fd, &(uint64_t) { 1 }, sizeof(uint64_t)) < 0)
		return; /* a full counter is readable already */
}

void mailbox_open(struct mailbox *m)
{
	uint64_t rung;
	if (read(m->fd, &rung, sizeof rung) < 0)
		rung = 0; /* nothing rang since; letters may wait all the same */
	pthread_mutex_lock(&m->lock);
	struct letter *l = m->first;
	m->first = m->last = NULL;
	pthread_mutex_unlock(&m->lock);
	while (l) {
		struct letter *next = l->next; /* open() may free or send l again */
		l->open(l);
		l = next;
	}
}
