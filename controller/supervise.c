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
		[SUP_WORK] = STAY(SUP_STARTING),
		[SUP_IDLE] = STAY(SUP_STARTING),
		[SUP_DRAIN] = STAY(SUP_STARTING),
		[SUP_RESUME] = STAY(SUP_STARTING),
		[SUP_STOP] = GO(SUP_ENDING, SUP_CLOSE),
	},
	[SUP_LOADING] = {
		[SUP_HELLO] = STAY(SUP_LOADING),
		[SUP_MODELS_BACK] = GO(SUP_READY, SUP_SERVE),
		[SUP_UNFIT] = GO(SUP_FAILED, SUP_GIVE_UP),
		[SUP_DIED] = RETRY,
		[SUP_SILENT] = GO(SUP_LOADING, SUP_KILL),
		[SUP_DELAY_OVER] = STAY(SUP_LOADING),
		[SUP_WORK] = STAY(SUP_LOADING),
		[SUP_IDLE] = STAY(SUP_LOADING),
		[SUP_DRAIN] = STAY(SUP_LOADING),
		[SUP_RESUME] = STAY(SUP_LOADING),
		[SUP_STOP] = GO(SUP_ENDING, SUP_CLOSE),
	},
	[SUP_READY] = {
		[SUP_HELLO] = STAY(SUP_READY),
		[SUP_MODELS_BACK] = STAY(SUP_READY),
		/* In service even an orderly exit is a crash: nobody asked for it. */
		[SUP_UNFIT] = RETRY,
		[SUP_DIED] = RETRY,
		[SUP_SILENT] = GO(SUP_SILENCED, SUP_KILL),
		[SUP_DELAY_OVER] = STAY(SUP_READY),
		[SUP_WORK] = GO(SUP_BUSY, SUP_NOTHING),
		[SUP_IDLE] = STAY(SUP_READY),
		[SUP_DRAIN] = GO(SUP_PARKED, SUP_REST),
		[SUP_RESUME] = STAY(SUP_READY),
		[SUP_STOP] = GO(SUP_ENDING, SUP_CLOSE),
	},
	[SUP_BUSY] = {
		[SUP_HELLO] = STAY(SUP_BUSY),
		[SUP_MODELS_BACK] = STAY(SUP_BUSY),
		[SUP_UNFIT] = RETRY,
		[SUP_DIED] = RETRY,
		[SUP_SILENT] = GO(SUP_SILENCED, SUP_KILL),
		[SUP_DELAY_OVER] = STAY(SUP_BUSY),
		[SUP_WORK] = STAY(SUP_BUSY),
		[SUP_IDLE] = GO(SUP_READY, SUP_NOTHING),
		[SUP_DRAIN] = GO(SUP_RETIRING, SUP_NOTHING),
		[SUP_RESUME] = STAY(SUP_BUSY),
		[SUP_STOP] = GO(SUP_ENDING, SUP_CLOSE),
	},
	[SUP_RETIRING] = {
		[SUP_HELLO] = STAY(SUP_RETIRING),
		[SUP_MODELS_BACK] = STAY(SUP_RETIRING),
		/* What it had goes elsewhere; one that was to take nothing is not started again. */
		[SUP_UNFIT] = GO(SUP_STOPPED, SUP_BURY),
		[SUP_DIED] = GO(SUP_STOPPED, SUP_BURY),
		[SUP_SILENT] = GO(SUP_KILLED, SUP_KILL),
		[SUP_DELAY_OVER] = STAY(SUP_RETIRING),
		[SUP_WORK] = STAY(SUP_RETIRING),
		[SUP_IDLE] = GO(SUP_PARKED, SUP_REST),
		[SUP_DRAIN] = STAY(SUP_RETIRING),
		[SUP_RESUME] = GO(SUP_BUSY, SUP_SERVE),
		[SUP_STOP] = GO(SUP_ENDING, SUP_CLOSE),
	},
	[SUP_PARKED] = {
		[SUP_HELLO] = STAY(SUP_PARKED),
		[SUP_MODELS_BACK] = STAY(SUP_PARKED),
		[SUP_UNFIT] = GO(SUP_STOPPED, SUP_BURY),
		[SUP_DIED] = GO(SUP_STOPPED, SUP_BURY),
		[SUP_SILENT] = GO(SUP_KILLED, SUP_KILL),
		[SUP_DELAY_OVER] = STAY(SUP_PARKED),
		[SUP_WORK] = STAY(SUP_PARKED),
		[SUP_IDLE] = STAY(SUP_PARKED),
		[SUP_DRAIN] = STAY(SUP_PARKED),
		[SUP_RESUME] = GO(SUP_READY, SUP_SERVE),
		[SUP_STOP] = GO(SUP_ENDING, SUP_CLOSE),
	},
	[SUP_SILENCED] = {
		[SUP_HELLO] = STAY(SUP_SILENCED),
		[SUP_MODELS_BACK] = STAY(SUP_SILENCED),
		[SUP_UNFIT] = RETRY,
		[SUP_DIED] = RETRY,
		[SUP_SILENT] = STAY(SUP_SILENCED),
		[SUP_DELAY_OVER] = STAY(SUP_SILENCED),
		[SUP_WORK] = STAY(SUP_SILENCED),
		[SUP_IDLE] = STAY(SUP_SILENCED),
		[SUP_DRAIN] = STAY(SUP_SILENCED),
		[SUP_RESUME] = STAY(SUP_SILENCED),
		[SUP_STOP] = GO(SUP_KILLED, SUP_KILL),
	},
	[SUP_ENDING] = {
		[SUP_HELLO] = STAY(SUP_ENDING),
		[SUP_MODELS_BACK] = STAY(SUP_ENDING),
		[SUP_UNFIT] = GO(SUP_STOPPED, SUP_BURY),
		[SUP_DIED] = GO(SUP_STOPPED, SUP_BURY),
		[SUP_SILENT] = GO(SUP_KILLED, SUP_KILL),
		[SUP_DELAY_OVER] = STAY(SUP_ENDING),
		[SUP_WORK] = STAY(SUP_ENDING),
		[SUP_IDLE] = STAY(SUP_ENDING),
		[SUP_DRAIN] = STAY(SUP_ENDING),
		[SUP_RESUME] = STAY(SUP_ENDING),
		[SUP_STOP] = GO(SUP_KILLED, SUP_KILL),
	},
	[SUP_KILLED] = {
		[SUP_HELLO] = STAY(SUP_KILLED),
		[SUP_MODELS_BACK] = STAY(SUP_KILLED),
		[SUP_UNFIT] = GO(SUP_STOPPED, SUP_BURY),
		[SUP_DIED] = GO(SUP_STOPPED, SUP_BURY),
		[SUP_SILENT] = STAY(SUP_KILLED),
		[SUP_DELAY_OVER] = STAY(SUP_KILLED),
		[SUP_WORK] = STAY(SUP_KILLED),
		[SUP_IDLE] = STAY(SUP_KILLED),
		[SUP_DRAIN] = STAY(SUP_KILLED),
		[SUP_RESUME] = STAY(SUP_KILLED),
		[SUP_STOP] = STAY(SUP_KILLED),
	},
	[SUP_BACKOFF] = {
		[SUP_HELLO] = STAY(SUP_BACKOFF),
		[SUP_MODELS_BACK] = STAY(SUP_BACKOFF),
		[SUP_UNFIT] = GO(SUP_FAILED, SUP_GIVE_UP),
		[SUP_DIED] = STAY(SUP_BACKOFF),
		[SUP_SILENT] = STAY(SUP_BACKOFF),
		[SUP_DELAY_OVER] = GO(SUP_STARTING, SUP_SPAWN),
		[SUP_WORK] = STAY(SUP_BACKOFF),
		[SUP_IDLE] = STAY(SUP_BACKOFF),
		[SUP_DRAIN] = STAY(SUP_BACKOFF),
		[SUP_RESUME] = STAY(SUP_BACKOFF),
		[SUP_STOP] = GO(SUP_STOPPED, SUP_BURY),
	},
	[SUP_FAILED] = {
		[SUP_HELLO] = STAY(SUP_FAILED),
		[SUP_MODELS_BACK] = STAY(SUP_FAILED),
		[SUP_UNFIT] = STAY(SUP_FAILED),
		[SUP_DIED] = STAY(SUP_FAILED),
		[SUP_SILENT] = STAY(SUP_FAILED),
		[SUP_DELAY_OVER] = STAY(SUP_FAILED),
		[SUP_WORK] = STAY(SUP_FAILED),
		[SUP_IDLE] = STAY(SUP_FAILED),
		[SUP_DRAIN] = STAY(SUP_FAILED),
		[SUP_RESUME] = STAY(SUP_FAILED),
		[SUP_STOP] = GO(SUP_STOPPED, SUP_BURY),
	},
	[SUP_STOPPED] = {
		[SUP_HELLO] = STAY(SUP_STOPPED),
		[SUP_MODELS_BACK] = STAY(SUP_STOPPED),
		[SUP_UNFIT] = STAY(SUP_STOPPED),
		[SUP_DIED] = STAY(SUP_STOPPED),
		[SUP_SILENT] = STAY(SUP_STOPPED),
		[SUP_DELAY_OVER] = STAY(SUP_STOPPED),
		[SUP_WORK] = STAY(SUP_STOPPED),
		[SUP_IDLE] = STAY(SUP_STOPPED),
		[SUP_DRAIN] = STAY(SUP_STOPPED),
		[SUP_RESUME] = STAY(SUP_STOPPED),
		[SUP_STOP] = STAY(SUP_STOPPED),
	},
};

static const char *const NAMES[SUP_N_STATES] = {
	[SUP_STARTING] = "starting",
	[SUP_LOADING] = "loading",
	[SUP_READY] = "ready",
	[SUP_BUSY] = "busy",
	[SUP_RETIRING] = "draining",
	[SUP_PARKED] = "drained",
	[SUP_SILENCED] = "stopped_answering",
	[SUP_ENDING] = "ending",
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

bool sup_serves(enum sup_state s)
{
	return s == SUP_READY || s == SUP_BUSY;
}

bool sup_may_serve(enum sup_state s)
{
	return sup_serves(s) || s == SUP_STARTING || s == SUP_LOADING || s == SUP_SILENCED ||
	       s == SUP_BACKOFF;
}

bool sup_answers(enum sup_state s)
{
	return sup_serves(s) || s == SUP_LOADING || s == SUP_RETIRING || s == SUP_PARKED;
}

bool sup_is_unfit_code(int exit_code)
{
	return exit_code >= 64 && exit_code <= 78;
}
