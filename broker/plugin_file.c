// SPDX-License-Identifier: GPL-2.0-only
/*
 * plugin_file.c - see plugin_file.h.
 */
#include "plugin_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SUFFIX ".so"

void plugin_file_dir(char *dir, size_t len)
{
	char exe[PLUGIN_PATH_LEN];
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);

	exe[n > 0 ? n : 0] = '\0';
	for (int up = 0; up < 2; up++) {
		char *slash = strrchr(exe, '/');

		if (slash)
			*slash = '\0';
	}
	n = snprintf(dir, len, "%s/lib/accelmux/policies", exe);
	if (n < 0 || (size_t)n >= len)
		snprintf(dir, len, "/usr/local/lib/accelmux/policies");
}

int plugin_file_find(const char *name, const char *dir, const char *beside, char *path,
		     size_t len, char *err, size_t errlen)
{
	bool plain = !strchr(name, '/');
	char from[PATH_MAX];
	struct stat st;
	int n;

	if (name[0] == '/')
		n = snprintf(path, len, "%s", name);
	else if (plain)
		n = snprintf(path, len, "%s/%s" SUFFIX, dir, name);
	else if (beside && realpath(beside, from))
		n = snprintf(path, len, "%s/%s", from, name);
	else
		n = -1;
	if (n < 0) {
		snprintf(err, errlen, "expected an absolute path");
		return -EINVAL;
	}
	if ((size_t)n >= len) {
		snprintf(err, errlen, "expected a path of at most %zu characters", len - 1);
		return -ENAMETOOLONG;
	}
	if (plain && (!name[0] || stat(path, &st))) {
		snprintf(err, errlen, "or a plug-in, by its path or as NAME of %s/NAME" SUFFIX,
			 dir);
		return -ENOENT;
	}
	return 0;
}

int plugin_file_open(const char *path, char *err, size_t errlen)
{
	/* Without waiting for the other end of what turns out to be a pipe. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK), ret = -EPERM;
	struct stat st;

	if (fd < 0 || fstat(fd, &st)) {
		ret = -errno;
		snprintf(err, errlen, "%s: cannot open: %s", path, strerror(-ret));
		goto out;
	}
	if (!S_ISREG(st.st_mode))
		snprintf(err, errlen, "%s: expected a regular file", path);
	else if (st.st_uid && st.st_uid != geteuid())
		snprintf(err, errlen,
			 "%s: belongs to user %u, expected root or the broker's user (%u)",
			 path, st.st_uid, geteuid());
	else if (st.st_mode & (S_IWGRP | S_IWOTH))
		snprintf(err, errlen,
			 "%s: has mode %04o, expected one that only its owner may write (chmod "
			 "go-w)",
			 path, st.st_mode & 07777);
	else
		return fd;
out:
	if (fd >= 0)
		close(fd);
	return ret;
}

void plugin_file_stem(const char *path, char *stem, size_t len)
{
	const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
	size_t n = strlen(base);

	if (n > strlen(SUFFIX) && !strcmp(base + n - strlen(SUFFIX), SUFFIX))
		n -= strlen(SUFFIX);
	snprintf(stem, len, "%.*s", (int)n, base);
}
