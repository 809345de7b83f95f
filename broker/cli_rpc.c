// SPDX-License-Identifier: GPL-2.0-only
/*
 * cli_rpc.c - one JSON-RPC request over the control socket, one answer, with a time-out.
 */
#include "cli.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "clock.h"

#define ANSWER_NS  (10 * NSEC_PER_SEC)
#define ANSWER_MAX (64u << 20)

static const char system_path[] = "/run/accelmux/control.sock";

/* Is there a socket that this user (nobody else in /tmp) made? */
static bool own_socket(const char *path)
{
	struct stat st;

	return !lstat(path, &st) && S_ISSOCK(st.st_mode) && st.st_uid == geteuid();
}

const char *cli_control(const struct cli *cli, char *buf, size_t len)
{
	const char *env = getenv("ACCELMUX_CONTROL"), *run = getenv("XDG_RUNTIME_DIR");

	if (cli->socket)
		return cli->socket;
	if (env && *env)
		return env;
	if (!geteuid())
		return system_path;
	if (run && *run == '/') {
		int n = snprintf(buf, len, "%s/accelmux/control.sock", run);

		if (n > 0 && (size_t)n < len && own_socket(buf))
			return buf;
	}
	snprintf(buf, len, "/tmp/accelmux-%u/control.sock", (unsigned int)geteuid());
	return own_socket(buf) ? buf : system_path;
}

/* One line in @err; returns @code. */
static int say(char *err, size_t errlen, int code, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

static int say(char *err, size_t errlen, int code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(err, errlen, fmt, ap);
	va_end(ap);
	return code;
}

static int connect_to(const char *path, int *out, char *err, size_t errlen)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd, rc;

	if (strlen(path) >= sizeof(sun.sun_path))
		return say(err, errlen, CLI_USAGE,
			   "%s: expected a path of at most %zu characters", path,
			   sizeof(sun.sun_path) - 1);
	strcpy(sun.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return say(err, errlen, CLI_FAILED, "socket: %s", strerror(errno));
	if (!connect(fd, (struct sockaddr *)&sun, sizeof(sun))) {
		*out = fd;
		return CLI_OK;
	}
	rc = errno;
	close(fd);
	if (rc == ENOENT || rc == ECONNREFUSED)
		return say(err, errlen, CLI_NO_BROKER, "%s: no broker listens there (%s)", path,
			   strerror(rc));
	return say(err, errlen, CLI_FAILED, "%s: cannot connect: %s", path, strerror(rc));
}

static int send_all(int fd, const char *text, size_t len)
{
	while (len) {
		ssize_t n = send(fd, text, len, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		text += n;
		len -= (size_t)n;
	}
	return 0;
}

/* Read up to a newline: a NUL-terminated line for the caller to free(), or NULL and errno. */
static char *read_line(int fd, uint64_t timeout_ns)
{
	uint64_t deadline = clock_ns() + timeout_ns, now;
	size_t used = 0, size = 65536;
	char *buf = malloc(size), *bigger;
	struct pollfd p = { .fd = fd, .events = POLLIN };
	ssize_t n;

	while (buf) {
		now = clock_ns();
		if (now >= deadline) {
			errno = ETIMEDOUT;
			break;
		}
		if (poll(&p, 1, (int)((deadline - now) / 1000000) + 1) < 0 && errno != EINTR)
			break;
		n = recv(fd, buf + used, size - used - 1, MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (n <= 0) {
			errno = n ? errno : ECONNRESET;
			break;
		}
		used += (size_t)n;
		buf[used] = '\0';
		if (memchr(buf + used - n, '\n', (size_t)n))
			return buf;
		if (used < size - 1)
			continue;
		if (size >= ANSWER_MAX) {
			errno = EMSGSIZE;
			break;
		}
		bigger = realloc(buf, size *= 2);
		if (!bigger)
			break;
		buf = bigger;
	}
	free(buf);
	return NULL;
}

/* Judge the answer; CLI_OK and a new reference in *@result. */
static int unpack(const char *path, const char *line, json_t **result, char *err, size_t errlen)
{
	json_t *answer = json_loads(line, 0, NULL), *error;
	int code;

	error = json_object_get(answer, "error");
	*result = json_incref(json_object_get(answer, "result"));
	if (error) {
		/* -32602: parameters; what the user typed, therefore. */
		code = say(err, errlen,
			   cli_int(error, "code") == (uint64_t)-32602 ? CLI_USAGE : CLI_FAILED,
			   "%s", cli_string(error, "message"));
	} else if (!*result) {
		code = say(err, errlen, CLI_FAILED,
			   "%s: the answer is not one of an accelmux broker", path);
	} else {
		code = CLI_OK;
	}
	json_decref(answer);
	return code;
}

int cli_try(const struct cli *cli, const char *method, json_t *params, uint64_t timeout_ns,
	    json_t **result, char *err, size_t errlen)
{
	char buf[256], *text, *line;
	const char *path = cli_control(cli, buf, sizeof(buf));
	json_t *request;
	int fd = -1, code, rc;

	request = json_pack("{s:s, s:i, s:s, s:o*}", "jsonrpc", "2.0", "id", 1, "method",
			    method, "params", params);
	text = request ? json_dumps(request, JSON_COMPACT) : NULL;
	json_decref(request);
	if (!text)
		return say(err, errlen, CLI_USAGE, "%s: expected valid UTF-8", method);
	code = connect_to(path, &fd, err, errlen);
	if (code)
		goto free_text;
	rc = send_all(fd, text, strlen(text));
	if (!rc)
		rc = send_all(fd, "\n", 1);
	line = rc ? NULL : read_line(fd, timeout_ns);
	if (line)
		code = unpack(path, line, result, err, errlen);
	else
		code = say(err, errlen, CLI_FAILED, "%s: no answer from the broker: %s", path,
			   strerror(rc ? -rc : errno));
	free(line);
	close(fd);
free_text:
	free(text);
	return code;
}

int cli_call(const struct cli *cli, const char *method, json_t *params, json_t **result)
{
	char err[1024];
	int code = cli_try(cli, method, params, ANSWER_NS, result, err, sizeof(err));

	return code ? cli_fail(code, "%s", err) : code;
}

int cli_call_plain(const struct cli *cli, const char *method, json_t **result)
{
	if (cli->argc > 1)
		return cli_fail(CLI_USAGE, "%s: '%s': expected no argument", cli->argv[0],
				cli->argv[1]);
	return cli_call(cli, method, NULL, result);
}

int cli_print_json(const json_t *result)
{
	if (json_dumpf(result, stdout, JSON_INDENT(2)) || putchar('\n') == EOF)
		return cli_fail(CLI_FAILED, "standard output: %s", strerror(errno));
	return CLI_OK;
}
