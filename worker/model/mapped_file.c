/* mapped_file.c - read-only file mappings, and a last word when one is cut short. */
#include "worker/model/mapped_file.h"
#include "protocol/mem.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

int mapped_file_open(struct mapped_file *m, const char *path, struct fault *f)
{
	struct stat st;
	/* O_NONBLOCK: opening a FIFO somebody named like a model must not hang the load. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	*m = (struct mapped_file) { 0 };
	if (fd < 0)
		return fault_set(f, ERR_MODEL_LOAD, "%s: %s", path, strerror(errno));
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		close(fd);
		return fault_set(f, ERR_MODEL_LOAD, "%s: not a regular file", path);
	}
	if (st.st_size > 0) {
		void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
		if (p == MAP_FAILED) {
			int e = errno;
			close(fd);
			return fault_set(
				f, ERR_MODEL_LOAD, "%s: cannot map: %s", path, strerror(e));
		}
		m->data = p;
		m->n_bytes = (size_t)st.st_size;
	}
	close(fd);
	m->path = xstrdup(path);
	return 0;
}

void mapped_file_close(struct mapped_file *m)
{
	if (m->data)
		munmap((void *)(uintptr_t)m->data, m->n_bytes);
	free(m->path);
	*m = (struct mapped_file) { 0 };
}

/* Below: what a signal handler may do, and nothing else (open, read, write; no stdio). */

struct maps_line {
	char text[4352]; /* a path is at most 4096 bytes */
	size_t n;
};

struct maps_file {
	int fd;
	char chunk[1024];
	size_t at, n; /* of chunk: read, filled */
};

static bool next_line(struct maps_file *m, struct maps_line *line)
{
	line->n = 0;
	for (;;) {
		if (m->at == m->n) {
			ssize_t got = read(m->fd, m->chunk, sizeof m->chunk);
			if (got <= 0)
				return false;
			m->at = 0;
			m->n = (size_t)got;
		}
		char c = m->chunk[m->at++];
		if (c == '\n')
			return true;
		if (line->n + 1 < sizeof line->text)
			line->text[line->n++] = c;
	}
}

static uintptr_t parse_hex(const char **s)
{
	uintptr_t v = 0;

	for (;; (*s)++) {
		char c = **s;
		if (c >= '0' && c <= '9')
			v = v << 4 | (uintptr_t)(c - '0');
		else if (c >= 'a' && c <= 'f')
			v = v << 4 | (uintptr_t)(c - 'a' + 10);
		else
			return v;
	}
}

/* The path of the mapping around addr: /proc/self/maps says, so no table of ours has to be
 * kept in step with threads that map and unmap. */
static bool find_path(uintptr_t addr, struct maps_line *line)
{
	struct maps_file m = { .fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC) };
	bool found = false;

	while (m.fd >= 0 && !found && next_line(&m, line)) {
		line->text[line->n] = '\0';
		const char *s = line->text;
		uintptr_t from = parse_hex(&s);
		s += *s == '-';
		uintptr_t to = parse_hex(&s);
		char *path = memchr(line->text, '/', line->n);
		found = addr >= from && addr < to && path != NULL;
		if (found) {
			line->n -= (size_t)(path - line->text);
			memmove(line->text, path, line->n);
		}
	}
	if (m.fd >= 0)
		close(m.fd);
	return found;
}

static void say(const char *s, size_t n)
{
	ssize_t ignored = write(STDERR_FILENO, s, n);
	(void)ignored;
}

static void on_bus_error(int sig, siginfo_t *info, void *context)
{
	static const char head[] = "tandem-worker: fatal: ";
	static const char tail[] = ": the file was truncated while it was mapped\n";
	static const char other[] = "tandem-worker: fatal: bus error outside any mapped file\n";
	struct maps_line line;

	(void)context;
	if (find_path((uintptr_t)info->si_addr, &line)) {
		say(head, sizeof head - 1);
		say(line.text, line.n);
		say(tail, sizeof tail - 1);
	} else {
		say(other, sizeof other - 1);
	}
	/* SA_RESETHAND: returning repeats the access, which now ends the process by SIGBUS, so
	 * that the parent sees the true cause. Where a process sent it there is none to repeat. */
	if (info->si_code <= 0)
		raise(sig);
}

void mapped_file_name_truncation(void)
{
	struct sigaction sa = { .sa_sigaction = on_bus_error,
		.sa_flags = SA_SIGINFO | SA_RESETHAND };

	sigemptyset(&sa.sa_mask);
	sigaction(SIGBUS, &sa, NULL);
}
