// SPDX-License-Identifier: GPL-2.0-only
/*
 * plugin_host.c - see plugin_host.h.  Nothing here is trusted by the broker: from dlopen() on
 * the process is the plug-in's.
 */
#include "plugin_host.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "../client/barrier.h"
#include "futex.h"
#include "plan.h"
#include "tenant.h"

#define NOBODY	    65534
#define FILE_MAX    (64u << 20)	 /* of a plug-in */
#define MEMORY_MAX  (256u << 20) /* beyond what the broker's own program maps */
#define FILES_MAX   16
#define CPU_SECONDS 5 /* of one call; the broker's patience ends long before */

struct host {
	struct plugin_page *page;
	unsigned int slots;
	int image; /* memfd with the plug-in */
	const struct amux_policy_ops *ops;
	void *state[TENANT_NODES];
	char err[PLUGIN_ERR_LEN];
};

__attribute__((format(printf, 2, 3))) static int fail(struct host *h, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(h->err, sizeof(h->err), fmt, ap);
	va_end(ap);
	return -1;
}

static int fail_errno(struct host *h, const char *what)
{
	return fail(h, "%s: %s", what, strerror(errno));
}

/* ------------------------------------------------------------------- confinement */

static int page_map(struct host *h)
{
	struct stat st;

	if (fstat(PLUGIN_FD_PAGE, &st))
		return fail_errno(h, "shared page");
	h->page = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED,
		       PLUGIN_FD_PAGE, 0);
	if (h->page == MAP_FAILED)
		return fail_errno(h, "shared page");
	close(PLUGIN_FD_PAGE);
	h->slots = h->page->slots;
	if (h->slots > TENANT_NODES)
		return fail(h, "shared page: expected at most %d slots", TENANT_NODES);
	return 0;
}

/* A sealed copy: what was judged is what is loaded, it can be read by nobody, and nothing that
 * happens to the file later happens to the mapping. */
static int image_make(struct host *h)
{
	struct stat st;
	off_t at = 0;
	ssize_t n;

	if (fstat(PLUGIN_FD_FILE, &st))
		return fail_errno(h, "cannot read");
	if (st.st_size > FILE_MAX)
		return fail(h, "has %lld bytes, expected at most %u", (long long)st.st_size,
			    FILE_MAX);
	h->image = memfd_create("policy", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (h->image < 0)
		return fail_errno(h, "memfd_create");
	while (at < st.st_size) {
		n = sendfile(h->image, PLUGIN_FD_FILE, &at, (size_t)(st.st_size - at));
		if (n <= 0)
			return fail_errno(h, "cannot read");
	}
	close(PLUGIN_FD_FILE);
	if (fchmod(h->image, 0555) ||
	    fcntl(h->image, F_ADD_SEALS,
		  F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL))
		return fail_errno(h, "cannot seal its copy");
	return 0;
}

static int limit(struct host *h, int which, rlim_t most, const char *what)
{
	struct rlimit rl = { .rlim_cur = most, .rlim_max = most };

	return setrlimit((__rlimit_resource_t)which, &rl) ? fail_errno(h, what) : 0;
}

static int limit_memory(struct host *h)
{
#ifdef PLUGIN_HOST_SANITIZED
	(void)h;
	return 0;
#else
	FILE *f = fopen("/proc/self/statm", "re");
	unsigned long pages = 0;
	int n = f ? fscanf(f, "%lu", &pages) : 0;

	if (f)
		fclose(f);
	if (n != 1)
		return fail(h, "/proc/self/statm: expected the size of this process");
	return limit(h, RLIMIT_AS, pages * (rlim_t)sysconf(_SC_PAGESIZE) + MEMORY_MAX,
		     "RLIMIT_AS");
#endif
}

/* Where memory is short this process goes first.  Best effort. */
static void be_expendable(void)
{
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : write(fd, "1000", 4);

	(void)n;
	if (fd >= 0)
		close(fd);
}

static int drop_user(struct host *h)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = { 0 };

	if (!geteuid()) {
		if (setgroups(0, NULL) || setresgid(NOBODY, NOBODY, NOBODY) ||
		    setresuid(NOBODY, NOBODY, NOBODY))
			return fail_errno(h, "cannot become nobody");
	}
	/* Another user's broker may have been given some that outlive an exec. */
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	if (syscall(SYS_capset, &head, none))
		return fail_errno(h, "cannot drop capabilities");
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return fail_errno(h, "no_new_privs");
	return 0;
}

