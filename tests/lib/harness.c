/* SPDX-License-Identifier: MIT */
#include "harness.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define SETS_MAX       60
#define RPC_ANSWER     (4u << 20)
#define LOG_TAIL       4000
#define START_S	       10
#define STOP_S	       10
#define RPC_TIMEOUT_MS (10000 * (int)TAP_SLOW)

/* ------------------------------------------------------------------- life of it */

void daemon_prepare(struct daemon *d)
{
	int fd;

	memset(d, 0, sizeof(*d));
	d->rpc = -1;
	strcpy(d->dir, "/tmp/amux-test-XXXXXX");
	if (!mkdtemp(d->dir))
		tap_bail("%s: %s", d->dir, strerror(errno));
	snprintf(d->socket, sizeof(d->socket), "%s/accelmux.sock", d->dir);
	snprintf(d->control, sizeof(d->control), "%s/control.sock", d->dir);
	snprintf(d->config, sizeof(d->config), "%s/accelmux.conf", d->dir);
	snprintf(d->log, sizeof(d->log), "%s/log", d->dir);
	fd = open(d->config, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	if (fd < 0)
		tap_bail("%s: %s", d->config, strerror(errno));
	close(fd);
}

static void redirect(const char *path)
{
	int fd = open(path, O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);

	if (fd < 0 || dup2(fd, STDOUT_FILENO) < 0 || dup2(fd, STDERR_FILENO) < 0)
		_exit(126);
}

void daemon_launch(struct daemon *d, const char *const *sets, bool own_paths)
{
	const char *argv[2 * SETS_MAX + 16], *paths[4];
	char program[600], text[3][160];
	pid_t parent = getpid();
	unsigned int n = 0;

	snprintf(program, sizeof(program), "%s/accelmuxd", tap_build());
	snprintf(text[0], sizeof(text[0]), "broker.socket=%s", d->socket);
	snprintf(text[1], sizeof(text[1]), "broker.control=%s", d->control);
	snprintf(text[2], sizeof(text[2]), "broker.metrics=off");
	argv[n++] = "accelmuxd";
	argv[n++] = "--config";
	argv[n++] = d->config;
	for (unsigned int i = 0; i < 3 && !own_paths; i++) {
		paths[i] = text[i];
		argv[n++] = "--set";
		argv[n++] = paths[i];
	}
	for (unsigned int i = 0; sets && sets[i]; i++) {
		if (i == SETS_MAX)
			tap_bail("more than %d settings", SETS_MAX);
		argv[n++] = "--set";
		argv[n++] = sets[i];
	}
	if (d->wait) {
		argv[n++] = "--wait";
		argv[n++] = d->wait;
	}
	argv[n] = NULL;
	d->pid = fork();
	if (d->pid < 0)
		tap_bail("fork: %s", strerror(errno));
	if (d->pid)
		return;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(126);
	alarm(0);
	redirect(d->log);
	execv(program, (char *const *)(uintptr_t)argv);
	_exit(127);
}

static int control_connect(const struct daemon *d)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		tap_bail("socket: %s", strerror(errno));
	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", d->control);
	if (!connect(fd, (struct sockaddr *)&sa, sizeof(sa)))
		return fd;
	close(fd);
	return -1;
}

void daemon_await(struct daemon *d)
{
	uint64_t end = tap_ns() + START_S * TAP_SLOW * 1000000000ull;
	char err[256];
	json_t *r;

	while ((d->rpc = control_connect(d)) < 0) {
		int status = process_wait(d->pid, 2);

		if (status == -1 && tap_ns() < end)
			continue;
		daemon_show_log(d);
		tap_bail("accelmuxd did not come up (status %d)", status);
	}
	r = daemon_rpc(d, "version", NULL, err, sizeof(err));
	if (!r)
		tap_bail("version: %s", err);
	json_decref(r);
}

