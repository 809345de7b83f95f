// SPDX-License-Identifier: GPL-2.0-only
/*
 * plugin_cage.c - see plugin_cage.h.  A seccomp filter, written out: a list of calls, three that
 * may be about the process itself alone, and open for reading.
 */
#include "plugin_cage.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#define CAGE_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define CAGE_ARCH AUDIT_ARCH_AARCH64
#endif

#ifdef CAGE_ARCH

#define OPEN_WRITES (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC | O_APPEND)

static const int allowed[] = {
	/* memory */
	SYS_brk,
	SYS_mmap,
	SYS_munmap,
	SYS_mremap,
	SYS_mprotect,
	SYS_madvise,
	SYS_mincore,
	SYS_msync,
	SYS_membarrier,
	/* files that are open, and the dynamic linker's look at others; no fcntl(), by which a
	 * socket can be told to send somebody a signal */
	SYS_read,
	SYS_pread64,
	SYS_readv,
	SYS_write,
	SYS_writev,
	SYS_lseek,
	SYS_close,
	SYS_fstat,
	SYS_newfstatat,
	SYS_faccessat,
	SYS_readlinkat,
	SYS_getcwd,
#ifdef SYS_access
	SYS_access,
	SYS_readlink,
#endif
	/* the broker's socket */
	SYS_sendto,
	SYS_recvfrom,
	/* time, and waiting */
	SYS_clock_gettime,
	SYS_clock_getres,
	SYS_gettimeofday,
	SYS_clock_nanosleep,
	SYS_nanosleep,
	SYS_futex,
	SYS_sched_yield,
	SYS_restart_syscall,
	/* itself */
	SYS_getpid,
	SYS_gettid,
	SYS_getppid,
	SYS_getuid,
	SYS_geteuid,
	SYS_getgid,
	SYS_getegid,
	SYS_getrandom,
	SYS_getrusage,
	SYS_sysinfo,
	SYS_uname,
	SYS_sched_getaffinity,
	SYS_getcpu,
	SYS_rt_sigaction,
	SYS_rt_sigprocmask,
	SYS_rt_sigreturn,
	SYS_sigaltstack,
	SYS_set_robust_list,
	SYS_exit,
	SYS_exit_group,
};

/* The first argument is a process: 0 or this one. */
static const int own[] = { SYS_kill, SYS_tgkill, SYS_prlimit64 };

#define N_ALLOWED (sizeof(allowed) / sizeof(allowed[0]))
#define N_OWN	  (sizeof(own) / sizeof(own[0]))
#define MAX_LEN	  (4 + 2 * N_ALLOWED + 6 * N_OWN + 5)

#define FIELD(member) ((unsigned int)offsetof(struct seccomp_data, member))
#define LOAD(offset)  BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (offset))
#define IF_NOT(value, skip) \
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned int)(value), 0, (skip))
#define IF_SET(bits, skip) BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, (unsigned int)(bits), (skip), 0)
#define IF(value, skip)	   BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned int)(value), (skip), 0)
#define ANSWER(what)	   BPF_STMT(BPF_RET | BPF_K, (what))
#define REFUSE		   ANSWER(SECCOMP_RET_ERRNO | EPERM)
#define ALLOW		   ANSWER(SECCOMP_RET_ALLOW)

/* The low half of argument @i, which is all that the calls below look at. */
#define ARG(i) (FIELD(args) + 8u * (i) + (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? 4u : 0u))

static unsigned int add(struct sock_filter *to, const struct sock_filter *from, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		to[i] = from[i];
	return n;
}

#define ADD(...)                                                          \
	do {                                                              \
		const struct sock_filter part[] = { __VA_ARGS__ };        \
		n += add(&code[n], part, sizeof(part) / sizeof(part[0])); \
	} while (0)

int plugin_cage(void)
{
	struct sock_filter code[MAX_LEN];
	struct sock_fprog program = { .filter = code };
	unsigned int n = 0;
	pid_t pid = getpid();

	/* Numbers of another ABI would mean other calls. */
	ADD(LOAD(FIELD(arch)), IF(CAGE_ARCH, 1), ANSWER(SECCOMP_RET_KILL_PROCESS),
	    LOAD(FIELD(nr)));
	for (unsigned int i = 0; i < N_ALLOWED; i++)
		ADD(IF_NOT(allowed[i], 1), ALLOW);
	for (unsigned int i = 0; i < N_OWN; i++)
		ADD(IF_NOT(own[i], 5), LOAD(ARG(0)), IF(0, 2), IF(pid, 1), REFUSE, ALLOW);
	ADD(IF_NOT(SYS_openat, 3), LOAD(ARG(2)), IF_SET(OPEN_WRITES, 1), ALLOW, REFUSE);
	program.len = (unsigned short)n;
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) ? -errno : 0;
}

#else

int plugin_cage(void)
{
	return 0;
}

#endif
