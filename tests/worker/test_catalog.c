#include "worker/catalog.h"
#include <criterion/criterion.h>
#include <pthread.h>
#include <string.h>

#define MODEL "models/novel-7m"

static struct catalog *catalog;
static struct fault fault;

static void setup(void)
{
	catalog = catalog_new();
	fault = (struct fault) { 0 };
}
static void teardown(void)
{
	catalog_free(catalog);
}
TestSuite(catalog, .init = setup, .fini = teardown, .timeout = 60);

static struct model *load(void)
{
	struct model *m = NULL;
	cr_assert_eq(model_open(&(struct model_options) { .path = MODEL }, &m, &fault), 0, "%s",
		fault.text);
	return m;
}

Test(catalog, knows_what_was_put_under_its_id)
{
	struct model *m = load();
	catalog_put(catalog, "a", m);
	struct model_ref *r = catalog_get(catalog, "a", &fault);
	cr_assert_eq(model_ref_model(r), m);
	cr_assert_str_eq(model_ref_id(r), "a");
	model_ref_release(r);
}

Test(catalog, says_which_model_is_not_loaded)
{
	cr_assert_null(catalog_get(catalog, "no/such", &fault));
	cr_assert_eq(fault.err, ERR_MODEL_NOT_LOADED);
	cr_assert_str_eq(fault.text, "Model not loaded: no/such");
	cr_assert_not_null(strstr(fault.data, "\"model_id\":\"no/such\""));
	cr_assert_eq(catalog_remove(catalog, "no/such", &fault), ERR_MODEL_NOT_LOADED);
}

Test(catalog, a_removed_model_lives_until_its_last_user_lets_go)
{
	catalog_put(catalog, "a", load());
	struct model_ref *r = catalog_get(catalog, "a", &fault);
	cr_assert_eq(catalog_remove(catalog, "a", &fault), 0);
	cr_assert_null(catalog_get(catalog, "a", &fault));
	cr_assert_gt(model_info(model_ref_model(r))->vocab_size, 0);
	model_ref_release(r);
}

Test(catalog, a_replaced_model_lives_on_for_who_has_it)
{
	catalog_put(catalog, "a", load());
	struct model_ref *old = catalog_get(catalog, "a", &fault);
	catalog_put(catalog, "a", load());
	struct model_ref *new = catalog_get(catalog, "a", &fault);
	cr_assert_neq(old, new);
	cr_assert_eq(model_info(model_ref_model(old))->vocab_size,
		model_info(model_ref_model(new))->vocab_size);
	model_ref_release(new);
	model_ref_release(old);
}

static int n_freed;
static void free_state(void *state)
{
	n_freed += *(int *)state;
}

Test(catalog, the_state_goes_with_the_last_reference)
{
	static int one = 1;
	catalog_put(catalog, "a", load());
	struct model_ref *r = catalog_get(catalog, "a", &fault);
	cr_assert_null(model_ref_state(r));
	model_ref_set_state(r, &one, free_state);
	cr_assert_eq(model_ref_state(r), &one);
	catalog_remove(catalog, "a", &fault);
	cr_assert_eq(n_freed, 0);
	model_ref_release(r);
	cr_assert_eq(n_freed, 1);
}

static void count(void *arg, const struct model_ref *r)
{
	*(int *)arg += (int)strlen(model_ref_id(r));
}

Test(catalog, each_visits_every_model)
{
	int n = 0;
	catalog_put(catalog, "a", load());
	catalog_put(catalog, "bb", load());
	catalog_each(catalog, count, &n);
	cr_assert_eq(n, 3);
}

static void *get_and_release(void *arg)
{
	(void)arg;
	for (int i = 0; i < 2000; i++)
		model_ref_release(catalog_get(catalog, "a", NULL));
	return NULL;
}

Test(catalog, threads_may_get_while_another_replaces)
{
	pthread_t threads[3];
	catalog_put(catalog, "a", load());
	for (int i = 0; i < 3; i++)
		pthread_create(&threads[i], NULL, get_and_release, NULL);
	for (int i = 0; i < 5; i++)
		catalog_put(catalog, "a", load());
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
}
