// SPDX-License-Identifier: MIT
/*
 * idle.c - what a broker costs that nobody asks for anything.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "broker.h"
#include "machine.h"
#include "probe.h"

#define IDLE_LENGTHS 40 /* measurements of the usual length: 10 s */
#define SETTLE_NS    200000000u

/* The number after @key in /proc/PID/@file, summed up over the lines that begin with it. */
static uint64_t proc_number(pid_t pid, const char *file, const char *key)
{
	char path[320], line[256];
	unsigned long long v;
	uint64_t sum = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
	f = fopen(path, "re");
	if (!f)
		bench_fail("%s: %s", path, strerror(errno));
	while (fgets(line, sizeof(line), f))
		if (!strncmp(line, key, strlen(key)) &&
		    sscanf(line + strlen(key), "%llu", &v) == 1)
			sum += v;
	fclose(f);
	return sum;
}

/* Each time that a thread of @pid stops running it must have been woken before. */
static uint64_t process_switches(pid_t pid)
{
	char path[64], file[300];
	uint64_t sum = 0;
	struct dirent *e;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	dir = opendir(path);
	if (!dir)
		bench_fail("%s: %s", path, strerror(errno));
	while ((e = readdir(dir))) {
		if (e->d_name[0] == '.')
			continue;
		snprintf(file, sizeof(file), "task/%s/status", e->d_name);
		sum += proc_number(pid, file, "voluntary_ctxt_switches:");
	}
	closedir(dir);
	return sum;
}

static void sleep_ns(uint64_t ns)
{
	struct timespec ts = { (time_t)(ns / 1000000000), (long)(ns % 1000000000) };

	while (nanosleep(&ts, &ts) && errno == EINTR)
		;
}

/* The session has a queue and has used it. */
static struct amux_queue *session_used(void)
{
	struct amux_queue *q;
	struct amux_cqe cqe;
	struct amux_sqe *sqe;

	if (amux_queue_create(broker.a, 32, &q))
		bench_fail("a queue: %s", amux_error());
	sqe = amux_get_sqe(q);
	if (amux_prep_copy(broker.a, sqe, broker.dst, broker.src, broker.set))
		bench_fail("the buffers are not registered");
	sqe->flags = AMUX_SQE_ENGINE_ONLY;
	amux_submit(q);
	if (amux_wait(q, &cqe, 1, 1, NULL) != 1 || cqe.status)
		bench_fail("a copy of %zu bytes failed", broker.set);
	return q;
}

int amux_wakeups(const struct probe *p, struct sample *s)
{
	struct amux_queue *q = session_used();
	uint64_t before;

	(void)p;
	sleep_ns(SETTLE_NS);
	before = process_switches(broker.daemon.pid);
	if (!bench.warming)
		sleep_ns(IDLE_LENGTHS * bench.measure_ns);
	s->value = (double)(process_switches(broker.daemon.pid) - before);
	amux_queue_destroy(q);
	return 0;
}

int amux_memory(const struct probe *p, struct sample *s)
{
	struct amux_queue *q = session_used();

	(void)p;
	s->value = (double)proc_number(broker.daemon.pid, "status", "RssAnon:") / 1024;
	amux_queue_destroy(q);
	return 0;
}
