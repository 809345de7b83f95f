// SPDX-License-Identifier: MIT
/*
 * test_control.c - the control socket: JSON-RPC by the book, garbage, floods, slow clients;
 * and HTTP beside it on the same loop.
 */
#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "../../broker/control.h"
#include "../../broker/http.h"
#include "../../broker/rpc.h"
#include "fake_broker.h"

static struct broker b;

static void setup(void)
{
	fake_init(&b);
}

/* ----------------------------------------------------------------------- rpc */

/* The answer to @request as JSON, or NULL if there is none. */
static json_t *ask(const char *request)
{
	char *line = rpc_answer(&b, request, strlen(request), NULL);
	json_t *answer;

	if (!line)
		return NULL;
	ck_assert_int_eq(line[strlen(line) - 1], '\n');
	ck_assert_ptr_eq(strchr(line, '\n'), line + strlen(line) - 1);
	answer = json_loads(line, 0, NULL);
	ck_assert_msg(answer != NULL, "%s", line);
	free(line);
	return answer;
}

static int error_code(const json_t *answer)
{
	const json_t *e = json_object_get(answer, "error");

	ck_assert_str_eq(json_string_value(json_object_get(answer, "jsonrpc")), "2.0");
	ck_assert_ptr_nonnull(json_object_get(answer, "id"));
	ck_assert_ptr_null(json_object_get(answer, "result"));
	ck_assert_ptr_nonnull(json_string_value(json_object_get(e, "message")));
	return (int)json_integer_value(json_object_get(e, "code"));
}

static void refused(const char *request, int code)
{
	json_t *answer = ask(request);

	ck_assert_msg(error_code(answer) == code, "%s", request);
	json_decref(answer);
}

/* The text of the error that @request is refused with. */
static void refused_with(const char *request, const char *text)
{
	json_t *answer = ask(request);
	const char *got;

	ck_assert_int_eq(error_code(answer), -32602);
	got = json_string_value(json_object_get(json_object_get(answer, "error"), "message"));
	ck_assert_msg(strstr(got, text) != NULL, "%s", got);
	json_decref(answer);
}

START_TEST(protocol)
{
	char *line;
	json_t *a;

	refused("", -32700);
	refused("{", -32700);
	refused("nonsense", -32700);
	refused("\"\xff\"", -32700);
	refused("{\"jsonrpc\":\"2.0\",\"jsonrpc\":\"2.0\",\"method\":\"version\",\"id\":1}",
		-32700);
	refused("42", -32600);
	refused("[]", -32600);
	refused("{}", -32600);
	refused("{\"jsonrpc\":\"1.0\",\"method\":\"version\",\"id\":1}", -32600);
	refused("{\"jsonrpc\":\"2.0\",\"method\":5,\"id\":1}", -32600);
	refused("{\"jsonrpc\":\"2.0\",\"method\":\"version\",\"id\":{}}", -32600);
	refused("{\"jsonrpc\":\"2.0\",\"method\":\"version\",\"id\":1,\"params\":3}", -32600);
	refused("{\"jsonrpc\":\"2.0\",\"method\":\"nosuch\",\"id\":1}", -32601);
	refused("{\"jsonrpc\":\"2.0\",\"method\":\"status\",\"id\":1,\"params\":[1]}", -32602);
	refused("{\"jsonrpc\":\"2.0\",\"method\":\"status\",\"id\":1,\"params\":{\"x\":1}}",
		-32602);
	/* A name that is cut inside a character. */
	refused("{\"jsonrpc\":\"2.0\",\"method\":"
		"\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
		"aaaaaaaaaaaaaaa\xc3\xa4\",\"id\":1}",
		-32601);

	a = ask("{\"jsonrpc\":\"2.0\",\"method\":\"version\",\"id\":\"x\",\"params\":[]}");
	ck_assert_str_eq(json_string_value(json_object_get(a, "id")), "x");
	ck_assert_str_eq(
		json_string_value(json_object_get(json_object_get(a, "result"), "version")),
		AMUX_VERSION);
	json_decref(a);
	ck_assert_ptr_null(ask("{\"jsonrpc\":\"2.0\",\"method\":\"version\"}"));
	ck_assert_ptr_null(ask("{\"jsonrpc\":\"2.0\",\"method\":\"nosuch\"}"));
	line = rpc_too_long();
	a = json_loads(line, 0, NULL);
	ck_assert_int_eq(error_code(a), -32600);
	json_decref(a);
	free(line);
}
END_TEST

