/* room.c - who is let in, and whose blocks they are. */
#include "worker/engine/room.h"
#include "protocol/log.h"
#include "worker/engine/follow.h"
#include <math.h>
#include <utlist.h>

static size_t blocks_of(size_t n_positions)
{
	return (n_positions + KV_BLOCK_TOKENS - 1) / KV_BLOCK_TOKENS;
}

static size_t smaller(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* Choices share the whole blocks of the prompt, and nothing else. */
static size_t blocks_needed(const struct task *t)
{
	const struct job *j = t->job;
	size_t one = blocks_of(sequence_positions(j));
	/* The last of its rows some compute anew beside others that are resumed. */
	size_t shared = (j->n_prompt - j->n_resumed - (j->n_resumed > 0)) / KV_BLOCK_TOKENS;
	size_t n = (size_t)task_choices(t);
	return one + (n - 1) * (one - shared);
}

static bool may_park(const struct task *t)
{
	return t->job->priority == PRIORITY_BACKGROUND && t->job->kind == JOB_GENERATE &&
	       t->job->n_choices == 1;
}

bool room_measure(struct lane *l, struct task *t, struct fault *f)
{
	t->full_blocks = blocks_needed(t);
	if (t->full_blocks <= l->capacity.blocks)
		return true;
	fault_set(f, ERR_NOMEM,
		"the request may need %zu KV blocks of %d tokens, all there are for %s is %zu: "
		"ask for fewer tokens or give more --kv-bytes",
		t->full_blocks, KV_BLOCK_TOKENS, l->model_id, l->capacity.blocks);
	fault_add_str(f, "model_id", l->model_id);
	fault_add_int(f, "blocks_needed", (int64_t)t->full_blocks);
	fault_add_int(f, "blocks", (int64_t)l->capacity.blocks);
	fault_add_int(f, "block_tokens", KV_BLOCK_TOKENS);
	return false;
}

/* Ranks mostly rise with arrival, so the place is found fastest from the end. */
void room_queue(struct lane *l, struct task *t)
{
	struct task *at = l->waiting ? l->waiting->prev : NULL;
	while (at && at->rank > t->rank)
		at = at == l->waiting ? NULL : at->prev;
	if (at)
		DL_APPEND_ELEM(l->waiting, at, t);
	else
		DL_PREPEND(l->waiting, t);
}

/* -- parking -------------------------------------------------------------------------------- */

/* Its sequence leaves the running ones with the next lane_settle. */
static void park(struct lane *l, struct task *t)
{
	log_debug("%s: job %llu is parked, its %zu blocks are needed", l->model_id,
		(unsigned long long)t->job->key, t->blocks);
	l->promised.blocks -= t->blocks;
	l->promised.slots -= (size_t)task_choices(t);
	l->n_parked++;
	t->is_parked = true;
	sequence_park(t->seqs[0]);
	DL_DELETE(l->active, t);
	room_queue(l, t);
}

static bool is_growing(const struct task *t)
{
	return t->blocks < t->full_blocks;
}

/* Of the background that comes after `rank`: who has to leave, so that `need` blocks more can
 * be promised, or NULL if that would not do. With only_growing, who was promised everything
 * stays. */
static struct task *find_victim(struct lane *l, double rank, size_t need, bool only_growing)
{
	for (size_t i = 0; i < l->n_running; i++) {
		const struct task *t = l->running[i]->task;
		bool may = may_park(t) && t->n_open > 0 && !t->is_parked &&
			   (is_growing(t) || !only_growing);
		l->holders[i] = (struct sched_holder) { t->rank, may ? t->blocks : 0 };
	}
	size_t free_blocks = l->capacity.blocks - l->promised.blocks;
	if (need <= free_blocks)
		return NULL;
	size_t i = sched_victim(l->holders, l->n_running, rank, need - free_blocks);
	return i < l->n_running ? l->running[i]->task : NULL;
}

static void grow(struct lane *l, struct task *t)
{
	size_t need = blocks_of(t->seqs[0]->n_ids);
	size_t more = need > t->blocks ? need - t->blocks : 0;
	while (more > l->capacity.blocks - l->promised.blocks) {
		struct task *victim = find_victim(l, -INFINITY, more, true);
		park(l, victim ? victim : t);
		if (t->is_parked)
			return;
	}
	t->blocks += more;
	l->promised.blocks += more;
}

void room_grow(struct lane *l)
{
	for (size_t i = 0; i < l->n_running; i++) {
		struct task *t = l->running[i]->task;
		if (t->n_open > 0 && !t->is_parked && is_growing(t))
			grow(l, t);
	}
	lane_settle(l);
}

/* -- coming in ------------------------------------------------------------------------------ */

/* Who was parked does not risk it again for want of blocks. */
static size_t first_promise(const struct task *t)
{
	if (t->is_parked || !may_park(t))
		return t->full_blocks;
	return smaller(t->full_blocks, blocks_of(t->job->n_prompt + 1));
}

/* One choice reads the prompt, the others begin with its cache (step.c). */
static void start(struct lane *l, struct task *t)
{
	struct sequence *s = NULL;
	for (int i = 0; i < task_choices(t) && !s; i++)
		s = lane_begin(l, t, i);
	if (!s)
		return;
	if (!follow_share(l, s))
		sequence_use_cache(s, l->prefixes);
	lane_run(l, s);
}

static void admit(struct lane *l, struct task *t, double now)
{
	DL_DELETE(l->waiting, t);
	DL_APPEND(l->active, t);
	t->blocks = first_promise(t);
	l->promised.blocks += t->blocks;
	l->promised.slots += (size_t)task_choices(t);
	log_trace("sched", "job %llu: let in%s after %.1f ms, %zu of %zu blocks promised",
		(unsigned long long)t->job->key, t->is_parked ? " again" : "",
		(now - t->job->arrived) * 1e3, t->blocks, t->full_blocks);
	if (t->is_parked) {
		t->is_parked = false;
		sequence_unpark(t->seqs[0], l->prefixes);
		lane_run(l, t->seqs[0]);
	} else {
		t->started = now;
		start(l, t);
	}
}

/* Of the class that is first in line, the first of the client that has the fewest running. */
static struct task *next_in_line(struct lane *l)
{
	struct task *t, *best = l->waiting;
	struct turn *turn;
	if (HASH_COUNT(l->turns) < 2)
		return best;
	for (turn = l->turns; turn; turn = turn->hh.next)
		turn->n_running = 0;
	DL_FOREACH (l->active, t)
		if (t->turn)
			t->turn->n_running++;
	DL_FOREACH (l->waiting, t)
		if (t->turn && best->turn && t->job->priority == best->job->priority &&
			t->turn->n_running < best->turn->n_running)
			best = t;
	return best;
}

/* Nobody overtakes whose turn it is: what is large would else wait for ever. */
void room_admit(struct lane *l, double now)
{
	while (l->waiting) {
		struct task *t = next_in_line(l), *victim;
		struct sched_demand need = { first_promise(t), (size_t)task_choices(t) };
		if (sched_admit(&need, &l->promised, &l->capacity) == SCHED_NOW) {
			admit(l, t, now);
			continue;
		}
		if (t->job->priority == PRIORITY_BACKGROUND)
			return;
		victim = find_victim(l, t->rank, need.blocks, false);
		if (!victim)
			return;
		park(l, victim);
		lane_settle(l);
	}
}