void daemon_start(struct daemon *d, ...)
{
	const char *sets[SETS_MAX + 1];
	unsigned int n = 0;
	va_list ap;

	va_start(ap, d);
	while (n < SETS_MAX && (sets[n] = va_arg(ap, const char *)))
		n++;
	va_end(ap);
	sets[n] = NULL;
	daemon_prepare(d);
	daemon_launch(d, sets, false);
	daemon_await(d);
}

static void control_close(struct daemon *d)
{
	if (d->rpc >= 0)
		close(d->rpc);
	d->rpc = -1;
}

int daemon_terminate(struct daemon *d, unsigned int timeout_s)
{
	int status;

	kill(d->pid, SIGTERM);
	status = process_wait(d->pid, timeout_s * TAP_SLOW * 1000);
	control_close(d);
	if (status == -1) {
		kill(d->pid, SIGABRT); /* a core, or a sanitizer's stack, says where it hangs */
		if (process_wait(d->pid, 2000) == -1)
			daemon_kill(d);
	}
	d->pid = 0;
	return status;
}

void daemon_stop(struct daemon *d)
{
	uint64_t start = tap_ns();
	int status = daemon_terminate(d, STOP_S);
	unsigned int ms = (unsigned int)((tap_ns() - start) / 1000000);

	if (!tap_ok(status == 0, "broker drains and exits 0 on SIGTERM (status %d after %u ms)",
		    status, ms))
		daemon_show_log(d);
	daemon_clean(d);
}

void daemon_kill(struct daemon *d)
{
	kill(d->pid, SIGKILL);
	waitpid(d->pid, NULL, 0);
	control_close(d);
	d->pid = 0;
}

void daemon_clean(struct daemon *d)
{
	struct dirent *e;
	DIR *dir = opendir(d->dir);
	char path[400];

	while (dir && (e = readdir(dir))) {
		snprintf(path, sizeof(path), "%s/%s", d->dir, e->d_name);
		unlink(path);
	}
	if (dir)
		closedir(dir);
	rmdir(d->dir);
}

/* The last of the log, in a static buffer. */
static const char *log_tail(const struct daemon *d)
{
	static char text[LOG_TAIL + 1];
	int fd = open(d->log, O_RDONLY | O_CLOEXEC);
	off_t size = fd < 0 ? 0 : lseek(fd, 0, SEEK_END);
	ssize_t n = 0;

	if (size > 0)
		n = pread(fd, text, LOG_TAIL, size > LOG_TAIL ? size - LOG_TAIL : 0);
	text[n > 0 ? n : 0] = '\0';
	if (fd >= 0)
		close(fd);
	return text;
}

void daemon_show_log(const struct daemon *d)
{
	char text[LOG_TAIL + 1], *line, *rest = text;

	snprintf(text, sizeof(text), "%s", log_tail(d));
	while ((line = strsep(&rest, "\n")))
		if (*line)
			tap_note("accelmuxd: %s", line);
}

bool daemon_logged(const struct daemon *d, const char *text, unsigned int timeout_ms)
{
	uint64_t end = tap_ns() + timeout_ms * 1000000ull;

	while (!strstr(log_tail(d), text)) {
		if (tap_ns() > end)
			return false;
		tap_sleep_ms(2);
	}
	return true;
}

/* ------------------------------------------------------------------------ asking */

static bool write_all(int fd, const char *text, size_t len)
{
	while (len) {
		ssize_t n = send(fd, text, len, MSG_NOSIGNAL);

		if (n <= 0)
			return false;
		text += n;
		len -= (size_t)n;
	}
	return true;
}

/* One line, without its newline, to be freed; NULL: none came. */
static char *read_line(int fd)
{
	size_t used = 0, size = 65536;
	char *buf = malloc(size);

	while (buf && used < RPC_ANSWER) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		ssize_t n;

		if (used + 1 == size) {
			char *more = realloc(buf, size * 2);

			if (!more)
				break;
			buf = more;
			size *= 2;
		}
		if (poll(&p, 1, RPC_TIMEOUT_MS) != 1)
			break;
		n = read(fd, buf + used, size - used - 1);
		if (n <= 0)
			break;
		used += (size_t)n;
		if (buf[used - 1] == '\n') {
			buf[used - 1] = '\0';
			return buf;
		}
	}
	free(buf);
	return NULL;
}

