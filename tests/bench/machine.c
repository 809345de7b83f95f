// SPDX-License-Identifier: MIT
/*
 * machine.c - see machine.h.
 */
#include "machine.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#define CALIBRATE_NS  20000000u
#define NSEC_PER_SEC  1000000000ull
#define FOREIGN_SHARE 0.06 /* of one core's time in a round: others at work */
#define STEAL_SHARE   0.02 /* of one core's time: the host's other guests */
#define LOST_SHARE    0.03 /* of one measurement: a thread of ours that waited for its core */
#define TICK_SLACK_NS 25000000u /* /proc/stat counts in ticks of 10 ms, per core and kind */

static double ns_per_tick = 1.0;

uint64_t machine_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

uint64_t ticks_of_ns(uint64_t ns)
{
	return (uint64_t)((double)ns / ns_per_tick);
}

double ns_of_ticks(double t)
{
	return t * ns_per_tick;
}

void machine_pin(unsigned int core)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(core, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		bench_fail("core %u: expected to be allowed to run on it: %s", core,
			   strerror(errno));
}

void machine_open(void)
{
	uint64_t ns = machine_ns(), t = ticks();
	struct rlimit files;

	while (machine_ns() - ns < CALIBRATE_NS)
		;
	ns_per_tick = (double)(machine_ns() - ns) / (double)(ticks() - t);
	if (!getrlimit(RLIMIT_NOFILE, &files)) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	machine_pin(CORE_PEER);
	machine_pin(CORE_CLIENT);
}

/* ------------------------------------------------------------------------- CPU time */

static uint64_t cpu_ns(clockid_t clock)
{
	struct timespec ts;

	if (clock_gettime(clock, &ts))
		bench_fail("the CPU time of a process: %s", strerror(errno));
	return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

static uint64_t process_ns(pid_t pid)
{
	clockid_t clock;
	int err = clock_getcpuclockid(pid, &clock);

	if (err)
		bench_fail("process %d: its CPU time: %s", (int)pid, strerror(err));
	return cpu_ns(clock);
}

static uint64_t peer_ns(pid_t peer)
{
	if (peer == PEER_NONE)
		return 0;
	if (peer == PEER_THREAD)
		return cpu_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu_ns(CLOCK_THREAD_CPUTIME_ID);
	return process_ns(peer);
}

void meter_start(struct meter *m, pid_t peer, enum busy busy)
{
	m->peer = peer;
	m->busy = busy;
	m->peer_ns = peer_ns(peer);
	m->client_ns = cpu_ns(CLOCK_THREAD_CPUTIME_ID);
	m->wall_ns = machine_ns();
}

void meter_stop(const struct meter *m, struct sample *s)
{
	s->wall_ns = machine_ns() - m->wall_ns;
	s->client_ns = cpu_ns(CLOCK_THREAD_CPUTIME_ID) - m->client_ns;
	s->peer_ns = peer_ns(m->peer) - m->peer_ns;
	s->lost = 0;
	if (m->busy != BUSY_NONE)
		s->lost = 1 - (double)s->client_ns / (double)s->wall_ns;
	if (m->busy == BUSY_BOTH && 1 - (double)s->peer_ns / (double)s->wall_ns > s->lost)
		s->lost = 1 - (double)s->peer_ns / (double)s->wall_ns;
}

/* ---------------------------------------------------------------------- round trips */

void latency_open(struct latency *l, enum waiting waiting)
{
	/* Polled: single ticks up to some 50 us.  Slept: 64 ticks, up to some 3 ms. */
	l->shift = waiting == WAIT_SLEEP ? 6 : 0;
	l->n = 0;
	l->bucket = calloc(LATENCY_BUCKETS, sizeof(*l->bucket));
	if (!l->bucket)
		bench_fail("out of memory");
	/* Present before it counts. */
	memset(l->bucket, 1, LATENCY_BUCKETS * sizeof(*l->bucket));
	memset(l->bucket, 0, LATENCY_BUCKETS * sizeof(*l->bucket));
}

void latency_close(struct latency *l)
{
	free(l->bucket);
	l->bucket = NULL;
}

/*
 * The quantile of grouped data: the clock goes in steps of several ticks, so that a bucket that
 * is hit stands for everything since the last one that is.
 */
static double latency_ns(const struct latency *l, double quantile)
{
	double want = (double)l->n * quantile, seen = 0, last = -1, in;

	for (unsigned int i = 0; i < LATENCY_BUCKETS; i++) {
		if (!l->bucket[i])
			continue;
		in = (double)l->bucket[i];
		if (seen + in >= want) {
			double step = last < 0 ? 1 : (double)i - last;
			double at = (double)i + 0.5 - step * 0.5 + step * (want - seen) / in;

			return ns_of_ticks(at * (double)(1u << l->shift));
		}
		seen += in;
		last = (double)i;
	}
	return 0;
}

void latency_report(struct latency *l, struct sample *s)
{
	s->value = latency_ns(l, 0.5);
	s->p99_ns = latency_ns(l, 0.99);
	latency_close(l);
}

/* ---------------------------------------------------------------------------- noise */

static void stat_read(struct noise *n)
{
	static uint64_t tick_ns;
	unsigned long long v[8];
	char line[256];
	FILE *f = fopen("/proc/stat", "re");

	if (!tick_ns)
		tick_ns = NSEC_PER_SEC / (uint64_t)sysconf(_SC_CLK_TCK);
	n->busy_ns = 0;
	n->steal_ns = 0;
	while (f && fgets(line, sizeof(line), f)) {
		/* user nice system idle iowait irq softirq steal */
		if (sscanf(line, "cpu%*u %llu %llu %llu %llu %llu %llu %llu %llu", &v[0], &v[1],
			   &v[2], &v[3], &v[4], &v[5], &v[6], &v[7]) != 8 ||
		    !strncmp(line, "cpu ", 4))
			continue;
		n->busy_ns += (v[0] + v[1] + v[2] + v[5] + v[6]) * tick_ns;
		n->steal_ns += v[7] * tick_ns;
	}
	if (!f)
		bench_fail("/proc/stat: %s", strerror(errno));
	fclose(f);
}

/* Children that have ended are in here once they were waited for. */
static uint64_t own_ns(pid_t broker)
{
	struct rusage r;
	uint64_t ns = cpu_ns(CLOCK_PROCESS_CPUTIME_ID);

	getrusage(RUSAGE_CHILDREN, &r);
	ns += (uint64_t)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) * NSEC_PER_SEC +
	      (uint64_t)(r.ru_utime.tv_usec + r.ru_stime.tv_usec) * 1000;
	return broker ? ns + process_ns(broker) : ns;
}

