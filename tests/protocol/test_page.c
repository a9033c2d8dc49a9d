/* docs/protocol.md tells what the method table says. `make docs` runs this with WRITE_PAGE set,
 * which writes the page instead of comparing it. */
#include "protocol/buf.h"
#include "protocol/err.h"
#include "protocol/methods.h"
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE  "docs/protocol.md"
#define BEGIN "<!-- methods -->\n"
#define END   "<!-- end of methods -->\n"

static struct buf page;

static void read_page(void)
{
	char part[4096];
	FILE *f = fopen(PAGE, "r");
	cr_assert_not_null(f, "the tests run in the project's root");
	for (size_t n; (n = fread(part, 1, sizeof part, f)) > 0;)
		buf_add(&page, part, n);
	fclose(f);
	buf_cstr(&page);
}

static void release_page(void)
{
	buf_release(&page);
}

TestSuite(page, .init = read_page, .fini = release_page);

Test(page, its_methods_are_those_of_the_table)
{
	struct buf want = BUF_INIT;
	const char *begin = strstr(page.data, BEGIN);
	cr_assert_not_null(begin);
	const char *end = strstr(begin, END);
	cr_assert_not_null(end);
	buf_add(&want, page.data, (size_t)(begin - page.data) + strlen(BEGIN));
	buf_addc(&want, '\n');
	method_write_page(&want);
	buf_addc(&want, '\n');
	buf_adds(&want, end);
	if (getenv("WRITE_PAGE")) {
		FILE *f = fopen(PAGE, "w");
		cr_assert_not_null(f);
		cr_assert_eq(fwrite(want.data, 1, want.n_bytes, f), want.n_bytes);
		cr_assert_eq(fclose(f), 0);
	} else {
		cr_assert(
			page.n_bytes == want.n_bytes && !memcmp(page.data, want.data, want.n_bytes),
			"%s is not what the table says: run `make docs`", PAGE);
	}
	buf_release(&want);
}

Test(page, its_error_table_has_every_code_with_its_type)
{
	char row[128];
	for (int e = ERR_PARSE; e >= ERR_CANCELLED; e--) {
		const struct err_info *info = err_info(e);
		snprintf(row, sizeof row, "| %d | `%s` |", info->code, info->type);
		cr_assert_not_null(strstr(page.data, row), "no row %s", row);
	}
}
