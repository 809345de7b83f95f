/* SPDX-License-Identifier: MIT */
#include "web.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tap.h"

#define TIMEOUT_MS (5000 * (int)TAP_SLOW)

unsigned int web_port(void)
{
	struct sockaddr_in sa = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(sa);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&sa, sizeof(sa)) ||
	    getsockname(fd, (struct sockaddr *)&sa, &len))
		tap_bail("no free port: %s", strerror(errno));
	close(fd);
	return ntohs(sa.sin_port);
}

unsigned int web_send(unsigned int port, const char *request, char *body, size_t len)
{
	struct sockaddr_in sa = { .sin_family = AF_INET,
				  .sin_port = htons((uint16_t)port),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	static char page[WEB_PAGE_MAX];
	unsigned int code = 0;
	size_t used = 0;
	char *start;

	body[0] = '\0';
	if (fd < 0 || connect(fd, (struct sockaddr *)&sa, sizeof(sa)) ||
	    send(fd, request, strlen(request), MSG_NOSIGNAL) < 0) {
		close(fd);
		return 0;
	}
	while (used < sizeof(page) - 1) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		ssize_t n = poll(&p, 1, TIMEOUT_MS) == 1
				    ? read(fd, page + used, sizeof(page) - 1 - used)
				    : 0;

		if (n <= 0)
			break;
		used += (size_t)n;
	}
	close(fd);
	page[used] = '\0';
	start = strstr(page, "\r\n\r\n");
	if (sscanf(page, "HTTP/1.%*u %u", &code) != 1 || !start)
		return 0;
	snprintf(body, len, "%s", start + 4);
	return code;
}

unsigned int web_get(unsigned int port, const char *path, char *body, size_t len)
{
	char request[128];

	snprintf(request, sizeof(request),
		 "GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", path);
	return web_send(port, request, body, len);
}