static int confine(struct host *h)
{
	be_expendable();
	/* No process, thread or program but this one: for anyone but root, and root has become
	 * nobody.  Nothing that outlives it can be left behind. */
	if (limit(h, RLIMIT_NPROC, 0, "RLIMIT_NPROC") ||
	    limit(h, RLIMIT_CORE, 0, "RLIMIT_CORE") ||
	    limit(h, RLIMIT_FSIZE, 0, "RLIMIT_FSIZE") ||
	    limit(h, RLIMIT_NOFILE, FILES_MAX, "RLIMIT_NOFILE") || limit_memory(h))
		return -1;
	if (drop_user(h))
		return -1;
	/* After that: a change of credentials takes it back. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL))
		return fail_errno(h, "PR_SET_PDEATHSIG");
	if (getppid() != h->page->owner)
		return fail(h, "its broker is gone");
	return 0;
}

/* A dead man's switch for a host whose broker is stopped: one call has so many seconds of CPU
 * time.  Only the soft limit, which can be moved on for as long as it is honest. */
static void limit_cpu(void)
{
	static rlim_t until;
	struct rlimit rl = { .rlim_max = RLIM_INFINITY };
	struct timespec ts;

	if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts) || (rlim_t)ts.tv_sec + 2 < until)
		return;
	rl.rlim_cur = until = (rlim_t)ts.tv_sec + CPU_SECONDS;
	setrlimit(RLIMIT_CPU, &rl);
}

/* ------------------------------------------------------------------------- load */

static int check_abi(struct host *h, const struct amux_policy_ops *ops)
{
	if (ops->abi != AMUX_POLICY_ABI)
		return fail(h,
			    "is made for version %u of the policy interface, expected version "
			    "%u",
			    ops->abi, AMUX_POLICY_ABI);
	if (ops->ops_size != sizeof(*ops) || ops->view_size != sizeof(struct amux_view) ||
	    ops->plan_size != sizeof(struct amux_plan))
		return fail(h,
			    "is made for version %u of the policy interface with sizes %u, %u, "
			    "%u (ops, view, plan), expected version %u with %zu, %zu, %zu",
			    ops->abi, ops->ops_size, ops->view_size, ops->plan_size,
			    AMUX_POLICY_ABI, sizeof(*ops), sizeof(struct amux_view),
			    sizeof(struct amux_plan));
	if (!ops->name || !ops->summary || !ops->plan || (ops->n_params && !ops->params))
		return fail(h, "expected a name, a summary, plan() and its parameters in %s",
			    AMUX_POLICY_SYMBOL);
	if (ops->n_params > AMUX_POLICY_PARAMS)
		return fail(h, "has %u parameters, expected at most %d", ops->n_params,
			    AMUX_POLICY_PARAMS);
	return 0;
}

static int load(struct host *h)
{
	char path[40], *what;
	const void *symbol;
	void *lib;
	size_t len;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", h->image);
	len = strlen(path);
	lib = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!lib) {
		/* "PATH: WHY", where only the broker knows the true path */
		what = dlerror();
		return fail(h, "%s",
			    !strncmp(what, path, len) && !strncmp(what + len, ": ", 2)
				    ? what + len + 2
				    : what);
	}
	close(h->image);
	symbol = dlsym(lib, AMUX_POLICY_SYMBOL);
	if (!symbol)
		return fail(h, "exports no symbol %s", AMUX_POLICY_SYMBOL);
	h->ops = symbol;
	return check_abi(h, h->ops);
}

