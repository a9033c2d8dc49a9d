/* inbox.c - the one place where other threads reach the compute thread. */
#include "worker/engine/inbox.h"
#include <math.h>
#include <time.h>
#include <utlist.h>

void inbox_init(struct inbox *in)
{
	*in = (struct inbox) { 0 };
	pthread_mutex_init(&in->lock, NULL);
	pthread_condattr_t attr;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&in->moved, &attr);
	pthread_condattr_destroy(&attr);
}

void inbox_release(struct inbox *in)
{
	HASH_CLEAR(hh, in->table);
	pthread_cond_destroy(&in->moved);
	pthread_mutex_destroy(&in->lock);
}

void inbox_put(struct inbox *in, struct task *t)
{
	pthread_mutex_lock(&in->lock);
	t->refused = in->stopping;
	HASH_ADD(hh, in->table, job->key, sizeof t->job->key, t);
	DL_APPEND(in->line, t);
	pthread_cond_signal(&in->moved);
	pthread_mutex_unlock(&in->lock);
}

void inbox_gather(struct inbox *in, bool gathers)
{
	pthread_mutex_lock(&in->lock);
	in->gathers = gathers;
	if (in->line && !gathers)
		pthread_cond_signal(&in->moved);
	pthread_mutex_unlock(&in->lock);
}

static bool has_line(const struct inbox *in)
{
	return in->line && !in->gathers;
}

static void ring(struct inbox *in)
{
	in->rung = true;
	pthread_cond_signal(&in->moved);
}

bool inbox_cancel(struct inbox *in, uint64_t key)
{
	struct task *t;
	pthread_mutex_lock(&in->lock);
	HASH_FIND(hh, in->table, &key, sizeof key, t);
	if (t)
		atomic_store(&t->cancelled, true);
	ring(in);
	pthread_mutex_unlock(&in->lock);
	return t;
}

bool inbox_hold(struct inbox *in, uint64_t key, bool is_held)
{
	struct task *t;
	pthread_mutex_lock(&in->lock);
	HASH_FIND(hh, in->table, &key, sizeof key, t);
	if (t)
		atomic_store(&t->held, is_held);
	ring(in);
	pthread_mutex_unlock(&in->lock);
	return t;
}

static void cancel_all(struct inbox *in, const struct model_ref *m)
{
	struct task *t, *next;
	HASH_ITER (hh, in->table, t, next)
		if (!m || t->job->model == m || t->job->draft_model == m)
			atomic_store(&t->cancelled, true);
	ring(in);
}

void inbox_cancel_model(struct inbox *in, const struct model_ref *m)
{
	pthread_mutex_lock(&in->lock);
	cancel_all(in, m);
	pthread_mutex_unlock(&in->lock);
}

size_t inbox_count(struct inbox *in)
{
	pthread_mutex_lock(&in->lock);
	size_t n = HASH_COUNT(in->table);
	pthread_mutex_unlock(&in->lock);
	return n;
}

void inbox_stop(struct inbox *in, bool drain)
{
	pthread_mutex_lock(&in->lock);
	in->stopping = true;
	if (!drain)
		cancel_all(in, NULL);
	pthread_cond_signal(&in->moved);
	pthread_mutex_unlock(&in->lock);
}

static struct timespec from_now(double seconds)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	const double ns = (double)t.tv_nsec + fmod(seconds, 1) * 1e9;
	t.tv_sec += (time_t)seconds + (time_t)(ns / 1e9);
	t.tv_nsec = (long)fmod(ns, 1e9);
	return t;
}

struct task *inbox_take(struct inbox *in, double wait_s)
{
	const struct timespec until = from_now(wait_s > 0 ? wait_s : 0);
	int rc = 0;
	pthread_mutex_lock(&in->lock);
	while (wait_s != 0 && rc == 0 && !has_line(in) && !in->stopping && !in->rung)
		rc = wait_s < 0 ? pthread_cond_wait(&in->moved, &in->lock)
				: pthread_cond_timedwait(&in->moved, &in->lock, &until);
	struct task *line = has_line(in) ? in->line : NULL;
	if (line)
		in->line = NULL;
	in->rung = false;
	pthread_mutex_unlock(&in->lock);
	return line;
}

bool inbox_is_over(struct inbox *in)
{
	pthread_mutex_lock(&in->lock);
	bool over = in->stopping && !in->line;
	pthread_mutex_unlock(&in->lock);
	return over;
}

bool inbox_close(struct inbox *in, struct task *t)
{
	pthread_mutex_lock(&in->lock);
	HASH_DEL(in->table, t);
	pthread_mutex_unlock(&in->lock);
	return atomic_load(&t->cancelled);
}
