/* run.c - runs every test that was linked in, each in a process of its own: what one test maps and
 * keeps is gone before the next. */
#include <criterion/criterion.h>
#include <sys/wait.h>
#include <unistd.h>

static struct emulated_test *first;

void emulated_register(struct emulated_test *t)
{
	t->next = first;
	first = t;
}

static bool passes(const struct emulated_test *t)
{
	int status;

	fflush(stdout);
	pid_t child = fork();
	if (child == 0) {
		t->run();
		exit(0);
	}
	return child > 0 && waitpid(child, &status, 0) == child && status == 0;
}

int main(void)
{
	size_t n = 0;

	for (struct emulated_test *t = first; t; t = t->next, n++) {
		printf("%s::%s\n", t->suite, t->name);
		if (!passes(t))
			return 1;
	}
	printf("%zu tests passed\n", n);
	return n == 0;
}
