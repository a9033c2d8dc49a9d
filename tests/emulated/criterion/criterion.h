/* criterion.h - as much of Criterion as the kernel tests use, in one header, for machines that
 * have no Criterion: `make check-neon` runs tests/kernels under an emulator with it. A failed
 * assertion ends the program; main() is in run.c. */
#ifndef TESTS_EMULATED_CRITERION_H
#define TESTS_EMULATED_CRITERION_H
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct emulated_test {
	const char *suite, *name;
	void (*run)(void);
	struct emulated_test *next;
};
void emulated_register(struct emulated_test *t);

#define Test(suite_name, test_name, ...)                                                 \
	static void test_##suite_name##_##test_name(void);                               \
	static __attribute__((constructor)) void enlist_##suite_name##_##test_name(void) \
	{                                                                                \
		static struct emulated_test t = { #suite_name, #test_name,               \
			test_##suite_name##_##test_name, NULL };                         \
		emulated_register(&t);                                                   \
	}                                                                                \
	static void test_##suite_name##_##test_name(void)

#define EMULATED_CHECK(holds, text, ...)                                         \
	do {                                                                     \
		if (!(holds)) {                                                  \
			fprintf(stderr, "%s:%d: %s:", __FILE__, __LINE__, text); \
			fprintf(stderr, " " __VA_ARGS__);                        \
			fputc('\n', stderr);                                     \
			exit(1);                                                 \
		}                                                                \
	} while (0)

#define cr_assert(holds, ...)       EMULATED_CHECK(holds, #holds, __VA_ARGS__)
#define cr_assert_not(holds, ...)   EMULATED_CHECK(!(holds), "not " #holds, __VA_ARGS__)
#define cr_assert_eq(a, b, ...)     EMULATED_CHECK((a) == (b), #a " == " #b, __VA_ARGS__)
#define cr_assert_leq(a, b, ...)    EMULATED_CHECK((a) <= (b), #a " <= " #b, __VA_ARGS__)
#define cr_assert_geq(a, b, ...)    EMULATED_CHECK((a) >= (b), #a " >= " #b, __VA_ARGS__)
#define cr_assert_str_eq(a, b, ...) EMULATED_CHECK(strcmp(a, b) == 0, #a " is " #b, __VA_ARGS__)
#define cr_assert_float_eq(a, b, tolerance, ...) \
	EMULATED_CHECK(fabs((a) - (b)) <= (tolerance), #a " near " #b, __VA_ARGS__)
/* One failure ends the program either way. */
#define cr_expect     cr_assert
#define cr_expect_eq  cr_assert_eq
#define cr_expect_leq cr_assert_leq
#define cr_skip_test(...)                          \
	do {                                       \
		printf("  skipped: " __VA_ARGS__); \
		putchar('\n');                     \
		return;                            \
	} while (0)
#endif
