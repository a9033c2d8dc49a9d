/* confine.c - privileges, system calls and files given up. */
#include "worker/confine.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Environment of the second run: the process's id, which that keeps. Of whoever inherits the
 * variable, too, the id is another. */
#define INSIDE "TANDEM_WORKER_CONFINED"

#if defined(__has_feature)
#define HAS_FEATURE(x) __has_feature(x)
#else
#define HAS_FEATURE(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || \
	HAS_FEATURE(address_sanitizer) || HAS_FEATURE(thread_sanitizer)
#define MOST CONFINE_OFF
#else
#define MOST CONFINE_STRICT
#endif

static const char *const NAMES[] = { "off", "basic", "strict" };

bool confine_parse(const char *name, enum confinement *out)
{
	for (int i = 0; i < 3; i++) {
		if (strcmp(name, NAMES[i]) != 0)
			continue;
		*out = (enum confinement)i;
		return true;
	}
	return false;
}

const char *confine_name(enum confinement c)
{
	return NAMES[c];
}

enum confinement confine_possible(enum confinement wanted)
{
	return wanted < MOST ? wanted : MOST;
}

/* -- files ------------------------------------------------------------------------------ */

#define READS (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define WRITES                                                                  \
	(LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR |        \
		LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_CHAR | \
		LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG |     \
		LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO |   \
		LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_ACCESS_FS_MAKE_SYM)

/* What is not there needs no permission. */
static int allow(int ruleset, const char *path, uint64_t access)
{
	struct stat st;
	struct landlock_path_beneath_attr rule = { .allowed_access = access };
	rule.parent_fd = open(path, O_PATH | O_CLOEXEC);
	if (rule.parent_fd < 0)
		return 0;
	if (fstat(rule.parent_fd, &st) == 0 && !S_ISDIR(st.st_mode))
		rule.allowed_access &= ~(uint64_t)LANDLOCK_ACCESS_FS_READ_DIR;
	long err = syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
	close(rule.parent_fd);
	return (int)err;
}

static int allow_all(int ruleset, const char *const *roots, size_t n_roots)
{
	/* Libraries and their cache, the processors, ourselves, random numbers. */
	static const char *const system[] = { "/usr", "/lib", "/lib64", "/etc/ld.so.cache",
		"/proc/self/exe", "/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/proc/sys",
		"/sys/devices/system", "/dev/urandom" };
	int err = allow(ruleset, "/dev/null", READS | LANDLOCK_ACCESS_FS_WRITE_FILE);
	for (size_t i = 0; i < sizeof system / sizeof *system; i++)
		err |= allow(ruleset, system[i], READS);
	for (size_t i = 0; i < n_roots; i++)
		err |= allow(ruleset, roots[i], READS);
	return err;
}

int confine_files(const char *const *roots, size_t n_roots, struct fault *f)
{
	struct landlock_ruleset_attr attr = { .handled_access_fs = READS | WRITES };
	int ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof attr, 0);
	if (ruleset < 0)
		return fault_set(f, ERR_IO, "no landlock in this kernel: %s", strerror(errno));
	int err = allow_all(ruleset, roots, n_roots);
	if (err == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		err = -1;
	if (err == 0)
		err = (int)syscall(SYS_landlock_restrict_self, ruleset, 0);
	int saved = errno;
	close(ruleset);
	return err == 0 ? 0 : fault_set(f, ERR_IO, "landlock: %s", strerror(saved));
}

/* Landlock refuses to open files for writing; this, that one opened before grows. Not where our
 * own stderr is one: a log line must not end us. */
static void no_growing_files(void)
{
	static const struct rlimit none = { 0, 0 };
	struct stat st;
	for (int fd = 1; fd <= 2; fd++)
		if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
			return;
	setrlimit(RLIMIT_FSIZE, &none);
}

int confine_files_and_restart(
	const char *const *roots, size_t n_roots, char *const argv[], struct fault *f)
{
	char pid[24];
	snprintf(pid, sizeof pid, "%d", (int)getpid());
	const char *inside = getenv(INSIDE);
	if (inside && strcmp(inside, pid) == 0) {
		prctl(PR_SET_NAME, "tandem-worker"); /* or it would be called exe */
		return 0;
	}
	int err = confine_files(roots, n_roots, f);
	if (err < 0)
		return err;
	no_growing_files();
	setenv(INSIDE, pid, 1);
	execv("/proc/self/exe", argv);
	return fault_set(f, ERR_IO, "cannot run again confined: %s", strerror(errno));
}

