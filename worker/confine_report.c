/* confine_report.c - what holds of a confinement, asked of the kernel. */
#include "worker/confine.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

/* -- attempts: each would fail without a confinement too, but for another reason ---------- */

static bool connect_is_refused(void)
{
	struct sockaddr nowhere = { .sa_family = AF_UNSPEC };
	return connect(-1, &nowhere, sizeof nowhere) < 0 && errno == EPERM;
}

static bool execve_is_refused(void)
{
	static char *const none[] = { NULL };
	return execve("", none, none) < 0 && errno == EPERM;
}

static bool ptrace_is_refused(void)
{
	return ptrace(PTRACE_ATTACH, -1, NULL, NULL) < 0 && errno == EPERM;
}

/* Of a folder that is nobody's secret, but no model root either, unless all are. */
static bool open_is_refused(void)
{
	int fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0)
		close(fd);
	return fd < 0 && errno == EACCES;
}

static void write_refused(struct buf *out)
{
	static const struct {
		const char *name;
		bool (*is_refused)(void);
	} attempts[] = { { "connect", connect_is_refused }, { "execve", execve_is_refused },
		{ "ptrace", ptrace_is_refused }, { "open", open_is_refused } };
	jout_key(out, "refused");
	buf_addc(out, '[');
	for (size_t i = 0; i < sizeof attempts / sizeof *attempts; i++) {
		if (!attempts[i].is_refused())
			continue;
		jout_sep(out);
		jout_cstr(out, attempts[i].name);
	}
	buf_addc(out, ']');
}

/* -- limits ----------------------------------------------------------------------------- */

static void write_limits(struct buf *out)
{
	static const struct {
		const char *name;
		int resource;
	} limits[] = { { "core_bytes", RLIMIT_CORE }, { "open_files", RLIMIT_NOFILE },
		{ "file_bytes", RLIMIT_FSIZE }, { "queue_bytes", RLIMIT_MSGQUEUE } };
	jout_key(out, "limits");
	buf_addc(out, '{');
	for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
		struct rlimit r;
		jout_key(out, limits[i].name);
		if (getrlimit(limits[i].resource, &r) == 0 && r.rlim_max != RLIM_INFINITY)
			jout_int(out, (int64_t)r.rlim_max);
		else
			buf_adds(out, "null");
	}
	buf_addc(out, '}');
}

void confine_write(struct buf *out, enum confinement c)
{
	struct rlimit core = { 0 };
	int death = 0;
	getrlimit(RLIMIT_CORE, &core);
	prctl(PR_GET_PDEATHSIG, &death);
	jout_key(out, "isolation");
	buf_addc(out, '{');
	jout_key_cstr(out, "sandbox", confine_name(c));
	jout_key_bool(out, "no_new_privs", prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1);
	jout_key_bool(out, "dumpable", prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 1);
	jout_key_bool(out, "seccomp", prctl(PR_GET_SECCOMP, 0, 0, 0, 0) == SECCOMP_MODE_FILTER);
	jout_key_bool(out, "landlock", c == CONFINE_STRICT);
	jout_key_bool(out, "core_files", core.rlim_cur != 0);
	jout_key_bool(out, "ends_with_parent", death != 0);
	write_refused(out);
	write_limits(out);
	buf_addc(out, '}');
}
