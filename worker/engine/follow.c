/* follow.c - a draft's check goes on from a text under way. */
#include "worker/engine/follow.h"
#include "protocol/mem.h"
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

static struct task *find_in(struct task *list, uint64_t key)
{
	struct task *t;
	DL_FOREACH (list, t)
		if (t->job->key == key)
			return t->n_open > 0 && t->job->n_choices == 1 ? t : NULL;
	return NULL;
}

static struct task *find_text(const struct lane *l, uint64_t key)
{
	struct task *t = find_in(l->active, key);
	if (!t)
		t = find_in(l->held, key);
	return t ? t : find_in(l->waiting, key);
}

static int32_t *copy_ids(const int32_t *ids, size_t n)
{
	int32_t *copy = xcalloc(n + 1, sizeof *copy);
	if (n > 0)
		memcpy(copy, ids, n * sizeof *copy);
	return copy;
}

/* The text has n_ids so far, n_prompt of them prompt. */
static void take_over(struct job *j, const struct job *text, const int32_t *ids, size_t n_prompt)
{
	free(j->prompt);
	j->prompt = copy_ids(ids, n_prompt + j->n_resumed);
	j->n_prompt = n_prompt + j->n_resumed;
	j->stop_ids = copy_ids(text->stop_ids, text->n_stop_ids);
	j->n_stop_ids = text->n_stop_ids;
	j->min_tokens = text->min_tokens;
	j->ignore_eos = text->ignore_eos;
	j->cache_prompt = text->cache_prompt;
	j->cache_scope = text->cache_scope ? xstrdup(text->cache_scope) : NULL;
}

static int refuse(struct fault *f, const char *path)
{
	fault_add_str(f, "path", path);
	return ERR_INVALID_PARAMS;
}

int follow_begin(const struct lane *l, struct job *j, struct fault *f)
{
	if (j->follow_key == 0)
		return 0;
	const struct task *t = find_text(l, j->follow_key);
	const struct sequence *s = t ? t->seqs[0] : NULL;
	if (!t) {
		fault_set(f, ERR_INVALID_PARAMS, "stream_id: that stream is over");
		return refuse(f, "stream_id");
	}
	const size_t n_prompt = t->job->n_prompt - t->job->n_resumed;
	const size_t n_generated = s ? s->n_settled - s->n_prompt : t->job->n_resumed;
	if (j->follow_at != SIZE_MAX && j->follow_at > n_generated) {
		fault_set(f, ERR_INVALID_PARAMS,
			"index: the stream has %zu tokens, a draft from %zu on comes too early",
			n_generated, j->follow_at);
		return refuse(f, "index");
	}
	j->n_resumed = j->follow_at != SIZE_MAX ? j->follow_at : n_generated;
	take_over(j, t->job, s ? s->ids : t->job->prompt, n_prompt);
	return 0;
}

bool follow_share(const struct lane *l, struct sequence *s)
{
	const struct task *t = s->job->follow_key ? find_text(l, s->job->follow_key) : NULL;
	const struct sequence *text = t ? t->seqs[0] : NULL;
	if (!text || text->ended || text->kv.n_tokens == 0)
		return false;
	/* Its own last token is computed once more: that row's logits are wanted. */
	const size_t n = text->kv.n_tokens < s->n_settled ? text->kv.n_tokens : s->n_settled - 1;
	kv_share(&s->kv, &text->kv, n);
	s->n_cached = n;
	return n > 0;
}