json_t *daemon_rpc(struct daemon *d, const char *method, json_t *params, char *err,
		   size_t errlen)
{
	json_t *req, *answer, *result;
	char *line, *text;
	bool sent;

	req = json_pack("{s:s, s:i, s:s}", "jsonrpc", "2.0", "id", 1, "method", method);
	if (params)
		json_object_set_new(req, "params", params);
	line = json_dumps(req, JSON_COMPACT);
	json_decref(req);
	if (d->rpc < 0)
		d->rpc = control_connect(d);
	sent = d->rpc >= 0 && write_all(d->rpc, line, strlen(line)) &&
	       write_all(d->rpc, "\n", 1);
	free(line);
	text = sent ? read_line(d->rpc) : NULL;
	if (!text) {
		control_close(d);
		snprintf(err, errlen, "%s: no answer from the control socket", method);
		return NULL;
	}
	answer = json_loads(text, 0, NULL);
	if (!answer)
		tap_bail("%s: not JSON: %.200s", method, text);
	free(text);
	result = json_incref(json_object_get(answer, "result"));
	if (!result) {
		const char *why = json_string_value(
			json_object_get(json_object_get(answer, "error"), "message"));

		snprintf(err, errlen, "%s", why ? why : "neither result nor error");
	}
	json_decref(answer);
	return result;
}

json_t *daemon_ask(struct daemon *d, const char *method)
{
	char err[512];
	json_t *r = daemon_rpc(d, method, NULL, err, sizeof(err));

	if (!r) {
		daemon_show_log(d);
		tap_bail("%s: %s", method, err);
	}
	return r;
}

void daemon_policy(struct daemon *d, const char *name, const char *params)
{
	json_t *values = json_object(), *r;
	char text[256], *word, *rest = text, err[512];

	snprintf(text, sizeof(text), "%s", params ? params : "");
	while ((word = strsep(&rest, " "))) {
		char *eq = strchr(word, '=');

		if (!eq)
			continue;
		*eq = '\0';
		json_object_set_new(values, word, json_string(eq + 1));
	}
	r = daemon_rpc(d, "policy.set", json_pack("{s:s, s:o}", "name", name, "params", values),
		       err, sizeof(err));
	if (!r)
		tap_bail("policy.set %s %s: %s", name, params ? params : "", err);
	json_decref(r);
}

static const char *const names[] = { "name", "class", "wq", "device" };

static json_t *array_find(const json_t *array, const char *word)
{
	char *end;
	unsigned long i = strtoul(word, &end, 10);
	json_t *e;

	if (!*end)
		return json_array_get(array, i);
	json_array_foreach(array, i, e)
	{
		for (unsigned int n = 0; n < sizeof(names) / sizeof(names[0]); n++) {
			const char *is = json_string_value(json_object_get(e, names[n]));

			if (is && !strcmp(is, word))
				return e;
		}
	}
	return NULL;
}

json_t *json_at(const json_t *doc, const char *path)
{
	json_t *at = (json_t *)(uintptr_t)doc;
	char text[160], *word, *rest = text;

	snprintf(text, sizeof(text), "%s", path);
	while ((word = strsep(&rest, "."))) {
		at = json_is_array(at) ? array_find(at, word) : json_object_get(at, word);
		if (!at)
			tap_bail("the broker's answer has no %s (at %s)", path, word);
	}
	return at;
}

uint64_t json_count(const json_t *doc, const char *path)
{
	json_t *v = json_at(doc, path);

	if (!json_is_integer(v))
		tap_bail("%s: expected an integer", path);
	return (uint64_t)json_integer_value(v);
}

const char *json_text(const json_t *doc, const char *path)
{
	json_t *v = json_at(doc, path);

	if (!json_is_string(v))
		tap_bail("%s: expected a string", path);
	return json_string_value(v);
}