START_TEST(batches)
{
	char many[4096] = "[0";
	json_t *a;

	a = ask("[{\"jsonrpc\":\"2.0\",\"method\":\"version\",\"id\":7}, 1,"
		" {\"jsonrpc\":\"2.0\",\"method\":\"version\"},"
		" {\"jsonrpc\":\"2.0\",\"method\":\"no\",\"id\":8}]");
	ck_assert_uint_eq(json_array_size(a), 3);
	ck_assert_int_eq(json_integer_value(json_object_get(json_array_get(a, 0), "id")), 7);
	ck_assert_int_eq(error_code(json_array_get(a, 1)), -32600);
	ck_assert_int_eq(error_code(json_array_get(a, 2)), -32601);
	json_decref(a);
	ck_assert_ptr_null(ask("[{\"jsonrpc\":\"2.0\",\"method\":\"version\"}]"));
	for (unsigned int i = 1; i < RPC_BATCH_MAX; i++)
		strcat(many, ",0");
	strcat(many, "]");
	a = ask(many);
	ck_assert_uint_eq(json_array_size(a), RPC_BATCH_MAX);
	json_decref(a);
	strcpy(many + strlen(many) - 1, ",0]");
	refused(many, -32600);
}
END_TEST

#define VERSION_1 "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"version\"}"
#define SET(params) \
	"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"policy.set\",\"params\":" params "}"

START_TEST(policy_set)
{
	int i = config_policy_index("dynamic");
	const char *name;
	json_t *a, *r;

	ck_assert_int_ge(i, 0);
	refused_with(SET("{}"), "expected \"name\"");
	refused_with(SET("{\"name\":\"best\"}"), "policy 'best': expected one of:");
	refused_with(SET("{\"name\":\"dynamic\",\"params\":[]}"), "to be an object");
	refused_with(SET("{\"name\":\"dynamic\",\"params\":{\"chunk\":true}}"), "chunk");
	refused_with(SET("{\"name\":\"dynamic\",\"params\":{\"chunk\":\"12q\"}}"), "'12q'");
	refused_with(SET("{\"name\":\"dynamic\",\"params\":{\"nosuch\":\"1\"}}"), "nosuch");
	refused_with(SET("{\"name\":\"dynamic\",\"extra\":1}"), "extra");
	ck_assert_uint_eq(b.sets, 0);

	/* What is not given is as configured. */
	b.cfg.policy_values[i][0] = 33;
	a = ask(SET("{\"name\":\"dynamic\",\"params\":{\"chunk\":\"128K\",\"min_pages\":64}}"));
	r = json_object_get(a, "result");
	name = json_string_value(json_object_get(r, "policy"));
	ck_assert_ptr_nonnull(name);
	ck_assert_str_eq(name, "dynamic");
	ck_assert_uint_eq(b.sets, 1);
	ck_assert_str_eq(b.ops->name, "dynamic");
	for (unsigned int p = 0; p < b.ops->n_params; p++) {
		const json_t *param = json_array_get(json_object_get(r, "params"), p);
		json_int_t shown = json_integer_value(json_object_get(param, "value"));
		uint64_t want = b.ops->params[p].def;

		if (!p)
			want = 33;
		else if (!strcmp(b.ops->params[p].name, "chunk"))
			want = 128 << 10;
		else if (!strcmp(b.ops->params[p].name, "min_pages"))
			want = 64;
		ck_assert_uint_eq(b.values[p], want);
		ck_assert_int_eq(shown, (json_int_t)want);
	}
	json_decref(a);
}
END_TEST

