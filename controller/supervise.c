/* supervise.c - the supervision table. */
#include "controller/supervise.h"
#include <string.h>

/* What a row says: where to go and what to do. RETRY is decided by the restart intensity:
 * SUP_BACKOFF/SUP_WAIT while it allows one more, SUP_FAILED/SUP_GIVE_UP otherwise. */
struct step {
	enum sup_state next;
	enum sup_action action;
	bool retry;
};

#define STAY(state)                         \
	{                                   \
		(state), SUP_NOTHING, false \
	}
#define GO(next, action)                \
	{                               \
		(next), (action), false \
	}
#define RETRY                               \
	{                                   \
		SUP_BACKOFF, SUP_WAIT, true \
	}

static const struct step TABLE[SUP_N_STATES][SUP_N_EVENTS] = {
	[SUP_STARTING] = {
		[SUP_HELLO] = GO(SUP_LOADING, SUP_RELOAD),
		[SUP_MODELS_BACK] = STAY(SUP_STARTING),
		[SUP_UNFIT] = GO(SUP_FAILED, SUP_GIVE_UP),
		[SUP_DIED] = RETRY,
		[SUP_SILENT] = GO(SUP_STARTING, SUP_KILL),
		[SUP_DELAY_OVER] = STAY(SUP_STARTING),
		[SUP_STOP] = GO(SUP_DRAINING, SUP_CLOSE),
	},
	[SUP_LOADING] = {
		[SUP_HELLO] = STAY(SUP_LOADING),
		[SUP_MODELS_BACK] = GO(SUP_READY, SUP_SERVE),
		[SUP_UNFIT] = GO(SUP_FAILED, SUP_GIVE_UP),
		[SUP_DIED] = RETRY,
		[SUP_SILENT] = GO(SUP_LOADING, SUP_KILL),
		[SUP_DELAY_OVER] = STAY(SUP_LOADING),
		[SUP_STOP] = GO(SUP_DRAINING, SUP_CLOSE),
	},
	[SUP_READY] = {
		[SUP_HELLO] = STAY(SUP_READY),
		[SUP_MODELS_BACK] = STAY(SUP_READY),
		/* In service even an orderly exit is a crash: nobody asked for it. */
		[SUP_UNFIT] = RETRY,
		[SUP_DIED] = RETRY,
		[SUP_SILENT] = GO(SUP_SILENCED, SUP_KILL),
		[SUP_DELAY_OVER] = STAY(SUP_READY),
		[SUP_STOP] = GO(SUP_DRAINING, SUP_CLOSE),
	},
	[SUP_SILENCED] = {
		[SUP_HELLO] = STAY(SUP_SILENCED),
		[SUP_MODELS_BACK] = STAY(SUP_SILENCED),
		[SUP_UNFIT] = RETRY,
		[SUP_DIED] = RETRY,
		[SUP_SILENT] = STAY(SUP_SILENCED),
		[SUP_DELAY_OVER] = STAY(SUP_SILENCED),
		[SUP_STOP] = GO(SUP_KILLED, SUP_KILL),
	},
	[SUP_DRAINING] = {
		[SUP_HELLO] = STAY(SUP_DRAINING),
		[SUP_MODELS_BACK] = STAY(SUP_DRAINING),
		[SUP_UNFIT] = GO(SUP_STOPPED, SUP_BURY),
		[SUP_DIED] = GO(SUP_STOPPED, SUP_BURY),
		/* Its stdout closes before it exits; only a second STOP forces it. */
		[SUP_SILENT] = STAY(SUP_DRAINING),
		[SUP_DELAY_OVER] = STAY(SUP_DRAINING),
		[SUP_STOP] = GO(SUP_KILLED, SUP_KILL),
	},
	[SUP_KILLED] = {
		[SUP_HELLO] = STAY(SUP_KILLED),
		[SUP_MODELS_BACK] = STAY(SUP_KILLED),
		[SUP_UNFIT] = GO(SUP_STOPPED, SUP_BURY),
		[SUP_DIED] = GO(SUP_STOPPED, SUP_BURY),
		[SUP_SILENT] = STAY(SUP_KILLED),
		[SUP_DELAY_OVER] = STAY(SUP_KILLED),
		[SUP_STOP] = STAY(SUP_KILLED),
	},
	[SUP_BACKOFF] = {
		[SUP_HELLO] = STAY(SUP_BACKOFF),
		[SUP_MODELS_BACK] = STAY(SUP_BACKOFF),
		[SUP_UNFIT] = GO(SUP_FAILED, SUP_GIVE_UP),
		[SUP_DIED] = STAY(SUP_BACKOFF),
		[SUP_SILENT] = STAY(SUP_BACKOFF),
		[SUP_DELAY_OVER] = GO(SUP_STARTING, SUP_SPAWN),
		[SUP_STOP] = GO(SUP_STOPPED, SUP_BURY),
	},
	[SUP_FAILED] = {
		[SUP_HELLO] = STAY(SUP_FAILED),
		[SUP_MODELS_BACK] = STAY(SUP_FAILED),
		[SUP_UNFIT] = STAY(SUP_FAILED),
		[SUP_DIED] = STAY(SUP_FAILED),
		[SUP_SILENT] = STAY(SUP_FAILED),
		[SUP_DELAY_OVER] = STAY(SUP_FAILED),
		[SUP_STOP] = GO(SUP_STOPPED, SUP_BURY),
	},
	[SUP_STOPPED] = {
		[SUP_HELLO] = STAY(SUP_STOPPED),
		[SUP_MODELS_BACK] = STAY(SUP_STOPPED),
		[SUP_UNFIT] = STAY(SUP_STOPPED),
		[SUP_DIED] = STAY(SUP_STOPPED),
		[SUP_SILENT] = STAY(SUP_STOPPED),
		[SUP_DELAY_OVER] = STAY(SUP_STOPPED),
		[SUP_STOP] = STAY(SUP_STOPPED),
	},
};

