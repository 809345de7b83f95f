/* SPDX-License-Identifier: MIT */
/*
 * test_soak.c - clients at work while everything happens to them and to their broker, at random:
 * kill -9, stop and continue, drain and restart, upgrade, policy switches, reloads, clients
 * killed.  Nothing is lost, wrong or answered twice, and nothing leaks.
 *
 *	round:	rest and count ── half of it: the broker lives ── rest and count ──
 *		half of it: brokers die, too ──> next round
 *
 * At rest each client holds one connection.  Within the first half the same broker must come
 * to hold what it held; each client must at every rest hold what it held at the second one.
 *
 * 20 s by default; AMUX_SOAK=SECONDS (`make soak T=1800`) for as long.
 */
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "../lib/harness.h"
#include "../lib/roamer.h"

#define CLIENTS	    4
#define VICTIM	    (CLIENTS - 1) /* killed at times, so never counted */
#define PROGRESS_NS 10000000000ull
#define NSEC	    1000000000ull
#define ANON_SLACK  2048 /* KiB that allocators may keep */
#define MAPS_SLACK  8

enum deed {
	DEED_POLICY,
	DEED_STOP,
	DEED_VICTIM,
	DEED_RELOAD,
	DEED_NOTHING,
	/* only while brokers may die */
	DEED_KILL,
	DEED_RESTART,
	DEED_UPGRADE,
	DEED_COUNT
};

static const char *const deed_name[DEED_COUNT] = { "policy switches", "stops",
						   "clients killed",  "reloads",
						   "pauses",	      "brokers killed",
						   "restarts",	      "upgrades" };

struct soak {
	struct daemon d;
	pid_t pid[CLIENTS];
	struct roamer *client[CLIENTS];
	struct census first[CLIENTS]; /* of the second rest */
	bool counted;
	uint32_t rests;
	uint64_t rng, begin, end, told;
	uint64_t deeds[DEED_COUNT];
	unsigned int variant;
	unsigned int wrong;
};

static const char *const variants[][6] = {
	{ "broker.policy=shared", "broker.own_core=on", NULL },
	{ "broker.policy=dynamic", "soft.threads=2", "broker.own_core=on", NULL },
	{ "broker.policy=dynamic", "soft.model=on", NULL },
	{ "broker.policy=partitioned", "soft.model=on", "soft.threads=2", "soft.time_scale=20",
	  NULL },
};
static const char *const policies[] = { "cpu", "shared", "partitioned", "dynamic" };

__attribute__((format(printf, 2, 3))) static void violation(struct soak *s, const char *fmt,
							    ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	s->wrong++;
	tap_ok(false, "after %llu s: %s", (unsigned long long)((tap_ns() - s->begin) / NSEC),
	       text);
}

static uint64_t sum(const struct soak *s, size_t field)
{
	uint64_t n = 0;

	for (unsigned int i = 0; i < CLIENTS; i++)
		n += worker_read((const uint64_t *)((const char *)s->client[i] + field));
	return n;
}

#define SUM(s, field) ((unsigned long long)sum(s, offsetof(struct roamer, field)))

static void progress(struct soak *s)
{
	uint64_t now = tap_ns();
	struct census c = { 0 };

	if (now < s->told)
		return;
	s->told = now + PROGRESS_NS;
	census_take(s->d.pid, &c);
	tap_note("%4llu s: %llu requests, %llu MiB, %llu lost; broker: %u descriptors, "
		 "%llu KiB anonymous; %llu killed, %llu stopped",
		 (unsigned long long)((now - s->begin) / NSEC), SUM(s, answered),
		 SUM(s, bytes) >> 20, SUM(s, lost), c.fds, (unsigned long long)c.anon_kib,
		 (unsigned long long)s->deeds[DEED_KILL],
		 (unsigned long long)s->deeds[DEED_STOP]);
}

/* --------------------------------------------------------------------- the clients */