/* A plug-in: what is asked of the broker, and who may ask. */
START_TEST(policy_load)
{
	struct rpc_later later = { 0 };
	json_t *answers;
	static const char request[] =
		SET("{\"name\":\"/x/night.so\",\"params\":{\"after\":5,\"new\":\"7s\"}}");

	strcpy(b.cfg.policy, "/y/night.so"); /* [policy night] is for that, too */
	b.cfg.plugin_settings[0] = (struct policy_setting){ "before", "1" };
	b.cfg.plugin_settings[1] = (struct policy_setting){ "after", "2" };
	b.cfg.n_plugin_settings = 2;
	answers = ask("[" VERSION_1 "," SET("{\"name\":\"/x/night.so\"}") "]");
	ck_assert_int_eq(error_code(json_array_get(answers, 1)), -32602);
	json_decref(answers);
	refused_with(SET("{\"name\":\"x/night.so\"}"), "expected an absolute path");
	refused_with(SET("{\"name\":\"night\"}"), "or a plug-in, by its path or as NAME of");
	ck_assert_str_eq(b.loading, "");
	ck_assert_ptr_null(rpc_answer(&b, request, strlen(request), &later));
	ck_assert(later.pending);
	ck_assert_str_eq(b.loading, "/x/night.so");
	ck_assert_uint_eq(b.n_settings, 3);
	ck_assert_str_eq(b.settings[0].value, "1");
	ck_assert_str_eq(b.settings[1].value, "5");
	ck_assert_str_eq(b.settings[2].key, "new");
	ck_assert_str_eq(b.settings[2].value, "7s");
	ck_assert_ptr_eq(b.waiting, &later.wait);
	rpc_forget(&later);
	ck_assert(!later.pending);
	ck_assert_ptr_null(b.waiting);
	rpc_forget(&later);
}
END_TEST

/* Every document, with odd names and numbers in it. */
START_TEST(documents)
{
	static const char *const methods[] = { "version", "status",	 "tenants",
					       "devices", "policy.list", "policy.get" };
	char request[128];
	json_t *a, *t;

	fake_tenant(&b, "odd\xff\"name", 1, 1ull << 63);
	b.kernel = true;
	b.source = "replay:\xfe";
	memset(&b.demand, 0xff, sizeof(b.demand));
	for (unsigned int i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
		snprintf(request, sizeof(request),
			 "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"%s\"}", methods[i]);
		a = ask(request);
		ck_assert_msg(json_is_object(json_object_get(a, "result")), "%s", methods[i]);
		if (!strcmp(methods[i], "tenants")) {
			t = json_array_get(
				json_object_get(json_object_get(a, "result"), "tenants"), 0);
			ck_assert_str_eq(json_string_value(json_object_get(t, "name")),
					 "odd?\"name");
			ck_assert(json_is_null(json_object_get(t, "limit_bps")));
			ck_assert_int_eq(json_integer_value(json_object_get(t, "engine_bytes")),
					 INT64_MAX);
		}
		json_decref(a);
	}
}
END_TEST

START_TEST(garbage)
{
	static const char good[] =
		"[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"policy.set\",\"params\":{\"name\":"
		"\"dynamic\",\"params\":{\"chunk\":\"64K\"}}}]";
	char buf[sizeof(good)], *deep = malloc(60000), *line;

	srand(1);
	for (unsigned int i = 0; i < 3000; i++) {
		size_t len = sizeof(good) - 1;

		memcpy(buf, good, len);
		for (int k = rand() % 4; k >= 0; k--)
			buf[(size_t)rand() % len] = (char)rand();
		if (rand() % 4 == 0)
			len = (size_t)rand() % len;
		line = rpc_answer(&b, buf, len, NULL);
		ck_assert(!line || line[strlen(line) - 1] == '\n');
		free(line);
	}
	memset(deep, '[', 60000);
	line = rpc_answer(&b, deep, 60000, NULL);
	ck_assert_ptr_nonnull(strstr(line, "-32700"));
	free(line);
	free(deep);
}
END_TEST