/* -- system calls ----------------------------------------------------------------------- */

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#else
#define ARCH 0
#endif

/* Newer than the headers we build with may be; every architecture has them by these numbers. */
enum { FCHMODAT2 = 452, SETXATTRAT = 463, REMOVEXATTRAT = 466, FILE_SETATTR = 469 };

static const int DENIED[] = {
/* What landlock lets pass, or does in older kernels: files changed by their names. */
#ifdef SYS_chmod
	SYS_chmod, SYS_chown, SYS_lchown,
#endif
	SYS_fchmod, SYS_fchmodat, SYS_fchown, SYS_fchownat, SYS_truncate, SYS_setxattr,
	SYS_lsetxattr, SYS_fsetxattr, SYS_removexattr, SYS_lremovexattr, SYS_fremovexattr,
	FCHMODAT2, SETXATTRAT, REMOVEXATTRAT, FILE_SETATTR,
	/* What no worker needs. */
	SYS_socket, SYS_socketpair, SYS_connect, SYS_bind, SYS_listen, SYS_accept, SYS_accept4,
	SYS_execve, SYS_execveat, SYS_ptrace, SYS_process_vm_readv, SYS_process_vm_writev,
	SYS_io_uring_setup, SYS_bpf, SYS_perf_event_open, SYS_userfaultfd, SYS_keyctl, SYS_add_key,
	SYS_request_key, SYS_mount, SYS_open_tree, SYS_move_mount, SYS_fsopen, SYS_fsmount,
	SYS_mount_setattr, SYS_umount2, SYS_pivot_root, SYS_chroot, SYS_unshare, SYS_setns,
	SYS_init_module, SYS_finit_module, SYS_delete_module, SYS_kexec_load, SYS_reboot,
	SYS_swapon, SYS_swapoff, SYS_acct, SYS_personality, SYS_pidfd_getfd, SYS_open_by_handle_at
};
#define N_DENIED (sizeof DENIED / sizeof DENIED[0])

/* Number by number: a jump to the refusal at the end, as the calls are few and rare. The x32
 * numbers of x86-64 (bit 30) would be a second way in. */
static size_t write_filter(struct sock_filter *out)
{
	const uint8_t n = (uint8_t)N_DENIED;
	size_t k = 0;
	out[k++] = (struct sock_filter)BPF_STMT(
		BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch));
	out[k++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCH, 0, n + 3);
	out[k++] = (struct sock_filter)BPF_STMT(
		BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
	out[k++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 0x40000000u, n + 1, 0);
	for (uint8_t i = 0; i < n; i++)
		out[k++] = (struct sock_filter)BPF_JUMP(
			BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)DENIED[i], n - i, 0);
	out[k++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	out[k++] = (struct sock_filter)BPF_STMT(
		BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (EPERM & SECCOMP_RET_DATA));
	return k;
}

/* Core files would hold prompts, message queues live beyond us, and a leak of descriptors shall
 * end at us. What is lower already stays so. */
static int limit_resources(void)
{
	static const struct {
		int resource;
		rlim_t most;
	} limits[] = { { RLIMIT_CORE, 0 }, { RLIMIT_MSGQUEUE, 0 },
		{ RLIMIT_NOFILE, CONFINE_FILES } };
	for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
		struct rlimit r;
		if (getrlimit(limits[i].resource, &r) != 0)
			return -1;
		r.rlim_cur = r.rlim_cur < limits[i].most ? r.rlim_cur : limits[i].most;
		r.rlim_max = r.rlim_max < limits[i].most ? r.rlim_max : limits[i].most;
		if (setrlimit(limits[i].resource, &r) != 0)
			return -1;
	}
	return 0;
}

int confine_calls(struct fault *f)
{
	struct sock_filter code[N_DENIED + 6];
	struct sock_fprog program = { .len = (unsigned short)write_filter(code), .filter = code };
	if (limit_resources() != 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0 ||
		prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		return fault_set(f, ERR_IO, "cannot give up privileges: %s", strerror(errno));
	/* TSYNC: also the threads that libraries have started by now. */
	if (ARCH == 0 || syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC,
				 &program) != 0)
		return fault_set(f, ERR_IO, "no seccomp filter here: %s", strerror(errno));
	return 0;
}
