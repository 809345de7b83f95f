// SPDX-License-Identifier: MIT
/*
 * stage.c - see stage.h.
 */
#include "stage.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define METRICS_PORT 9437
#define START_MS     10000
#define START_TICK   20
#define STOP_MS	     20000
#define ARGS	     4

int stage_open(struct stage *s, const char *build)
{
	const char *tmp = getenv("TMPDIR");
	int n;

	memset(s, 0, sizeof(*s));
	s->build = build;
	n = snprintf(s->dir, sizeof(s->dir), "%s/accelmux-tour-XXXXXX",
		     tmp && *tmp == '/' ? tmp : "/tmp");
	/* A socket's path is short. */
	if (n < 0 || (size_t)n >= sizeof(s->dir))
		strcpy(s->dir, "/tmp/accelmux-tour-XXXXXX");
	if (!mkdtemp(s->dir)) {
		s->dir[0] = '\0';
		return -errno;
	}
	snprintf(s->socket, sizeof(s->socket), "%s/accelmux.sock", s->dir);
	snprintf(s->control, sizeof(s->control), "%s/control.sock", s->dir);
	snprintf(s->config, sizeof(s->config), "%s/accelmux.conf", s->dir);
	snprintf(s->trace, sizeof(s->trace), "%s/kernel.trace", s->dir);
	snprintf(s->log, sizeof(s->log), "%s/log", s->dir);
	return 0;
}

/* @port, or any free one if that is 0; 0 if it is taken. */
static unsigned int free_port(unsigned int port)
{
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
	socklen_t len = sizeof(sin);

	sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd < 0)
		return 0;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&sin, sizeof(sin)) ||
	    getsockname(fd, (struct sockaddr *)&sin, &len))
		sin.sin_port = 0;
	close(fd);
	return ntohs(sin.sin_port);
}

/*
 * The batches of the first half of STAGE_PASS_NS of @from, then rest until that has passed: a
 * lone page ends it, as the replay repeats a trace one mean gap after its last batch.  Short,
 * so that what the kernel class falls behind by in one phase is soon caught up with in the
 * next.
 */
static int copy_trace(const struct stage *s, const char *from)
{
	FILE *in = fopen(from, "re"), *out = fopen(s->trace, "we");
	int err = in && out ? 0 : -errno;
	unsigned long long batches = 0;
	char line[256];

	while (!err && fgets(line, sizeof(line), in)) {
		bool batch = *line >= '0' && *line <= '9';

		if (batch && strtoull(line, NULL, 10) >= STAGE_PASS_NS / 2)
			break;
		batches += batch;
		if (fputs(line, out) < 0)
			err = -EIO;
	}
	if (!err &&
	    fprintf(out, "%llu demotion 1 0 1\n", STAGE_PASS_NS * batches / (batches + 1)) < 0)
		err = -EIO;
	if (in)
		fclose(in);
	if (out && fclose(out) && !err)
		err = -errno;
	return err;
}

static int write_config(const struct stage *s, unsigned int gold, unsigned int bronze,
			bool kernel)
{
	FILE *f = fopen(s->config, "we");
	char metrics[32] = "off";

	if (!f)
		return -errno;
	if (s->port)
		snprintf(metrics, sizeof(metrics), "127.0.0.1:%u", s->port);
	fprintf(f,
		"[broker]\nsocket = %s\ncontrol = %s\nmetrics = %s\npolicy = " STAGE_POLICY "\n"
		"kernel = %s%s\nreplay_loop = on\nreplay_verify = on\n\n"
		"[soft]\nmodel = on\n\n"
		"[tenant gold]\nname = gold\nweight = %u\n\n"
		"[tenant bronze]\nname = bronze\nweight = %u\n",
		s->socket, s->control, metrics, kernel ? "replay:" : "none",
		kernel ? s->trace : "", gold, bronze);
	return fclose(f) ? -errno : 0;
}

/* Does the broker take connections? */
static bool answers(const struct stage *s)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool up;

	memcpy(sun.sun_path, s->control, strlen(s->control) + 1);
	up = fd >= 0 && !connect(fd, (struct sockaddr *)&sun, sizeof(sun));
	if (fd >= 0)
		close(fd);
	return up;
}

int stage_start(struct stage *s, unsigned int gold, unsigned int bronze, const char *trace)
{
	char path[512];
	char *argv[] = { path, (char[]){ "--config" }, s->config, NULL };
	int err = trace ? copy_trace(s, trace) : 0;

	s->port = free_port(METRICS_PORT);
	if (!s->port)
		s->port = free_port(0);
	if (!err)
		err = write_config(s, gold, bronze, trace != NULL);
	snprintf(path, sizeof(path), "%s/accelmuxd", s->build);
	if (!err)
		err = child_start(&s->broker, "accelmuxd", argv, s->log);
	for (int ms = 0; !err && !answers(s); ms += START_TICK) {
		if (child_gone(&s->broker))
			return -EIO;
		err = ms < START_MS ? child_sleep(START_TICK) : -ETIMEDOUT;
	}
	return err;
}

int stage_call(struct stage *s, json_t **answer, const char *arg, ...)
{
	char path[512];
	char *argv[4 + ARGS + 1] = { path, (char[]){ "--json" }, (char[]){ "--socket" },
				     s->control };
	unsigned int n = 4;
	va_list ap;

	snprintf(path, sizeof(path), "%s/accelmux", s->build);
	va_start(ap, arg);
	for (; arg && n < 4 + ARGS; arg = va_arg(ap, const char *))
		argv[n++] = (char *)(uintptr_t)arg; /* execv() writes to none of them */
	va_end(ap);
	return child_run(argv, s->log, answer);
}

int stage_stop(struct stage *s)
{
	return child_end(&s->broker, SIGTERM, STOP_MS) ? -EIO : 0;
}

void stage_print_log(const struct stage *s)
{
	FILE *f = s->dir[0] ? fopen(s->log, "re") : NULL;
	char line[512];

	while (f && fgets(line, sizeof(line), f))
		fprintf(stderr, "  | %s", line);
	if (f)
		fclose(f);
}

void stage_close(struct stage *s)
{
	struct dirent *e;
	DIR *d;

	child_end(&s->broker, SIGTERM, STOP_MS);
	if (!s->dir[0])
		return;
	d = opendir(s->dir);
	while (d && (e = readdir(d)))
		unlinkat(dirfd(d), e->d_name, 0);
	if (d)
		closedir(d);
	if (rmdir(s->dir))
		fprintf(stderr, "tour: %s: cannot remove: %s\n", s->dir, strerror(errno));
	s->dir[0] = '\0';
}
