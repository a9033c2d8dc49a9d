#include "tests/worker/sparse_model.h"
#include "protocol/mem.h"
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void sparse_add(struct sparse_model *m, const char *name, size_t rows, size_t n)
{
	uint64_t end = m->n_bytes + 2 * (uint64_t)(rows ? rows : 1) * n;
	buf_addf(&m->header, "%s\"%s\":{\"dtype\":\"F16\",\"shape\":[",
		m->header.n_bytes ? "," : "{", name);
	if (rows)
		buf_addf(&m->header, "%zu,", rows);
	buf_addf(&m->header, "%zu],\"data_offsets\":[%llu,%llu]}", n,
		(unsigned long long)m->n_bytes, (unsigned long long)end);
	m->n_bytes = end;
}

void sparse_write(struct sparse_model *m, const char *folder)
{
	char *path = xasprintf("%s/model.safetensors", folder);
	buf_addc(&m->header, '}');
	const uint64_t n = m->header.n_bytes;
	unlink(path);
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
	cr_assert_geq(fd, 0);
	cr_assert_eq(write(fd, &n, sizeof n), (ssize_t)sizeof n);
	cr_assert_eq(write(fd, m->header.data, n), (ssize_t)n);
	cr_assert_eq(ftruncate(fd, (off_t)(sizeof n + n + m->n_bytes)), 0);
	close(fd);
	buf_release(&m->header);
	free(path);
}

void sparse_put(const char *folder, const char *name, const char *text)
{
	char *path = xasprintf("%s/%s", folder, name);
	unlink(path);
	FILE *to = fopen(path, "w");
	cr_assert(to && fputs(text, to) >= 0 && fclose(to) == 0);
	free(path);
}