void noise_start(struct noise *n, pid_t broker)
{
	n->wall_ns = machine_ns();
	n->own_ns = own_ns(broker);
	stat_read(n);
}

static double share(double part_ns, uint64_t wall_ns)
{
	return part_ns / (double)wall_ns;
}

bool noise_quiet(const struct noise *n, pid_t broker, double lost, char *why, size_t len)
{
	struct noise end;
	double foreign, steal;
	uint64_t wall = machine_ns() - n->wall_ns;
	double slack = share(TICK_SLACK_NS, wall);

	stat_read(&end);
	foreign =
		share((double)(end.busy_ns - n->busy_ns) - (double)(own_ns(broker) - n->own_ns),
		      wall);
	steal = share((double)(end.steal_ns - n->steal_ns), wall);
	if (lost > LOST_SHARE) {
		snprintf(why, len, "others took %.0f %% of a core from a measurement",
			 100 * lost);
		return false;
	}
	if (foreign > FOREIGN_SHARE + slack) {
		snprintf(why, len, "others used %.0f %% of a core", 100 * foreign);
		return false;
	}
	if (steal > STEAL_SHARE + slack) {
		snprintf(why, len, "%.0f %% of a core was stolen by the host", 100 * steal);
		return false;
	}
	return true;
}

/* ---------------------------------------------------------------------- description */

/* The value after "KEY ... :" of the first such line of @file, in @out. */
static void file_value(const char *file, const char *key, char *out, size_t len)
{
	char line[512], *colon;
	FILE *f = fopen(file, "re");

	snprintf(out, len, "unknown");
	while (f && fgets(line, sizeof(line), f)) {
		if (strncmp(line, key, strlen(key)) || !(colon = strchr(line, ':')))
			continue;
		line[strcspn(line, "\n")] = '\0';
		colon++;
		snprintf(out, len, "%s", colon + strspn(colon, " \t"));
		break;
	}
	if (f)
		fclose(f);
}

json_t *machine_json(void)
{
	char cpu[128], memory[64];
	struct utsname u;

	file_value("/proc/cpuinfo", "model name", cpu, sizeof(cpu));
	file_value("/proc/meminfo", "MemTotal", memory, sizeof(memory));
	uname(&u);
	return json_pack("{s:s, s:I, s:s, s:s, s:s, s:s}", "cpu", cpu, "cores",
			 (json_int_t)sysconf(_SC_NPROCESSORS_ONLN), "memory", memory, "kernel",
			 u.release, "arch", u.machine, "compiler", __VERSION__);
}