static void client_start(struct soak *s, unsigned int i)
{
	struct roamer *r = s->client[i];
	pid_t parent = getpid();

	snprintf(r->socket, sizeof(r->socket), "%s", s->d.socket);
	r->seed = rng_next(&s->rng);
	r->rest = r->roam = r->rested = s->rests;
	s->pid[i] = fork();
	if (s->pid[i] < 0)
		tap_bail("fork: %s", strerror(errno));
	if (s->pid[i])
		return;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	alarm(0);
	if (s->d.rpc >= 0)
		close(s->d.rpc);
	_exit(roamer_main(r));
}

/* Have they all been right so far? */
static bool clients_right(struct soak *s)
{
	for (unsigned int i = 0; i < CLIENTS; i++)
		if (__atomic_load_n(&s->client[i]->failed, __ATOMIC_ACQUIRE)) {
			violation(s, "client %u (seed %llu): %s", i,
				  (unsigned long long)s->client[i]->seed, s->client[i]->why);
			return false;
		}
	return true;
}

static bool all_rest(struct soak *s)
{
	uint64_t end = tap_ns() + 90 * TAP_SLOW * NSEC;

	s->rests++;
	for (unsigned int i = 0; i < CLIENTS; i++)
		__atomic_store_n(&s->client[i]->rest, s->rests, __ATOMIC_RELEASE);
	for (unsigned int i = 0; i < CLIENTS; i++)
		while (__atomic_load_n(&s->client[i]->rested, __ATOMIC_ACQUIRE) != s->rests) {
			if (!clients_right(s))
				return false;
			if (tap_ns() > end) {
				violation(s, "client %u does not come to rest in 90 s", i);
				return false;
			}
			tap_sleep_ms(2);
		}
	return true;
}

static void all_roam(struct soak *s)
{
	for (unsigned int i = 0; i < CLIENTS; i++)
		__atomic_store_n(&s->client[i]->roam, s->rests, __ATOMIC_RELEASE);
}

/* ------------------------------------------------------------------------- leaks */

static void compare(struct soak *s, const char *who, const struct census *was,
		    const struct census *is)
{
	if (is->fds != was->fds)
		violation(s, "%s holds %u descriptors, %u before", who, is->fds, was->fds);
	if (is->memfds != was->memfds)
		violation(s, "%s maps %u memfds, %u before", who, is->memfds, was->memfds);
	/* A sanitizer's allocator maps and keeps what it likes. */
	if (TAP_SLOW == 1 && is->maps > was->maps + MAPS_SLACK)
		violation(s, "%s has %u mappings, %u before", who, is->maps, was->maps);
	if (is->shmem_kib > was->shmem_kib + 64)
		violation(s, "%s has %llu KiB of shared memory, %llu before", who,
			  (unsigned long long)is->shmem_kib,
			  (unsigned long long)was->shmem_kib);
	if (TAP_SLOW == 1 && is->anon_kib > was->anon_kib + ANON_SLACK)
		violation(s, "%s has %llu KiB of memory, %llu before", who,
			  (unsigned long long)is->anon_kib, (unsigned long long)was->anon_kib);
}

/* Nobody has anything but a connection: what does the broker hold then? */
static bool broker_rest(struct soak *s, struct census *out)
{
	uint64_t end = tap_ns() + 10 * TAP_SLOW * NSEC, queues = 0, regions = 0, conns = 0;
	json_t *doc, *t;
	size_t i;

	do {
		queues = regions = conns = 0;
		doc = daemon_ask(&s->d, "tenants");
		json_array_foreach(json_at(doc, "tenants"), i, t)
		{
			queues += json_count(t, "queues");
			regions += json_count(t, "regions");
			conns += json_count(t, "connections");
		}
		json_decref(doc);
		if (!queues && !regions && conns == CLIENTS)
			return census_take(s->d.pid, out);
		tap_sleep_ms(5);
	} while (tap_ns() < end);
	violation(s,
		  "at rest the broker holds %llu queues, %llu regions, %llu connections of %u",
		  (unsigned long long)queues, (unsigned long long)regions,
		  (unsigned long long)conns, CLIENTS);
	return false;
}

