/* SPDX-License-Identifier: MIT */
/*
 * test_flood.c - users that mean harm through the session socket: connections, silence, messages
 * and descriptors without end.  A victim beside them goes on; they are limited or cut off, with a
 * reason that is counted.  Through rings and memory: test_hostile.c.
 *
 * As root the attackers are of another uid than the victim, else of the same.
 *
 *	test_flood [CASE]: those whose names begin so
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "../lib/raw.h"
#include "../lib/siege.h"

/* The control thread is the host's of others as well: the victim's copies do not need it. */
#define SHARE	 0.2
#define NOBODY	 65534
#define LINGER_S 4
#define PASSED	 253 /* descriptors of one packet */
#define SILENT	 200

static struct daemon d;

static uint64_t refused(const char *reason)
{
	char path[64];

	snprintf(path, sizeof(path), "refused.%s", reason);
	return daemon_count(&d, "status", path);
}

static uint64_t cut_off(const char *reason)
{
	char path[64];

	snprintf(path, sizeof(path), "cut_off.%s", reason);
	return daemon_count(&d, "status", path);
}

static void begin(const char *more)
{
	daemon_start(&d, "broker.policy=dynamic", "tenant.victim.name=victim",
		     "tenant.bad.name=bad", more ? more : "tenant.bad.weight=1", NULL);
	/* others may come in, too */
	if (!geteuid() && (chmod(d.dir, 0711) || chmod(d.socket, 0666)))
		tap_bail("%s: %s", d.dir, strerror(errno));
}

static void become(void)
{
	if (!geteuid() && (setgid(NOBODY) || setuid(NOBODY)))
		tap_bail("setuid: %s", strerror(errno));
}

/* A socket that is connected, or -1; never bails out. */
static int dial(const char *path)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&sa, sizeof(sa))) {
		close(fd);
		fd = -1;
	}
	return fd;
}

/* Send @n times @fd with @len bytes of @msg; what comes of it does not matter. */
static void pass(int sock, const void *msg, size_t len, int fd, unsigned int n)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(PASSED * sizeof(int))];
	} control;
	struct iovec iov = { (void *)(uintptr_t)msg, len };
	struct msghdr mh = { .msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = &control,
			     .msg_controllen = CMSG_SPACE(n * sizeof(int)) };
	struct cmsghdr *cm;

	memset(&control, 0, sizeof(control));
	cm = CMSG_FIRSTHDR(&mh);
	cm->cmsg_level = SOL_SOCKET;
	cm->cmsg_type = SCM_RIGHTS;
	cm->cmsg_len = CMSG_LEN(n * sizeof(int));
	for (unsigned int i = 0; i < n; i++)
		memcpy(CMSG_DATA(cm) + i * sizeof(int), &fd, sizeof(int));
	(void)!sendmsg(sock, &mh, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* --------------------------------------------------------------------- connect */

static int connect_main(struct worker_report *r, void *arg)
{
	const struct siege_attack *a = arg;

	become();
	while (siege_wait(a, r)) {
		int fd = dial(a->socket);

		worker_add(&r->done, 1);
		if (fd >= 0)
			close(fd);
	}
	return 0;
}

static void test_connect(void)
{
	struct siege_result r;
	uint64_t n;

	begin("broker.connect_rate=200");
	siege_run(&d, connect_main, 1, &r);
	siege_judge("thousands of connects a second", &r, SHARE);
	n = refused("connect_rate");
	tap_ok(n && n + 3000 > r.attacks, "those beyond connect_rate are refused: %llu of %llu",
	       (unsigned long long)n, (unsigned long long)r.attacks);
	tap_ok(daemon_settles(&d, "status", "connections", 0, 5000 * TAP_SLOW) &&
		       daemon_let_go(&d),
	       "none of them stays");
	daemon_stop(&d);
}

/* ---------------------------------------------------------------------- silent */

static int silent_main(struct worker_report *r, void *arg)
{
	const struct siege_attack *a = arg;
	int fd[SILENT];

	become();
	siege_wait(a, r);
	for (unsigned int i = 0; i < SILENT; i++) {
		fd[i] = dial(a->socket);
		worker_add(&r->done, fd[i] >= 0);
	}
	while (!worker_stopping(r))
		tap_sleep_ms(1);
	return 0;
}

static void test_silent(void)
{
	struct siege_result r;

	begin(NULL);
	siege_run(&d, silent_main, 1, &r);
	siege_judge("connections that say nothing", &r, SHARE);
	tap_ok(refused("silent") >= SILENT - 64,
	       "no more than 64 of a user stand there: %llu were refused",
	       (unsigned long long)refused("silent"));
	daemon_stop(&d);
}

/* ----------------------------------------------------------------- descriptors */

static int many_main(struct worker_report *r, void *arg)
{
	const struct siege_attack *a = arg;
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	struct amux_msg_hello m;

	become();
	raw_hello(&m, "bad");
	while (siege_wait(a, r)) {
		int sock = dial(a->socket);

		if (sock < 0)
			continue;
		for (unsigned int i = 0; i < 4; i++)
			pass(sock, &m, sizeof(m), fd, PASSED);
		worker_add(&r->done, 1);
		close(sock);
	}
	return 0;
}

static void test_many(void)
{
	struct siege_result r;
	unsigned int before;

	begin(NULL);
	before = daemon_fds(&d);
	siege_run(&d, many_main, 1, &r);
	siege_judge("descriptors by the thousand", &r, SHARE);
	tap_ok(cut_off("fds") > 0 && daemon_settles(&d, "status", "connections", 0, 20000),
	       "who sends more than a message has is cut off: %llu times",
	       (unsigned long long)cut_off("fds"));
	tap_ok(daemon_let_go(&d) && daemon_fds(&d) == before,
	       "none of them is kept: %u descriptors, %u before", daemon_fds(&d), before);
	daemon_stop(&d);
}

/* A TCP socket whose last close waits for LINGER_S: its peer takes nothing. */
static int lingering(int *peer)
{
	struct sockaddr_in sa = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct linger linger = { 1, LINGER_S };
	socklen_t len = sizeof(sa);
	int l = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	static char junk[65536];

	if (l < 0 || s < 0 || bind(l, (struct sockaddr *)&sa, sizeof(sa)) || listen(l, 1) ||
	    getsockname(l, (struct sockaddr *)&sa, &len))
		return -1;
	if (connect(s, (struct sockaddr *)&sa, sizeof(sa)) && errno != EINPROGRESS)
		return -1;
	*peer = accept4(l, NULL, NULL, SOCK_CLOEXEC);
	close(l);
	if (*peer < 0 || setsockopt(s, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)))
		return -1;
	while (send(s, junk, sizeof(junk), MSG_NOSIGNAL) > 0)
		;
	return s;
}

