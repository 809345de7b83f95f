// SPDX-License-Identifier: GPL-2.0-only
/*
 * plugin_spawn.c - see plugin_spawn.h.
 */
#include "plugin_spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "plugin_host.h"

#define HIGH_FD 16 /* above the numbers that descriptors get in the host */

/* A memfd of which the host can change neither size nor seals.  Its descriptor, or -errno. */
static int page_make(struct plugin_process *p, unsigned int slots)
{
	long page = sysconf(_SC_PAGESIZE);
	int fd = memfd_create("accelmux-policy", MFD_CLOEXEC | MFD_ALLOW_SEALING), ret;

	p->bytes = offsetof(struct plugin_page, slot) + slots * sizeof(struct plugin_slot);
	p->bytes = (p->bytes + (size_t)page - 1) & ~((size_t)page - 1);
	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)p->bytes) ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL))
		goto err;
	p->page = mmap(NULL, p->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p->page == MAP_FAILED)
		goto err;
	p->page->slots = slots;
	p->page->owner = getpid();
	return fd;

err:
	ret = -errno;
	p->page = NULL;
	close(fd);
	return ret;
}

/* Descriptors 0 to 2 on /dev/null, the three that it serves, and no other. */
static int actions_make(posix_spawn_file_actions_t *fa, int talk, int file, int page)
{
	const int from[] = { talk, file, page };
	int ret = 0;

	for (int fd = 0; fd < PLUGIN_FD_TALK && !ret; fd++)
		ret = posix_spawn_file_actions_addopen(fa, fd, "/dev/null", O_RDWR, 0);
	for (int i = 0; i < 3 && !ret; i++)
		ret = posix_spawn_file_actions_adddup2(fa, from[i], PLUGIN_FD_TALK + i);
	if (!ret)
		ret = posix_spawn_file_actions_addclosefrom_np(fa, PLUGIN_FD_END);
	return ret;
}

/* Signals as in a new process, and a group of its own: what a terminal sends to the broker's is
 * not meant for it. */
static int attributes_make(posix_spawnattr_t *attr)
{
	sigset_t all, none;
	int ret;

	sigfillset(&all);
	sigemptyset(&none);
	ret = posix_spawnattr_setsigdefault(attr, &all);
	if (!ret)
		ret = posix_spawnattr_setsigmask(attr, &none);
	if (!ret)
		ret = posix_spawnattr_setpgroup(attr, 0);
	if (!ret)
		ret = posix_spawnattr_setflags(attr, POSIX_SPAWN_SETSIGDEF |
							     POSIX_SPAWN_SETSIGMASK |
							     POSIX_SPAWN_SETPGROUP);
	return ret;
}

/* Of the broker's environment only what may be needed to find its own libraries. */
static int run(pid_t *pid, int talk, int file, int page)
{
	static char name[] = "accelmuxd", option[] = PLUGIN_HOST_OPTION;
	char *argv[] = { name, option, NULL }, *envp[3] = { NULL }, **env = envp;
	const char *path = getenv("LD_LIBRARY_PATH");
	posix_spawn_file_actions_t fa;
	posix_spawnattr_t attr;
	char libs[512];
	int ret;

	if (path &&
	    snprintf(libs, sizeof(libs), "LD_LIBRARY_PATH=%s", path) < (int)sizeof(libs))
		*env++ = libs;
#ifdef PLUGIN_HOST_SANITIZED
	static char plain[] = "ASAN_OPTIONS=detect_leaks=0:handle_segv=0:handle_abort=0";

	*env = plain;
#else
	*env = NULL;
#endif
	ret = posix_spawn_file_actions_init(&fa);
	if (ret)
		return -ret;
	ret = posix_spawnattr_init(&attr);
	if (ret)
		goto out_actions;
	ret = actions_make(&fa, talk, file, page);
	if (!ret)
		ret = attributes_make(&attr);
	if (!ret)
		ret = posix_spawn(pid, "/proc/self/exe", &fa, &attr, argv, envp);
	posix_spawnattr_destroy(&attr);
out_actions:
	posix_spawn_file_actions_destroy(&fa);
	return -ret;
}

static int high(int fd)
{
	int up = fcntl(fd, F_DUPFD_CLOEXEC, HIGH_FD);

	return up < 0 ? -errno : up;
}

int plugin_spawn(struct plugin_process *p, int file, unsigned int slots, char *err,
		 size_t errlen)
{
	int talk[2] = { -1, -1 }, page, up[3] = { -1, -1, -1 }, ret;

	memset(p, 0, sizeof(*p));
	p->pidfd = p->talk = -1;
	page = page_make(p, slots);
	ret = page;
	if (page < 0)
		goto err;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, talk) ||
	    fcntl(talk[0], F_SETFL, O_NONBLOCK)) {
		ret = -errno;
		goto err;
	}
	for (int i = 0; i < 3; i++) {
		ret = up[i] = high(i == 0 ? talk[1] : i == 1 ? file : page);
		if (ret < 0)
			goto err;
	}
	ret = run(&p->pid, up[0], up[1], up[2]);
	if (ret)
		goto err;
	/* Nobody else reaps it: the number still means this process. */
	p->pidfd = (int)syscall(SYS_pidfd_open, p->pid, 0);
	if (p->pidfd < 0) {
		ret = -errno;
		kill(p->pid, SIGKILL);
		waitpid(p->pid, NULL, 0);
		goto err;
	}
	p->talk = talk[0];
	talk[0] = -1;
	ret = 0;
err:
	for (int i = 0; i < 3; i++)
		if (up[i] >= 0)
			close(up[i]);
	for (int i = 0; i < 2; i++)
		if (talk[i] >= 0)
			close(talk[i]);
	if (page >= 0)
		close(page);
	if (ret < 0) {
		plugin_process_free(p);
		snprintf(err, errlen, "cannot start a process for it: %s", strerror(-ret));
	}
	return ret < 0 ? ret : 0;
}

int plugin_reap(const struct plugin_process *p, int wait, char *how, size_t len)
{
	struct pollfd pfd = { .fd = p->pidfd, .events = POLLIN };
	siginfo_t info = { 0 };
	const char *name;

	while (wait && poll(&pfd, 1, -1) < 0 && errno == EINTR)
		;
	if (waitid(P_PIDFD, (id_t)p->pidfd, &info, WEXITED | WNOHANG))
		return -errno;
	if (!info.si_pid)
		return -EAGAIN;
	name = info.si_code == CLD_EXITED ? NULL : sigabbrev_np(info.si_status);
	if (info.si_code == CLD_EXITED)
		snprintf(how, len, "exited with status %d", info.si_status);
	else if (name)
		snprintf(how, len, "was killed by SIG%s", name);
	else
		snprintf(how, len, "was killed by signal %d", info.si_status);
	return 0;
}

void plugin_process_free(struct plugin_process *p)
{
	if (p->talk >= 0)
		close(p->talk);
	if (p->pidfd >= 0)
		close(p->pidfd);
	if (p->page)
		munmap(p->page, p->bytes);
	p->talk = p->pidfd = -1;
	p->page = NULL;
}