/* -------------------------------------------------------------------- socket */

static uv_loop_t loop;
static struct control *control;
static char dir[] = "/tmp/test_control.XXXXXX", path[64];
static char err[256];

static void start(void)
{
	setup();
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/control.sock", dir);
	ck_assert_int_eq(uv_loop_init(&loop), 0);
	ck_assert_int_eq(control_start(&control, &loop, &b, path, err, sizeof(err)), 0);
}

static void stop(void)
{
	control_stop(control);
	ck_assert_int_eq(uv_run(&loop, UV_RUN_DEFAULT), 0);
	ck_assert_int_eq(uv_loop_close(&loop), 0); /* nothing was left open */
	ck_assert_int_eq(access(path, F_OK), -1);
	ck_assert_int_eq(rmdir(dir), 0);
	strcpy(dir + strlen(dir) - 6, "XXXXXX");
}

static int dial(void)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(sun.sun_path, path);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	ck_assert_int_eq(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	return fd;
}

static void turn(unsigned int n)
{
	while (n--)
		uv_run(&loop, UV_RUN_NOWAIT);
}

static void put(int fd, const char *text)
{
	ck_assert_int_eq(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

/* Run the loop until @fd has @lines lines or is closed; what came, NUL-terminated. */
static char *get(int fd, unsigned int lines)
{
	static char buf[1 << 20];
	size_t used = 0;
	uint64_t end = clock_ns() + 5 * NSEC_PER_SEC;
	ssize_t n;

	while (lines && clock_ns() < end) {
		turn(1);
		n = recv(fd, buf + used, sizeof(buf) - used - 1, 0);
		if (!n)
			break;
		for (ssize_t i = 0; i < n && lines; i++)
			lines -= buf[used + (size_t)i] == '\n';
		used += n > 0 ? (size_t)n : 0;
	}
	ck_assert_msg(clock_ns() < end, "no answer");
	buf[used] = '\0';
	return buf;
}

static bool is_closed(int fd)
{
	char c;

	turn(3);
	return recv(fd, &c, 1, MSG_PEEK) == 0 || errno == ECONNRESET;
}

#define VERSION VERSION_1

START_TEST(socket_answers)
{
	struct stat st;
	char *got;
	int fd = dial();

	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_int_eq(st.st_mode & 0777, 0660);
	put(fd, VERSION "\n");
	ck_assert_ptr_nonnull(strstr(get(fd, 1), "\"version\""));
	/* In pieces; several at once; an empty line; one without answer. */
	put(fd, "{\"jsonrpc\":\"2.0\",");
	turn(3);
	put(fd, "\"id\":5,\"method\":\"version\"}\n\n" VERSION "\n"
		"{\"jsonrpc\":\"2.0\",\"method\":\"version\"}\nx\n" VERSION "\n");
	got = get(fd, 4);
	ck_assert_ptr_nonnull(strstr(got, "\"id\":5"));
	ck_assert_ptr_nonnull(strstr(got, "-32700"));
	ck_assert(!is_closed(fd));
	/* Half-closed: what is there is answered, the last line needs no newline. */
	put(fd, VERSION "\n" VERSION);
	shutdown(fd, SHUT_WR);
	get(fd, 2);
	ck_assert(is_closed(fd));
	close(fd);
}
END_TEST

#define LOAD SET("{\"name\":\"/x/night.so\"}")

static void loaded(const char *why)
{
	struct policy_wait *w = b.waiting;

	ck_assert_ptr_nonnull(w);
	b.waiting = NULL;
	w->done(w, why);
}

/* An answer that takes its time holds up what its client asks after that, and nobody else. */
START_TEST(socket_later)
{
	int fd = dial(), other = dial(), fds[CONTROL_CLIENTS];
	char *got;

	put(fd, LOAD "\n" VERSION "\n");
	put(other, VERSION "\n");
	get(other, 1);
	turn(3);
	ck_assert_int_eq(recv(fd, &(char){ 0 }, 1, MSG_PEEK), -1);
	loaded(NULL);
	got = get(fd, 2);
	ck_assert_ptr_nonnull(strstr(got, "\"in_force\""));
	ck_assert_ptr_nonnull(strstr(strchr(got, '\n'), "\"version\""));
	put(fd, LOAD "\n");
	turn(3);
	loaded("night.so: no such luck");
	got = get(fd, 1);
	ck_assert_ptr_nonnull(strstr(got, "-32602"));
	ck_assert_ptr_nonnull(strstr(got, "night.so: no such luck"));
	/* A notification is not answered, and does not end anything. */
	put(fd, "{\"jsonrpc\":\"2.0\",\"method\":\"policy.set\",\"params\":{\"name\":"
		"\"/x/night.so\"}}\n" VERSION "\n");
	turn(3);
	loaded(NULL);
	ck_assert_ptr_nonnull(strstr(get(fd, 1), "\"version\""));
	/* The last line, and then the client's end. */
	put(fd, LOAD);
	shutdown(fd, SHUT_WR);
	turn(3);
	loaded(NULL);
	get(fd, 1);
	ck_assert(is_closed(fd));
	close(fd);
	/* Nobody waits for an answer to a client that had to go. */
	put(other, LOAD "\n");
	turn(3);
	ck_assert_ptr_nonnull(b.waiting);
	for (unsigned int i = 0; i < CONTROL_CLIENTS; i++) {
		fds[i] = dial();
		turn(2);
	}
	ck_assert_ptr_null(b.waiting);
	ck_assert(is_closed(other));
	close(other);
	for (unsigned int i = 0; i < CONTROL_CLIENTS; i++)
		close(fds[i]);
	turn(5);
}
END_TEST

START_TEST(socket_too_long)
{
	char *big = malloc(RPC_REQUEST_MAX + 2);
	int fd = dial(), one = 1 << 20;

	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &one, sizeof(one));
	/* The longest that is taken ... */
	memset(big, ' ', RPC_REQUEST_MAX);
	memcpy(big, VERSION, sizeof(VERSION) - 1);
	strcpy(big + RPC_REQUEST_MAX, "\n");
	put(fd, big);
	ck_assert_ptr_nonnull(strstr(get(fd, 1), "result"));
	/* ... and one byte more. */
	strcpy(big + RPC_REQUEST_MAX, " ");
	put(fd, big);
	ck_assert_ptr_nonnull(strstr(get(fd, 1), "-32600"));
	ck_assert(is_closed(fd));
	close(fd);
	free(big);
}
END_TEST

/* A client that asks and never takes the answers holds up nobody. */
START_TEST(socket_slow)
{
	static const char request[] = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"status\"}\n";
	int slow = dial(), other;
	ssize_t n = 1;

	for (unsigned int i = 0; i < 20000 && n > 0; i++) {
		n = send(slow, request, sizeof(request) - 1, MSG_NOSIGNAL);
		turn(1);
	}
	ck_assert_int_eq(n, -1);
	ck_assert_int_eq(errno, EAGAIN);
	other = dial();
	put(other, VERSION "\n");
	get(other, 1);
	close(other);
	/* It gets what it asked for once it reads. */
	ck_assert_ptr_nonnull(strstr(get(slow, 10), "uptime_ns"));
	close(slow);
	turn(5);
}
END_TEST

/* One more than there is room for ends the one that has been silent longest. */
START_TEST(socket_full)
{
	int fds[CONTROL_CLIENTS + 3];

	for (unsigned int i = 0; i < CONTROL_CLIENTS; i++) {
		fds[i] = dial();
		turn(2);
	}
	put(fds[0], VERSION "\n");
	get(fds[0], 1);
	for (unsigned int i = CONTROL_CLIENTS; i < CONTROL_CLIENTS + 3; i++)
		fds[i] = dial();
	for (unsigned int i = CONTROL_CLIENTS; i < CONTROL_CLIENTS + 3; i++) {
		put(fds[i], VERSION "\n");
		get(fds[i], 1);
	}
	ck_assert(!is_closed(fds[0]));
	for (unsigned int i = 1; i < 4; i++)
		ck_assert_msg(is_closed(fds[i]), "%u", i);
	ck_assert(!is_closed(fds[4]));
	for (unsigned int i = 0; i < CONTROL_CLIENTS + 3; i++)
		close(fds[i]);
}
END_TEST

START_TEST(socket_refused)
{
	struct control *second;
	char longer[200];

	ck_assert_int_eq(control_start(&second, &loop, &b, path, err, sizeof(err)),
			 -EADDRINUSE);
	ck_assert_ptr_nonnull(strstr(err, path));
	memset(longer, 'a', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	ck_assert_int_eq(control_start(&second, &loop, &b, longer, err, sizeof(err)),
			 -ENAMETOOLONG);
	ck_assert_int_eq(control_start(&second, &loop, &b, "/nonexistent/x", err, sizeof(err)),
			 -ENOENT);
	control_stop(NULL);
	turn(3);
	/* The failed one took nothing away from the first. */
	ck_assert_int_eq(access(path, F_OK), 0);
}
END_TEST

/* ---------------------------------------------------------------------- http */

static struct http *http;

static void start_http(void)
{
	start();
	ck_assert_int_eq(http_start(&http, &loop, &b, "127.0.0.1:0", err, sizeof(err)), 0);
	ck_assert_uint_ne(http_port(http), 0);
}

static void stop_http(void)
{
	http_stop(http);
	stop();
}

static int dial_http(void)
{
	struct sockaddr_in sin = { .sin_family = AF_INET,
				   .sin_port = htons(http_port(http)),
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ck_assert_int_eq(connect(fd, (struct sockaddr *)&sin, sizeof(sin)), 0);
	ck_assert_int_eq(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	return fd;
}

/* Everything that comes back for "METHOD URL". */
static char *fetch(const char *what)
{
	char request[256];
	int fd = dial_http();
	char *got;

	snprintf(request, sizeof(request),
		 "%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", what);
	put(fd, request);
	got = get(fd, 100000);
	close(fd);
	return got;
}

START_TEST(http_answers)
{
	char *got = fetch("GET /metrics");

	ck_assert_int_eq(strncmp(got, "HTTP/1.1 200", 12), 0);
	ck_assert_ptr_nonnull(strstr(got, "text/plain; version=0.0.4"));
	ck_assert_ptr_nonnull(strstr(got, "\naccelmux_build_info{"));
	got = fetch("GET /healthz");
	ck_assert_int_eq(strncmp(got, "HTTP/1.1 200", 12), 0);
	ck_assert_ptr_nonnull(strstr(got, "\r\n\r\nok\n"));
	got = fetch("HEAD /healthz");
	ck_assert_int_eq(strncmp(got, "HTTP/1.1 200", 12), 0);
	ck_assert_ptr_null(strstr(got, "ok\n"));
	got = fetch("GET /");
	ck_assert_ptr_nonnull(strstr(got, "href=\"/metrics\""));
	ck_assert_ptr_nonnull(strstr(got, "href=\"/healthz\""));
	ck_assert_ptr_null(strstr(got, "http://"));
	ck_assert_int_eq(strncmp(fetch("GET /metrics/"), "HTTP/1.1 404", 12), 0);
	ck_assert_int_eq(strncmp(fetch("GET /../etc/passwd"), "HTTP/1.1 404", 12), 0);
	got = fetch("DELETE /metrics");
	ck_assert_int_eq(strncmp(got, "HTTP/1.1 405", 12), 0);
	ck_assert_ptr_nonnull(strstr(got, "Allow: GET, HEAD"));
	got = fetch("POST /metrics");
	ck_assert_int_eq(strncmp(got, "HTTP/1.1 405", 12), 0);
	ck_assert_int_eq(strncmp(fetch("GARBAGE"), "HTTP/1.1 400", 9), 0);
}
END_TEST

static void on_tick(uv_timer_t *timer)
{
	(void)timer; /* that uv_run() returns is all there is to it */
}

/* More silent connections than are served: the loop does not spin over them, and there is
 * service again when they are gone. */
START_TEST(http_crowd)
{
	int fds[HTTP_CLIENTS + 4];
	unsigned int turns = 0;
	uv_timer_t tick;
	uint64_t end;

	for (unsigned int i = 0; i < HTTP_CLIENTS + 4; i++) {
		fds[i] = dial_http();
		turn(2);
	}
	uv_timer_init(&loop, &tick);
	uv_timer_start(&tick, on_tick, 100, 100);
	end = clock_ns() + 300000000;
	for (; clock_ns() < end; turns++)
		uv_run(&loop, UV_RUN_ONCE);
	uv_close((uv_handle_t *)&tick, NULL);
	turn(2);
	ck_assert_uint_lt(turns, 50);
	for (unsigned int i = 0; i < HTTP_CLIENTS + 4; i++)
		close(fds[i]);
	turn(20);
	ck_assert_int_eq(strncmp(fetch("GET /healthz"), "HTTP/1.1 200", 12), 0);
}
END_TEST

START_TEST(http_refused)
{
	struct http *second;
	char address[64];

	snprintf(address, sizeof(address), "127.0.0.1:%u", http_port(http));
	ck_assert_int_eq(http_start(&second, &loop, &b, address, err, sizeof(err)),
			 -EADDRINUSE);
	ck_assert_ptr_nonnull(strstr(err, address));
	ck_assert_int_eq(http_start(&second, &loop, &b, "192.0.2.1:1", err, sizeof(err)),
			 -EADDRNOTAVAIL);
	ck_assert_ptr_nonnull(strstr(err, "192.0.2.1:1"));
	http_stop(NULL);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("control");
	TCase *rpc = tcase_create("rpc"), *sock = tcase_create("socket"),
	      *web = tcase_create("http");
	SRunner *r;
	int failed;

	signal(SIGPIPE, SIG_IGN); /* as in the broker */
	tcase_add_checked_fixture(rpc, setup, NULL);
	tcase_add_test(rpc, protocol);
	tcase_add_test(rpc, batches);
	tcase_add_test(rpc, policy_set);
	tcase_add_test(rpc, policy_load);
	tcase_add_test(rpc, documents);
	tcase_add_test(rpc, garbage);
	tcase_set_timeout(rpc, 30);
	suite_add_tcase(s, rpc);
	tcase_add_checked_fixture(sock, start, stop);
	tcase_add_test(sock, socket_answers);
	tcase_add_test(sock, socket_later);
	tcase_add_test(sock, socket_too_long);
	tcase_add_test(sock, socket_slow);
	tcase_add_test(sock, socket_full);
	tcase_add_test(sock, socket_refused);
	tcase_set_timeout(sock, 30);
	suite_add_tcase(s, sock);
	tcase_add_checked_fixture(web, start_http, stop_http);
	tcase_add_test(web, http_answers);
	tcase_add_test(web, http_crowd);
	tcase_add_test(web, http_refused);
	tcase_set_timeout(web, 30);
	suite_add_tcase(s, web);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