/* Some as a region; others left unread in a socket, whose close drops them. */
static int linger_main(struct worker_report *r, void *arg)
{
	const struct siege_attack *a = arg;
	struct amux_msg_register m = { .hdr = { AMUX_MSG_REGISTER, sizeof(m), 9 },
				       .size = 4096 };
	struct amux_msg_hello hello;
	int peers[64];
	unsigned int n = 0;

	become();
	raw_hello(&hello, "bad");
	while (siege_wait(a, r)) {
		int sock = dial(a->socket), fd[2] = { -1, -1 };

		for (unsigned int i = 0; i < 2 && n < 64; i++)
			fd[i] = lingering(&peers[n++]);
		if (sock >= 0 && fd[0] >= 0 && fd[1] >= 0) {
			(void)!send(sock, &hello, sizeof(hello), MSG_NOSIGNAL);
			pass(sock, &m, sizeof(m), fd[0], 1);
			(void)!send(sock, "x", 1, MSG_NOSIGNAL); /* cut off for that */
			pass(sock, &m, sizeof(m), fd[1], 1);
			worker_add(&r->done, 1);
		}
		for (unsigned int i = 0; i < 2; i++)
			if (fd[i] >= 0)
				close(fd[i]);
		/* had it hung up, the broker would read no further than the HELLO */
		while (siege_on(a))
			tap_sleep_ms(1);
		close(sock);
	}
	return 0;
}

static void test_linger(void)
{
	struct siege_result r;
	uint64_t closing;

	begin(NULL);
	siege_run(&d, linger_main, 1, &r);
	siege_judge("descriptors whose close takes seconds", &r, SHARE);
	closing = daemon_count(&d, "status", "closing");
	tap_ok(refused("invalid") >= r.attacks,
	       "they are no memory, and refused; %llu are still being closed",
	       (unsigned long long)closing);
	daemon_stop(&d);
}

/* ------------------------------------------------------------------------ churn */

static int churn_main(struct worker_report *r, void *arg)
{
	const struct siege_attack *a = arg;
	int sock, fd = raw_memfd(4 << 20, F_SEAL_SHRINK);
	union raw_msg msg;

	become();
	sock = raw_open(a->socket, "bad");
	while (siege_wait(a, r)) {
		struct amux_msg_unregister u = {
			.hdr = { AMUX_MSG_UNREGISTER, sizeof(u), 80 },
		};

		u.region = raw_register(sock, fd, 4 << 20, 0, &msg);
		raw_send(sock, &u, sizeof(u), NULL, 0);
		if (!u.region || raw_receive(sock, &msg, NULL) != sizeof(struct amux_msg_done))
			worker_fail(r, "refused: %s", msg.error.text);
		worker_add(&r->done, 1);
	}
	close(sock);
	return 0;
}

static void test_churn(void)
{
	struct siege_result r;

	begin("tenant.bad.max_requests=100");
	siege_run(&d, churn_main, 1, &r);
	siege_judge("regions come and go", &r, SHARE);
	/* 100 a second and 100 at once, two for each turn */
	tap_ok(r.attacks <= 50 + 50 * 5 * TAP_SLOW &&
		       daemon_count(&d, "tenants", "tenants.bad.request_waits") > 0 &&
		       !daemon_count(&d, "tenants", "tenants.victim.request_waits"),
	       "the tenant waits: %llu turns, %llu waits", (unsigned long long)r.attacks,
	       (unsigned long long)daemon_count(&d, "tenants", "tenants.bad.request_waits"));
	daemon_stop(&d);
}