static void clients_count(struct soak *s)
{
	char who[32];

	for (unsigned int i = 0; i < VICTIM; i++) {
		snprintf(who, sizeof(who), "client %u", i);
		if (s->counted)
			compare(s, who, &s->first[i], &s->client[i]->census);
		else
			s->first[i] = s->client[i]->census;
	}
	s->counted = true;
}

/* ------------------------------------------------------------------------- deeds */

static void policy_switch(struct soak *s)
{
	daemon_policy(&s->d, policies[rng_below(&s->rng, 4)], NULL);
}

static void stop_and_go(struct soak *s)
{
	static const unsigned int most[] = { 5, 50, 400 };

	kill(s->d.pid, SIGSTOP);
	tap_sleep_ms((unsigned int)rng_below(&s->rng, most[rng_below(&s->rng, 3)]));
	kill(s->d.pid, SIGCONT);
}

static void victim_kill(struct soak *s)
{
	kill(s->pid[VICTIM], SIGKILL);
	process_wait(s->pid[VICTIM], 10000);
	s->client[VICTIM]->failed = 0;
	client_start(s, VICTIM);
}

static void reload(struct soak *s)
{
	FILE *f = fopen(s->d.config, "we");

	if (!f)
		tap_bail("%s: %s", s->d.config, strerror(errno));
	fprintf(f, "[broker]\nspin = %llu us\nepoch = %llu us\n",
		(unsigned long long)rng_below(&s->rng, 100),
		(unsigned long long)(200 + rng_below(&s->rng, 2000)));
	if (!rng_below(&s->rng, 4))
		fprintf(f, "policy = nonsense\n"); /* refused as a whole */
	fclose(f);
	kill(s->d.pid, SIGHUP);
}

static void config_clear(struct soak *s)
{
	FILE *f = fopen(s->d.config, "we");

	if (f)
		fclose(f);
}

static void launch(struct soak *s)
{
	config_clear(s);
	s->variant = (unsigned int)rng_below(&s->rng, 4);
	daemon_launch(&s->d, variants[s->variant], false);
}

static void broker_end(struct soak *s, struct daemon *d)
{
	int status = daemon_terminate(d, 30);

	if (status) {
		violation(s, "a broker told to end: status %d", status);
		daemon_show_log(&s->d);
	}
}

static void upgrade(struct soak *s)
{
	struct daemon old = s->d;

	s->d.rpc = -1;
	s->d.wait = "40";
	launch(s);
	tap_sleep_ms((unsigned int)rng_below(&s->rng, 30));
	broker_end(s, &old);
	daemon_await(&s->d);
	s->d.wait = NULL;
}

static void act(struct soak *s, bool deadly)
{
	enum deed deed = (enum deed)rng_below(&s->rng, deadly ? DEED_COUNT : DEED_KILL);

	s->deeds[deed]++;
	switch (deed) {
	case DEED_POLICY:
		policy_switch(s);
		break;
	case DEED_STOP:
		stop_and_go(s);
		break;
	case DEED_VICTIM:
		victim_kill(s);
		break;
	case DEED_RELOAD:
		reload(s);
		break;
	case DEED_KILL:
		if (rng_below(&s->rng, 2))
			kill(s->d.pid, SIGSTOP);
		daemon_kill(&s->d);
		tap_sleep_ms((unsigned int)rng_below(&s->rng, 60));
		launch(s);
		daemon_await(&s->d);
		break;
	case DEED_RESTART:
		broker_end(s, &s->d);
		tap_sleep_ms((unsigned int)rng_below(&s->rng, 60));
		launch(s);
		daemon_await(&s->d);
		break;
	case DEED_UPGRADE:
		upgrade(s);
		break;
	default:
		break;
	}
}

