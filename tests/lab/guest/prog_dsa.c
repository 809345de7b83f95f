// SPDX-License-Identifier: MIT
/*
 * dsa N COMMAND... - for shell tests: a command to the control socket of device model N, which
 * is serial port N + 2 here; prints the answer.  Exit 1 if it is an error, or none comes.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#define WAIT_MS 20000

static int port_open(int model)
{
	char path[32];
	struct termios t;
	int fd;

	snprintf(path, sizeof(path), "/dev/ttyS%d", model + 2);
	fd = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (fd < 0 || tcgetattr(fd, &t)) {
		fprintf(stderr, "dsa: %s: %s\n", path, strerror(errno));
		exit(1);
	}
	cfmakeraw(&t);
	t.c_cflag |= CLOCAL;
	cfsetspeed(&t, B115200);
	tcsetattr(fd, TCSANOW, &t);
	return fd;
}

/* A line without its end; false: nothing comes any more. */
static bool line_read(int fd, char *line, size_t size)
{
	struct pollfd p = { fd, POLLIN, 0 };
	size_t n = 0;
	char c;

	while (poll(&p, 1, WAIT_MS) == 1 && read(fd, &c, 1) == 1) {
		if (c == '\n') {
			line[n] = 0;
			return true;
		}
		if (n + 1 < size)
			line[n++] = c;
	}
	return false;
}

int main(int argc, char **argv)
{
	char command[256] = "", line[512];
	size_t used = 0;
	int fd, good = 0;

	if (argc < 3) {
		fprintf(stderr, "dsa: expected N COMMAND...\n");
		return 1;
	}
	for (int i = 2; i < argc && used < sizeof(command); i++)
		used += (size_t)snprintf(command + used, sizeof(command) - used, "%s%s",
					 argv[i], i + 1 < argc ? " " : "\n");
	fd = port_open(atoi(argv[1]));
	if (write(fd, command, strlen(command)) != (ssize_t)strlen(command))
		return 1;
	while (line_read(fd, line, sizeof(line))) {
		if (!strcmp(line, "."))
			return !good;
		good = !strcmp(line, "ok");
		if (!good)
			printf("%s\n", line);
	}
	fprintf(stderr, "dsa: the model does not answer\n");
	return 1;
}
