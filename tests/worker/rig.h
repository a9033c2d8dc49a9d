/* rig.h - an engine with a compute thread, the bundled model, and sinks that remember. */
#ifndef TESTS_WORKER_RIG_H
#define TESTS_WORKER_RIG_H
#include "protocol/buf.h"
#include "worker/catalog.h"
#include "worker/engine/engine.h"
#include <pthread.h>

#define RIG_MODEL "models/novel-7m"
#define HEARD_MAX 1024
#define RIG_KV    ((size_t)64 << 20)
/* Sanitizers make the kernels twenty times slower. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define RIG_IS_SLOW 1
#else
#define RIG_IS_SLOW 0
#endif
#define RIG_CONTEXT 512 /* of the bundled model */

struct rig {
	struct catalog *catalog;
	struct engine *engine;
	struct model_ref *model;
	pthread_t thread;
	bool running;
	uint64_t last_key;
};

/* What the sink of one job heard. Read it after rig_wait. */
struct heard {
	struct rig *rig;
	uint64_t key;
	struct heard_choice {
		int32_t ids[HEARD_MAX];
		float logprobs[HEARD_MAX];
		size_t text_at[HEARD_MAX + 1]; /* bytes of text before each token */
		size_t n, n_done;
		size_t n_before;          /* tokens of the earlier run that is resumed, */
		struct buf text, before;  /* and their text */
		struct job_result result; /* its pointers are not kept: see below */
	} choices[LIMIT_N];
	struct sampled verdicts[LIMIT_DRAFT + 1];
	float draft_logprobs[LIMIT_DRAFT + 1];
	size_t n_progress, processed, n_tokens;
	size_t order; /* of all jobs of the process: when it was over */
	/* Called on the compute thread for each token, before it is counted; may be NULL. */
	void (*on_token)(struct heard *h, const struct job_token *t);
	void (*on_progress)(struct heard *h);
	void *hook_arg;
	bool over, broken;
	pthread_mutex_t lock;
	pthread_cond_t moved;
};

struct rig *rig_open_with(const struct engine_options *opt);            /* nothing runs yet */
struct rig *rig_open(int threads, size_t kv_bytes, size_t max_running); /* nothing runs yet */
size_t rig_block_bytes(void); /* of the bundled model's KV pool */
void rig_start(struct rig *r);
struct rig *rig_new(void);                /* one thread, plenty of everything, started */
void rig_stop(struct rig *r, bool drain); /* and join */
void rig_free(struct rig *r);             /* drains first when running */

/* A generate job of 16 tokens, greedy with logprobs. Owned until submitted. */
struct job *rig_job(struct rig *r, const int32_t *prompt, size_t n);
struct job *rig_text_job(struct rig *r, const char *prompt);
/* The same behind 40 tokens of rig_prompt(), of so many tokens that no end of text ends. */
struct job *rig_long_job(struct rig *r, uint64_t salt, size_t n_tokens);
struct job *rig_check_job(
	struct rig *r, const int32_t *prompt, size_t n, const int32_t *draft, size_t n_draft);
/* Prompt of n ids, different for every salt. */
void rig_prompt(int32_t *ids, size_t n, uint64_t salt);

/* No KV block and no place is promised to anybody; of an engine that has stopped. */
void rig_must_owe_nothing(const struct rig *r);

struct heard *rig_submit(struct rig *r, struct job *j);
struct heard *rig_submit_hooked(struct rig *r, struct job *j, const struct heard *hooks);
void rig_wait(struct heard *h);
struct heard *rig_run(struct rig *r, struct job *j); /* submit and wait */
void heard_free(struct heard *h);                    /* waits first */
/* Same ids and the same bits of log-probability. */
void heard_must_equal(const struct heard_choice *a, const struct heard_choice *b, const char *what);
#endif