static bool storm(struct soak *s, uint64_t until, bool deadly)
{
	while (tap_ns() < until) {
		tap_sleep_ms((unsigned int)rng_below(&s->rng, 150));
		act(s, deadly);
		progress(s);
		if (!clients_right(s))
			return false;
	}
	return true;
}

static bool round_of(struct soak *s, uint64_t ns)
{
	struct census was, is;
	bool right;

	if (!all_rest(s) || !broker_rest(s, &was))
		return false;
	if (s->rests > 1)
		clients_count(s);
	all_roam(s);
	right = storm(s, tap_ns() + ns / 2, false);
	if (!right || !all_rest(s) || !broker_rest(s, &is))
		return false;
	compare(s, "the broker", &was, &is);
	clients_count(s);
	all_roam(s);
	return storm(s, tap_ns() + ns / 2, true);
}

static void finish(struct soak *s)
{
	struct census c;

	if (!s->wrong && all_rest(s) && broker_rest(s, &c))
		clients_count(s);
	for (unsigned int i = 0; i < CLIENTS; i++)
		__atomic_store_n(&s->client[i]->stop, 1, __ATOMIC_RELEASE);
	for (unsigned int i = 0; i < CLIENTS; i++) {
		int status = process_wait(s->pid[i], 60000 * TAP_SLOW);

		if (status == -1)
			kill(s->pid[i], SIGKILL);
		if (status && !s->client[i]->failed)
			violation(s, "client %u ends with status %d", i, status);
	}
	if (SUM(s, lost) && !s->deeds[DEED_KILL])
		violation(s, "%llu requests lost without a broker killed", SUM(s, lost));
}

int main(int argc, char **argv)
{
	const char *given = getenv("AMUX_SOAK");
	uint64_t seconds = given ? strtoull(given, NULL, 10) : 16 * TAP_SLOW, left;
	struct soak s = { 0 };

	tap_init(argc, argv, (unsigned int)(seconds + 240));
	if (!seconds || seconds > 7 * 86400)
		tap_bail("AMUX_SOAK='%s': expected seconds, 1 .. 604800", given);
	s.rng = tap_seed();
	daemon_prepare(&s.d);
	for (unsigned int i = 0; i < CLIENTS; i++) {
		s.client[i] = mmap(NULL, sizeof(*s.client[i]), PROT_READ | PROT_WRITE,
				   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		if (s.client[i] == MAP_FAILED)
			tap_bail("mmap: %s", strerror(errno));
	}
	launch(&s);
	daemon_await(&s.d);
	for (unsigned int i = 0; i < CLIENTS; i++)
		client_start(&s, i);
	s.begin = tap_ns();
	s.end = s.begin + seconds * NSEC;
	s.told = s.begin + PROGRESS_NS;
	while (!s.wrong && tap_ns() < s.end) {
		left = s.end - tap_ns();
		if (!round_of(&s, left < 90 * NSEC ? left : 60 * NSEC))
			break;
	}
	finish(&s);
	for (unsigned int i = 0; i < DEED_COUNT; i++)
		tap_note("%s: %llu", deed_name[i], (unsigned long long)s.deeds[i]);
	tap_note("connections: %llu, loads: %llu, amux_copy(): %llu", SUM(&s, connects),
		 SUM(&s, loads), SUM(&s, syncs));
	tap_ok(!s.wrong && SUM(&s, answered) > 0,
	       "%llu s: %llu requests, %llu MiB, all answered once and right; %llu of them "
	       "-EIO "
	       "by %llu deaths; nothing leaked",
	       (unsigned long long)((tap_ns() - s.begin) / NSEC), SUM(&s, answered),
	       SUM(&s, bytes) >> 20, SUM(&s, lost), (unsigned long long)s.deeds[DEED_KILL]);
	daemon_stop(&s.d);
	return tap_done();
}
