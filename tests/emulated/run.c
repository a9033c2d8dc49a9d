/* run.c - runs every test that was linked in, one after the other. */
#include <criterion/criterion.h>

static struct emulated_test *first;

void emulated_register(struct emulated_test *t)
{
	t->next = first;
	first = t;
}

int main(void)
{
	size_t n = 0;

	for (struct emulated_test *t = first; t; t = t->next, n++) {
		printf("%s::%s\n", t->suite, t->name);
		fflush(stdout);
		t->run();
	}
	printf("%zu tests passed\n", n);
	return n == 0;
}