static void describe(struct host *h, struct plugin_hello *hello)
{
	const struct amux_policy_ops *ops = h->ops;

	snprintf(hello->name, sizeof(hello->name), "%s", ops->name);
	snprintf(hello->summary, sizeof(hello->summary), "%s", ops->summary);
	hello->n_params = ops->n_params;
	for (uint32_t i = 0; i < ops->n_params; i++) {
		const struct amux_policy_param *from = &ops->params[i];
		struct plugin_param *to = &hello->params[i];

		snprintf(to->name, sizeof(to->name), "%s", from->name ? from->name : "");
		snprintf(to->help, sizeof(to->help), "%s", from->help ? from->help : "");
		to->unit = from->unit;
		to->min = from->min;
		to->max = from->max;
		to->def = from->def;
	}
}

/* check(), and start() for every mux thread. */
static int start(struct host *h, const struct plugin_values *values)
{
	const struct amux_policy_ops *ops = h->ops;
	char why[128] = "parameters do not go together";

	if (ops->check && ops->check(values->value, why, sizeof(why)))
		return fail(h, "%.*s", (int)sizeof(why) - 1, why);
	for (unsigned int i = 0; i < h->slots; i++) {
		h->state[i] = calloc(1, ops->state_size ? ops->state_size : 1);
		if (!h->state[i])
			return fail(h, "state of %zu bytes: out of memory", ops->state_size);
		if (ops->start)
			ops->start(h->state[i], values->value);
	}
	return 0;
}

/* ------------------------------------------------------------------------ serve */

unsigned int plugin_host_round(struct plugin_page *page, unsigned int slots,
			       const struct amux_policy_ops *ops, void *const *state)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < slots; i++) {
		struct plugin_slot *slot = &page->slot[i];
		/* Pairs with the release in plugin_ask(). */
		uint32_t asked = amux_load_acquire(&slot->asked);

		if (asked == slot->answered)
			continue;
		plan_default(&slot->answer.plan, slot->view.epoch_ns);
		slot->answer.ret = ops->plan(state[i], &slot->view, &slot->answer.plan);
		/* Pairs with the acquire in plugin_take(). */
		amux_store_release(&slot->answered, asked);
		n++;
	}
	return n;
}

static void serve(struct host *h)
{
	uint32_t seen;

	for (;;) {
		limit_cpu();
		/* Before looking: a kick that comes after that keeps the sleep from beginning.
		 * Pairs with the release in plugin_ask(). */
		seen = amux_load_acquire(&h->page->kick);
		if (!plugin_host_round(h->page, h->slots, h->ops, h->state))
			futex_wait_shared(&h->page->kick, seen);
	}
}

static int talk(const void *msg, size_t len)
{
	return send(PLUGIN_FD_TALK, msg, len, MSG_NOSIGNAL) == (ssize_t)len ? 0 : -1;
}

int plugin_host_main(void)
{
	static struct host h;
	static struct plugin_hello hello;
	static struct plugin_ready ready;
	struct plugin_values values;
	struct stat st;
	int ret;

	if (fstat(PLUGIN_FD_TALK, &st) || !S_ISSOCK(st.st_mode)) {
		fprintf(stderr, "accelmuxd: " PLUGIN_HOST_OPTION
				": only the broker itself starts that\n");
		return 2;
	}
	prctl(PR_SET_NAME, "amux-policy");
	limit_cpu();
	ret = page_map(&h) || image_make(&h) || confine(&h) || load(&h);
	if (ret)
		memcpy(hello.err, h.err, sizeof(hello.err));
	else
		describe(&h, &hello);
	if (talk(&hello, sizeof(hello)) || ret ||
	    recv(PLUGIN_FD_TALK, &values, sizeof(values), 0) != (ssize_t)sizeof(values))
		_exit(1);
	ret = start(&h, &values);
	memcpy(ready.err, h.err, sizeof(ready.err));
	if (talk(&ready, sizeof(ready)) || ret)
		_exit(1);
	close(PLUGIN_FD_TALK);
	serve(&h);
	return 0;
}