/* ----------------------------------------------------------------------- limits */

/* One REGISTER or QUEUE_CREATE beyond what the tenant may have over both its connections. */
static void test_limits(void)
{
	struct amux_msg_queue_create qc = { .hdr = { AMUX_MSG_QUEUE_CREATE, sizeof(qc), 5 },
					    .sq_entries = 2,
					    .cq_entries = 2 };
	int sock[3], fd = raw_memfd(8192, F_SEAL_SHRINK);
	struct raw_queue q[3];
	struct amux_msg_hello hello;
	union raw_msg msg;
	bool ok = true;
	json_t *doc;

	daemon_start(&d, "tenant.bad.name=bad", "tenant.bad.max_connections=2",
		     "tenant.bad.max_regions=3", "tenant.bad.max_queues=3",
		     "tenant.bad.max_queue_memory=100K", "tenant.bad.max_memory=40K", NULL);
	sock[0] = raw_open(d.socket, "bad");
	sock[1] = raw_open(d.socket, "bad");
	sock[2] = raw_connect(d.socket);
	raw_hello(&hello, "bad");
	raw_send(sock[2], &hello, sizeof(hello), NULL, 0);
	raw_receive(sock[2], &msg, NULL);
	tap_ok(msg.hdr.type == AMUX_MSG_ERROR && msg.error.error == -EAGAIN &&
		       strstr(msg.error.text, "max_tenant_connections"),
	       "a third connection: %s", msg.error.text);
	close(sock[2]);
	for (unsigned int i = 0; i < 3; i++)
		ok &= raw_register(sock[i % 2], fd, 8192, 0, &msg) != 0;
	tap_ok(ok && !raw_register(sock[1], fd, 8192, 0, &msg) && msg.error.error == -ENOSPC &&
		       strstr(msg.error.text, "max_tenant_regions"),
	       "a fourth region: %s", msg.error.text);
	close(fd);
	fd = raw_memfd(20480, F_SEAL_SHRINK);
	tap_ok(!raw_register(sock[0], fd, 20480, 0, &msg) && msg.error.error == -ENOSPC &&
		       strstr(msg.error.text, "max_tenant_memory"),
	       "more memory: %s", msg.error.text);
	qc.sq_entries = qc.cq_entries = 4096;
	raw_send(sock[0], &qc, sizeof(qc), NULL, 0);
	raw_receive(sock[0], &msg, NULL);
	tap_ok(msg.hdr.type == AMUX_MSG_ERROR && msg.error.error == -ENOSPC &&
		       strstr(msg.error.text, "max_tenant_queue_memory"),
	       "a queue too large: %s", msg.error.text);
	qc.sq_entries = qc.cq_entries = 2;
	for (unsigned int i = 0; i < 3; i++)
		raw_queue_open(sock[i % 2], 2, &q[i]);
	raw_send(sock[1], &qc, sizeof(qc), NULL, 0);
	raw_receive(sock[1], &msg, NULL);
	tap_ok(msg.hdr.type == AMUX_MSG_ERROR && msg.error.error == -ENOSPC &&
		       strstr(msg.error.text, "max_tenant_queues"),
	       "a fourth queue: %s", msg.error.text);
	doc = daemon_ask(&d, "tenants");
	tap_ok(json_count(doc, "tenants.bad.refused.regions") == 1 &&
		       json_count(doc, "tenants.bad.refused.memory") == 1 &&
		       json_count(doc, "tenants.bad.refused.queue_memory") == 1 &&
		       json_count(doc, "tenants.bad.refused.queues") == 1 &&
		       json_count(doc, "tenants.bad.limits.regions") == 3 &&
		       json_count(doc, "tenants.bad.queue_bytes") > 3 * 4096 &&
		       refused("tenant_connections") == 1,
	       "each is counted by its reason");
	json_decref(doc);
	for (unsigned int i = 0; i < 3; i++)
		raw_queue_close(&q[i]);
	close(sock[0]);
	close(sock[1]);
	close(fd);
	tap_ok(daemon_settles(&d, "tenants", "tenants.bad.queue_bytes", 0, 5000 * TAP_SLOW) &&
		       !daemon_count(&d, "tenants", "tenants.bad.region_bytes"),
	       "what was charged is given back");
	daemon_stop(&d);
}

static bool wanted(int argc, char **argv, const char *name)
{
	return argc < 2 || !strncmp(name, argv[1], strlen(argv[1]));
}

int main(int argc, char **argv)
{
	tap_init(argc, argv, 90);
	if (wanted(argc, argv, "limits"))
		test_limits();
	if (wanted(argc, argv, "connect"))
		test_connect();
	if (wanted(argc, argv, "silent"))
		test_silent();
	if (wanted(argc, argv, "many"))
		test_many();
	if (wanted(argc, argv, "linger"))
		test_linger();
	if (wanted(argc, argv, "churn"))
		test_churn();
	return tap_done();
}