static const char *const NAMES[SUP_N_STATES] = {
	[SUP_STARTING] = "starting",
	[SUP_LOADING] = "loading",
	[SUP_READY] = "ready",
	[SUP_SILENCED] = "stopped_answering",
	[SUP_DRAINING] = "draining",
	[SUP_KILLED] = "killed",
	[SUP_BACKOFF] = "backoff",
	[SUP_FAILED] = "failed",
	[SUP_STOPPED] = "stopped",
};

void sup_init(struct supervise *s, unsigned max_restarts)
{
	memset(s, 0, sizeof *s);
	s->state = SUP_STARTING;
	s->max_restarts = max_restarts;
}

/* Deaths inside the window that ends now. */
static unsigned recent_deaths(const struct supervise *s, uint64_t now_us)
{
	unsigned held = s->n_deaths < SUP_RESTARTS_MAX ? s->n_deaths : SUP_RESTARTS_MAX, recent = 0;
	for (unsigned i = 0; i < held; i++)
		if (now_us - s->deaths[i] < SUP_WINDOW_US)
			recent++;
	return recent;
}

/* Doubling with the recent deaths, spread over [3/4, 5/4) so that workers that fell
 * together do not rise together. */
static unsigned delay_ms(unsigned recent, uint32_t noise)
{
	unsigned ms = SUP_DELAY_MIN_MS << (recent < 8 ? recent : 8);
	if (ms > SUP_DELAY_MAX_MS)
		ms = SUP_DELAY_MAX_MS;
	return ms * 3 / 4 + noise % (ms / 2);
}

static bool may_retry(struct supervise *s, uint64_t now_us, uint32_t noise)
{
	unsigned recent = recent_deaths(s, now_us);
	if (recent >= s->max_restarts)
		return false;
	s->deaths[s->n_deaths % SUP_RESTARTS_MAX] = now_us;
	s->n_deaths++;
	s->delay_ms = delay_ms(recent, noise);
	return true;
}

enum sup_action sup_happened(
	struct supervise *s, enum sup_event event, uint64_t now_us, uint32_t noise)
{
	const struct step *step = &TABLE[s->state][event];
	if (step->retry && !may_retry(s, now_us, noise)) {
		s->state = SUP_FAILED;
		return SUP_GIVE_UP;
	}
	s->state = step->next;
	if (step->action == SUP_SPAWN)
		s->restarts++;
	return step->action;
}

const char *sup_state_name(enum sup_state s)
{
	return NAMES[s];
}

bool sup_is_alive(enum sup_state s)
{
	return s <= SUP_KILLED;
}

bool sup_may_serve(enum sup_state s)
{
	return s == SUP_STARTING || s == SUP_LOADING || s == SUP_READY || s == SUP_SILENCED ||
	       s == SUP_BACKOFF;
}

bool sup_is_unfit_code(int exit_code)
{
	return exit_code >= 64 && exit_code <= 78;
}
