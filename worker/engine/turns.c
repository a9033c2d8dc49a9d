/* turns.c - whose texts decode in the next step, for step.c. */
#include "worker/engine/turns.h"
#include "protocol/mem.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define N_CLASSES (PRIORITY_BACKGROUND + 1)

struct turn *turns_join(struct turn **turns, enum job_priority priority, const char *client)
{
	const size_t n = (client ? strlen(client) : 0) + 2;
	struct turn *t = xcalloc(1, sizeof *t + n), *known;
	snprintf(t->key, n, "%d%s", (int)priority, client ? client : "");
	HASH_FIND_STR(*turns, t->key, known);
	if (known) {
		free(t);
		t = known;
	} else {
		t->priority = priority;
		HASH_ADD_KEYPTR(hh, *turns, t->key, n - 1, t);
	}
	t->n_tasks++;
	return t;
}

void turns_leave(struct turn **turns, struct turn *t)
{
	if (!t || --t->n_tasks > 0)
		return;
	HASH_DEL(*turns, t);
	free(t);
}

static bool counts(const struct turn_seat *s)
{
	return s->turn && s->decodes;
}

void turns_plan(struct turn_seat *seats, size_t n, uint64_t step)
{
	uint64_t going[N_CLASSES], least[N_CLASSES];
	for (int c = 0; c < N_CLASSES; c++)
		going[c] = least[c] = UINT64_MAX;
	for (size_t i = 0; i < n; i++) {
		const struct turn *t = seats[i].turn;
		if (counts(&seats[i]) && t->last_step + 1 == step &&
			t->n_tokens < going[t->priority])
			going[t->priority] = t->n_tokens;
	}
	for (size_t i = 0; i < n; i++) {
		struct turn *t = seats[i].turn;
		if (!counts(&seats[i]))
			continue;
		const uint64_t others = going[t->priority];
		if (t->last_step + 1 < step && others != UINT64_MAX && t->n_tokens < others)
			t->n_tokens = others;
		t->last_step = step;
		if (t->n_tokens < least[t->priority])
			least[t->priority] = t->n_tokens;
	}
	for (size_t i = 0; i < n; i++)
		seats[i].may = !counts(&seats[i]) ||
			       seats[i].turn->n_tokens <= least[seats[i].turn->priority];
}