uint64_t daemon_count(struct daemon *d, const char *method, const char *path)
{
	json_t *doc = daemon_ask(d, method);
	uint64_t v = json_count(doc, path);

	json_decref(doc);
	return v;
}

bool daemon_settles(struct daemon *d, const char *method, const char *path, uint64_t want,
		    unsigned int timeout_ms)
{
	uint64_t end = tap_ns() + timeout_ms * 1000000ull;

	while (daemon_count(d, method, path) != want) {
		if (tap_ns() > end)
			return false;
		tap_sleep_ms(2);
	}
	return true;
}

bool daemon_let_go(struct daemon *d)
{
	return daemon_settles(d, "status", "closing", 0, 5000 * TAP_SLOW);
}

unsigned int daemon_fds(const struct daemon *d)
{
	unsigned int n = 0;
	struct dirent *e;
	char path[64];
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)d->pid);
	dir = opendir(path);
	if (!dir)
		tap_bail("%s: %s", path, strerror(errno));
	while ((e = readdir(dir)))
		n += e->d_name[0] != '.';
	closedir(dir);
	return n;
}

/* Calls @line for every line of /proc/PID/@file. */
static void proc_lines(const struct daemon *d, const char *file,
		       void (*line)(const char *text, uint64_t *sum), uint64_t *sum)
{
	char path[64], text[1024];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)d->pid, file);
	f = fopen(path, "re");
	if (!f)
		tap_bail("%s: %s", path, strerror(errno));
	while (fgets(text, sizeof(text), f))
		line(text, sum);
	fclose(f);
}

static void line_memfd(const char *text, uint64_t *sum)
{
	*sum += strstr(text, "memfd:") != NULL;
}

static void line_shmem(const char *text, uint64_t *sum)
{
	if (!strncmp(text, "RssShmem:", 9))
		*sum = strtoull(text + 9, NULL, 10);
}

unsigned int daemon_memfds(const struct daemon *d)
{
	uint64_t n = 0;

	proc_lines(d, "maps", line_memfd, &n);
	return (unsigned int)n;
}

uint64_t daemon_shmem_kib(const struct daemon *d)
{
	uint64_t kib = 0;

	proc_lines(d, "status", line_shmem, &kib);
	return kib;
}

/* ---------------------------------------------------------------------- programs */

static void program_exec(const char *const *argv, const char *socket, int out)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	alarm(0);
	if (socket)
		setenv("ACCELMUX_SOCKET", socket, 1);
	else
		unsetenv("ACCELMUX_SOCKET");
	if (dup2(out, STDOUT_FILENO) < 0 || dup2(out, STDERR_FILENO) < 0)
		_exit(126);
	execv(argv[0], (char *const *)(uintptr_t)argv);
	_exit(127);
}

int program_run(const char *const *argv, const char *socket, char *out, size_t len,
		unsigned int timeout_s)
{
	uint64_t end = tap_ns() + timeout_s * TAP_SLOW * 1000000000ull;
	int pipefd[2], status;
	char dropped[4096];
	size_t used = 0;
	pid_t pid;

	if (pipe2(pipefd, O_CLOEXEC))
		tap_bail("pipe2: %s", strerror(errno));
	pid = fork();
	if (pid < 0)
		tap_bail("fork: %s", strerror(errno));
	if (!pid)
		program_exec(argv, socket, pipefd[1]);
	close(pipefd[1]);
	for (;;) {
		struct pollfd p = { .fd = pipefd[0], .events = POLLIN };
		bool room = used + 1 < len;
		ssize_t n;

		if (tap_ns() > end)
			break;
		if (poll(&p, 1, 50) <= 0)
			continue;
		n = read(pipefd[0], room ? out + used : dropped,
			 room ? len - used - 1 : sizeof(dropped));
		if (n <= 0)
			break;
		used += room ? (size_t)n : 0;
	}
	out[used] = '\0';
	close(pipefd[0]);
	status = process_wait(pid,
			      tap_ns() < end ? (unsigned int)((end - tap_ns()) / 1000000) : 0);
	if (status == -1) {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
	return status;
}
