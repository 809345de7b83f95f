// SPDX-License-Identifier: GPL-2.0-only
/*
 * layout_use.c - see layout_use.h.
 */
#include "layout_use.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "layout.h"

/* Is one of @pid's descriptors @path? */
static bool has_open(const char *pid, const char *path)
{
	char name[PATH_MAX], target[PATH_MAX];
	struct dirent *d;
	bool found = false;
	ssize_t n;
	DIR *dir;

	snprintf(name, sizeof(name), "/proc/%s/fd", pid);
	dir = opendir(name);
	while (dir && !found && (d = readdir(dir))) {
		n = readlinkat(dirfd(dir), d->d_name, target, sizeof(target) - 1);
		if (n < 0)
			continue;
		target[n] = '\0';
		found = !strcmp(target, path);
	}
	if (dir)
		closedir(dir);
	return found;
}

static void process_name(const char *pid, char *who, size_t len)
{
	char path[PATH_MAX], comm[32] = "";
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%s/comm", pid);
	f = fopen(path, "re");
	if (f && fgets(comm, sizeof(comm), f))
		comm[strcspn(comm, "\n")] = '\0';
	if (f)
		fclose(f);
	for (char *p = comm; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = '?';
	snprintf(who, len, "%s (pid %s)", comm, pid);
}

void layout_opener(const char *path, char *who, size_t len)
{
	DIR *proc = opendir("/proc");
	struct dirent *d;

	who[0] = '\0';
	while (proc && !who[0] && (d = readdir(proc)))
		if (d->d_name[0] >= '1' && d->d_name[0] <= '9' && has_open(d->d_name, path))
			process_name(d->d_name, who, len);
	if (proc)
		closedir(proc);
}

static int used_by_kernel(const char *at, int clients, char *err, size_t errlen)
{
	char who[64];

	layout_opener("/dev/accelmux", who, sizeof(who));
	if (who[0])
		snprintf(err, errlen,
			 "%s is in use: the kernel module holds its channel for %s; stop that "
			 "broker first",
			 at, who);
	else if (!access("/sys/module/accelmux", F_OK))
		snprintf(err, errlen,
			 "%s is in use by %d client, likely accelmux.ko (default=share): rmmod "
			 "accelmux first",
			 at, clients);
	else
		snprintf(err, errlen,
			 "%s is in use by %d client in the kernel: unload what took the "
			 "channel first, or leave its device out (--devices)",
			 at, clients);
	return -EBUSY;
}

static int used_by_program(const char *at, const struct idxd_wq *wq, char *err, size_t errlen)
{
	char who[64];

	layout_opener(wq->path, who, sizeof(who));
	snprintf(err, errlen,
		 "%s is in use by %d client%s%s: stop it first, or leave its device out "
		 "(--devices)",
		 at, wq->clients, who[0] ? ", " : "", who);
	return -EBUSY;
}

int layout_use_check(const struct idxd_device *dev, const struct idxd_device *const plans[],
		     unsigned int n, bool replace, char *err, size_t errlen)
{
	char at[2 * IDXD_NAME], why[160];

	for (unsigned int i = 0; i < dev->n_wqs; i++) {
		const struct idxd_wq *wq = &dev->wq[i], *of;
		bool known = replace;

		if (!wq->enabled)
			continue;
		snprintf(at, sizeof(at), "%s: wq%u.%u", dev->name, dev->id, wq->id);
		if (wq->clients > 0)
			return wq->type == IDXD_TYPE_KERNEL
				       ? used_by_kernel(at, wq->clients, err, errlen)
				       : used_by_program(at, wq, err, errlen);
		for (unsigned int j = 0; j < n && !known; j++) {
			of = plans[j] ? layout_wq(plans[j], wq->id) : NULL;
			known = of && layout_same_wq(dev, of, why, sizeof(why));
		}
		if (!known) {
			snprintf(err, errlen,
				 "%s is enabled as somebody else's (type %s, name '%s'): "
				 "disable it (accel-config disable-wq %s/wq%u.%u), leave its "
				 "device out (--devices), or --replace it",
				 at, wq->type == IDXD_TYPE_KERNEL ? "kernel" : "user", wq->name,
				 dev->name, dev->id, wq->id);
			return -EBUSY;
		}
	}
	return 0;
}
