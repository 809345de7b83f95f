// SPDX-License-Identifier: GPL-2.0-only
/*
 * uevent.c - see uevent.h.
 */
#include "uevent.h"

#include <errno.h>
#include <linux/netlink.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define GROUP_KERNEL 1

int uevent_open(void)
{
	struct sockaddr_nl sa = { .nl_family = AF_NETLINK, .nl_groups = GROUP_KERNEL };
	int ret, fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
			     NETLINK_KOBJECT_UEVENT);

	if (fd < 0)
		return -errno;
	if (bind(fd, (struct sockaddr *)&sa, sizeof(sa))) {
		ret = -errno;
		close(fd);
		return ret;
	}
	return fd;
}

/* "ACTION@DEVPATH", then "KEY=VALUE"s, each with a NUL. */
static bool about_dsa(const char *buf, size_t len)
{
	for (size_t at = 0; at < len; at += strlen(buf + at) + 1)
		if (!strcmp(buf + at, "SUBSYSTEM=dsa") || strstr(buf + at, "/dsa"))
			return true;
	return false;
}

bool uevent_read(int fd)
{
	char buf[4097];
	bool ours = false;
	ssize_t n;

	while ((n = recv(fd, buf, sizeof(buf) - 1, 0)) >= 0 || errno == ENOBUFS) {
		if (n < 0) {
			ours = true;
			continue;
		}
		buf[n] = 0;
		ours |= about_dsa(buf, (size_t)n);
	}
	return ours;
}
