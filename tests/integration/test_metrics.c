/* SPDX-License-Identifier: MIT */
/*
 * test_metrics.c - what Prometheus is told agrees with what the control socket tells, is text
 * that promtool accepts, and does not go backwards; /healthz says ok.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../lib/harness.h"
#include "../lib/load.h"
#include "../lib/web.h"

#define PAGE_MAX WEB_PAGE_MAX

/* The value of the sample called @name, labels included; -1: there is none. */
static double sample(const char *text, const char *name)
{
	size_t n = strlen(name);

	for (const char *line = text; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (!strncmp(line, name, n) && line[n] == ' ')
			return strtod(line + n + 1, NULL);
	}
	return -1;
}

struct agreement {
	const char *sample, *method, *path;
};

static const struct agreement agreements[] = {
	{ "accelmux_class_requests_total{class=\"user\"}", "status", "classes.user.requests" },
	{ "accelmux_class_completed_total{class=\"user\"}", "status",
	  "classes.user.completed" },
	{ "accelmux_class_failed_total{class=\"user\"}", "status", "classes.user.failed" },
	{ "accelmux_class_engine_bytes_total{class=\"user\"}", "status",
	  "classes.user.engine_bytes" },
	{ "accelmux_class_descriptors_total{class=\"user\"}", "status",
	  "classes.user.descriptors" },
	{ "accelmux_class_declines_total{class=\"user\",reason=\"asked\"}", "status",
	  "classes.user.declines.asked" },
	{ "accelmux_class_wait_seconds_count{class=\"user\"}", "status",
	  "classes.user.wait.count" },
	{ "accelmux_tenant_requests_total{tenant=\"m\"}", "tenants", "tenants.m.requests" },
	{ "accelmux_tenant_engine_bytes_total{tenant=\"m\"}", "tenants",
	  "tenants.m.engine_bytes" },
	{ "accelmux_tenant_weight{tenant=\"m\"}", "tenants", "tenants.m.weight" },
	{ "accelmux_rejected_total", "status", "rejected" },
	{ "accelmux_connections", "status", "connections" },
};

#define N_AGREEMENTS (sizeof(agreements) / sizeof(agreements[0]))

static void test_agreement(struct daemon *d, const char *text)
{
	for (unsigned int i = 0; i < N_AGREEMENTS; i++) {
		const struct agreement *a = &agreements[i];
		double says = sample(text, a->sample);
		uint64_t is = daemon_count(d, a->method, a->path);

		tap_ok(says >= 0 && (uint64_t)says == is, "%s is %.0f, %s says %llu", a->sample,
		       says, a->path, (unsigned long long)is);
	}
}

static void test_promtool(const struct daemon *d, const char *text)
{
	const char *argv[] = { "/bin/sh", "-c", NULL, NULL };
	char path[128], command[256], out[4096];
	FILE *f;
	int status;

	snprintf(path, sizeof(path), "%s/metrics", d->dir);
	f = fopen(path, "we");
	if (!f)
		tap_bail("%s: %s", path, strerror(errno));
	fputs(text, f);
	fclose(f);
	argv[2] = "command -v promtool";
	if (program_run(argv, NULL, out, sizeof(out), 5)) {
		tap_skip("promtool accepts the metrics", "promtool is not installed");
		return;
	}
	snprintf(command, sizeof(command), "promtool check metrics < %s", path);
	argv[2] = command;
	status = program_run(argv, NULL, out, sizeof(out), 30);
	tap_ok(status == 0 && !out[0], "promtool accepts the metrics (status %d)%s%s", status,
	       out[0] ? ": " : "", out);
}

/* Every *_total, *_count and *_bucket of @a is in @b and not less there. */
static unsigned int backwards(const char *a, const char *b, unsigned int *seen)
{
	char line[512], name[512];
	unsigned int n = 0;
	const char *end;

	*seen = 0;
	for (; *a; a = end + 1) {
		char *space;

		end = strchr(a, '\n');
		if (!end)
			break;
		snprintf(line, sizeof(line), "%.*s", (int)(end - a), a);
		space = strrchr(line, ' ');
		if (line[0] == '#' || !space)
			continue;
		snprintf(name, sizeof(name), "%.*s", (int)(space - line), line);
		if (!strstr(name, "_total") && !strstr(name, "_count") &&
		    !strstr(name, "_bucket"))
			continue;
		++*seen;
		if (sample(b, name) < strtod(space + 1, NULL)) {
			tap_note("%s went backwards", name);
			n++;
		}
	}
	return n;
}

static void test_http(unsigned int port)
{
	char *body = malloc(PAGE_MAX);
	unsigned int code;

	code = web_get(port, "/healthz", body, PAGE_MAX);
	tap_ok(code == 200 && !strcmp(body, "ok\n"), "/healthz: %u", code);
	code = web_get(port, "/nothing", body, PAGE_MAX);
	tap_ok(code == 404, "an unknown path: %u", code);
	code = web_send(port,
			"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n"
			"Connection: close\r\n\r\nhi",
			body, PAGE_MAX);
	tap_ok(code == 405, "POST: %u", code);
	code = web_send(port, "nonsense\r\n\r\n", body, PAGE_MAX);
	tap_ok(code == 0 || code == 400, "what is no HTTP: %u", code);
	code = web_get(port, "/", body, PAGE_MAX);
	tap_ok(code == 200 && strstr(body, "accelmux"), "/: %u", code);
	free(body);
}

int main(int argc, char **argv)
{
	struct load_options opt = { .depth = 16,
				    .flags_any = AMUX_SQE_ENGINE_ONLY | AMUX_SQE_CPU_ONLY };
	struct amux_options connect = AMUX_OPTIONS_INIT;
	char *text = malloc(PAGE_MAX), *later = malloc(PAGE_MAX), metrics[64];
	unsigned int port = web_port(), code, seen, n;
	uint64_t before;
	struct daemon d;
	struct amux *a;
	struct load l;
	int err;

	tap_init(argc, argv, 30);
	snprintf(metrics, sizeof(metrics), "broker.metrics=127.0.0.1:%u", port);
	daemon_start(&d, metrics, "broker.own_core=on", "tenant.m.name=m", "tenant.m.weight=5",
		     NULL);
	connect.socket = d.socket;
	connect.name = "m";
	if (amux_connect(&a, &connect))
		tap_bail("connect: %s", amux_error());
	err = load_open(&l, a, &opt, tap_seed());
	if (!err)
		err = load_run(&l, 2000);
	tap_ok(!err, "a client did something%s%s", err ? ": " : "", err ? l.why : "");

	code = web_get(port, "/metrics", text, PAGE_MAX);
	tap_ok(code == 200, "GET /metrics: %u, %zu bytes", code, strlen(text));
	test_agreement(&d, text);
	test_promtool(&d, text);
	before = l.answered;
	if (!err)
		err = load_run(&l, 1000);
	code = web_get(port, "/metrics", later, PAGE_MAX);
	n = backwards(text, later, &seen);
	tap_ok(code == 200 && seen > 50 && !n, "%u counters, %u went backwards", seen, n);
	tap_ok(!err && sample(later, agreements[0].sample) -
				       sample(text, agreements[0].sample) ==
			       (double)(l.answered - before),
	       "the later one tells of the %llu requests between",
	       (unsigned long long)(l.answered - before));
	test_http(port);
	load_close(&l);
	amux_close(a);
	daemon_stop(&d);
	tap_ok(web_get(port, "/healthz", text, PAGE_MAX) == 0, "then nobody listens any more");
	free(text);
	free(later);
	return tap_done();
}
