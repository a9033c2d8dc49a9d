/* mailbox, workq and flow: where threads meet. */
#include "worker/mailbox.h"
#include "worker/workq.h"
#include <criterion/criterion.h>
#include <poll.h>
#include <stdint.h>

#define N_SENDERS 4
#define N_LETTERS 500

TestSuite(threads, .timeout = 60);

struct numbered {
	struct letter letter;
	int sender, number;
};

static struct mailbox box;
static struct numbered letters[N_SENDERS][N_LETTERS];
static int next_of[N_SENDERS], n_opened;

static void open_numbered(struct letter *l)
{
	const struct numbered *n = HOLDER(l, struct numbered, letter);
	cr_assert_eq(n->number, next_of[n->sender]);
	next_of[n->sender]++;
	n_opened++;
}

static void *send_all(void *arg)
{
	const int sender = (int)(intptr_t)arg;
	for (int i = 0; i < N_LETTERS; i++) {
		letters[sender][i] = (struct numbered) { { open_numbered, NULL }, sender, i };
		mailbox_send(&box, &letters[sender][i].letter);
	}
	return NULL;
}

Test(threads, every_letter_is_opened_once_and_in_its_senders_order)
{
	pthread_t t[N_SENDERS];
	cr_assert_eq(mailbox_init(&box), 0);
	for (intptr_t i = 0; i < N_SENDERS; i++)
		pthread_create(&t[i], NULL, send_all, (void *)i);
	while (n_opened < N_SENDERS * N_LETTERS) {
		struct pollfd p = { box.fd, POLLIN, 0 };
		cr_assert_eq(poll(&p, 1, 30000), 1, "a letter waits and nothing rang");
		mailbox_open(&box);
	}
	for (int i = 0; i < N_SENDERS; i++)
		pthread_join(t[i], NULL);
	mailbox_release(&box);
}

static int resent;

static void open_again(struct letter *l)
{
	if (++resent < 3)
		mailbox_send(&box, l);
}

Test(threads, a_letter_may_be_sent_again_while_it_is_opened)
{
	struct letter l = { open_again, NULL };
	mailbox_init(&box);
	mailbox_send(&box, &l);
	while (resent < 3) {
		struct pollfd p = { box.fd, POLLIN, 0 };
		cr_assert_eq(poll(&p, 1, 30000), 1);
		mailbox_open(&box);
	}
	mailbox_release(&box);
}

static struct chore chores[100];
static int n_run;

static void run_in_order(struct chore *c)
{
	cr_assert_eq(c - chores, n_run);
	n_run++;
}

Test(threads, chores_run_in_order_and_stopping_waits_for_all)
{
	struct workq q;
	cr_assert_eq(workq_start(&q, "test", 1), 0);
	for (int i = 0; i < 100; i++) {
		chores[i].run = run_in_order;
		workq_push(&q, &chores[i]);
	}
	workq_stop(&q);
	cr_assert_eq(n_run, 100);
}

static pthread_barrier_t all_here;

static void meet(struct chore *c)
{
	(void)c;
	pthread_barrier_wait(&all_here);
}

Test(threads, chores_of_several_threads_run_side_by_side, .timeout = 30)
{
	struct workq q;
	pthread_barrier_init(&all_here, NULL, 3);
	cr_assert_eq(workq_start(&q, "test", 3), 0);
	for (int i = 0; i < 9; i++) {
		chores[i].run = meet;
		workq_push(&q, &chores[i]);
	}
	workq_stop(&q);
	pthread_barrier_destroy(&all_here);
}
