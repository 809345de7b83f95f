// SPDX-License-Identifier: MIT
/*
 * test_client.c - libaccelmux against a small broker in a thread of this process, which can
 * be told to serve, decline, lie, keep silent or die.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../client/crc.h"
#include "../../client/handle.h"
#include "../../client/queue.h"

#define FAKE_REGIONS 16
#define FAKE_QUEUES  4
#define KIB	     1024u
#define MIB	     (1024u * 1024u)

/* ------------------------------------------------------------------ the fake broker */

enum fake_mode {
	FAKE_SERVE,   /* COPY and NOOP by memmove */
	FAKE_DECLINE, /* send everything back; fences wait for the acknowledgement */
	FAKE_MUTE,    /* take and never answer */
	FAKE_HOSTILE, /* surround every answer with ones that fit nothing */
	FAKE_TAIL,    /* an impossible CQ tail */
	FAKE_ERROR,   /* answer with fake.error */
};

enum fake_hello {
	HELLO_GOOD,
	HELLO_SHORT,   /* a truncated WELCOME */
	HELLO_LONG,    /* larger than any message */
	HELLO_NO_FD,   /* without the pidfd */
	HELLO_COOKIE,  /* to somebody else */
	HELLO_TYPE,    /* an answer of another type */
	HELLO_VERSION, /* a version nobody asked for */
	HELLO_ERROR,   /* ERROR with a text */
	HELLO_HANGUP,
	HELLO_COUNT
};

struct fake_queue {
	struct amux_ring ring;
	void *map;
	int sq_efd, cq_efd;
	uint32_t declined;
	bool held; /* @fence waits for the client's acknowledgement */
	struct amux_sqe fence;
};

struct fake {
	char dir[64], path[108];
	int listener, stop, conn, pidfd;
	pid_t body; /* the process whose death is the broker's */
	pthread_t thread;
	uint32_t mode, hello;
	int32_t error;
	uint64_t cpu_bps;
	uint32_t n_regions, n_queues;
	uint32_t taken; /* SQEs, by all queues */
	uint32_t early; /* fences that would have run before their turn */
	uint64_t bps;	/* what the ring header promises */
	struct {
		char *map;
		uint64_t size;
	} regions[FAKE_REGIONS];
	struct fake_queue queues[FAKE_QUEUES];
};

static void fake_send(struct fake *f, void *msg, size_t len, const int *fds, unsigned int n)
{
	struct iovec iov = { .iov_base = msg, .iov_len = len };
	char control[CMSG_SPACE(3 * sizeof(int))] = { 0 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (n) {
		struct cmsghdr *c;

		m.msg_control = control;
		m.msg_controllen = CMSG_SPACE(n * sizeof(int));
		c = CMSG_FIRSTHDR(&m);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(n * sizeof(int));
		memcpy(CMSG_DATA(c), fds, n * sizeof(int));
	}
	sendmsg(f->conn, &m, MSG_NOSIGNAL);
}

static void fake_welcome(struct fake *f, uint64_t cookie)
{
	uint32_t how = amux_load_relaxed(&f->hello);
	struct amux_msg_welcome w = {
		.hdr = { .type = AMUX_MSG_WELCOME, .len = sizeof(w), .cookie = cookie },
		.version = AMUX_ABI_VERSION,
		.max_entries = 1024,
		.cpu_bps = f->cpu_bps,
		.tenant = "tester",
	};
	struct amux_msg_error e = {
		.hdr = { .type = AMUX_MSG_ERROR, .len = sizeof(e), .cookie = cookie },
		.error = -EUSERS,
		.text = "connections: 64, expected\tfewer",
	};
	char big[AMUX_MSG_MAX + 64] = { 0 };

	switch (how) {
	case HELLO_SHORT:
		fake_send(f, &w, sizeof(w) - 8, &f->pidfd, 1);
		return;
	case HELLO_LONG:
		memcpy(big, &w, sizeof(w));
		fake_send(f, big, sizeof(big), &f->pidfd, 1);
		return;
	case HELLO_NO_FD:
		fake_send(f, &w, sizeof(w), NULL, 0);
		return;
	case HELLO_ERROR:
		fake_send(f, &e, sizeof(e), NULL, 0);
		return;
	case HELLO_HANGUP:
		close(f->conn);
		f->conn = -1;
		return;
	case HELLO_COOKIE:
		w.hdr.cookie += 7;
		break;
	case HELLO_TYPE:
		w.hdr.type = 77;
		break;
	case HELLO_VERSION:
		w.version = 9;
		break;
	}
	fake_send(f, &w, sizeof(w), &f->pidfd, 1);
}

static void fake_register(struct fake *f, const struct amux_msg_register *msg, int fd)
{
	struct amux_msg_registered r = {
		.hdr = { .type = AMUX_MSG_REGISTERED,
			 .len = sizeof(r),
			 .cookie = msg->hdr.cookie },
		.region = ++f->n_regions,
		.flags = msg->flags,
	};
	int prot = msg->flags & AMUX_REGION_READONLY ? PROT_READ : PROT_READ | PROT_WRITE;
	char *p = mmap(NULL, msg->size, prot, MAP_SHARED, fd, 0);

	ck_assert_ptr_ne(p, MAP_FAILED);
	ck_assert_uint_lt(r.region, FAKE_REGIONS);
	f->regions[r.region].map = p;
	f->regions[r.region].size = msg->size;
	close(fd);
	fake_send(f, &r, sizeof(r), NULL, 0);
}

static void fake_queue_create(struct fake *f, const struct amux_msg_queue_create *msg)
{
	/* More than was asked for: FAKE_HOSTILE gives four answers to one request. */
	uint32_t cq_entries = 8 * msg->cq_entries;
	uint64_t bytes = amux_ring_bytes(msg->sq_entries, cq_entries);
	struct fake_queue *q = &f->queues[f->n_queues];
	struct amux_msg_queue_created r = {
		.hdr = { .type = AMUX_MSG_QUEUE_CREATED,
			 .len = sizeof(r),
			 .cookie = msg->hdr.cookie },
		.queue = ++f->n_queues,
		.ring_bytes = bytes,
	};
	int fds[3] = { memfd_create("ring", MFD_CLOEXEC | MFD_ALLOW_SEALING),
		       eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
		       eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) };

	ck_assert_int_eq(ftruncate(fds[0], (off_t)bytes), 0);
	fcntl(fds[0], F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW);
	q->map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fds[0], 0);
	ck_assert_ptr_ne(q->map, MAP_FAILED);
	amux_ring_init(q->map, msg->sq_entries, cq_entries);
	ck_assert_int_eq(amux_ring_bind(&q->ring, q->map, bytes), 0);
	q->ring.hdr->min_offload = 0;
	q->ring.hdr->engine_bps = f->bps;
	q->sq_efd = fds[1];
	q->cq_efd = fds[2];
	fake_send(f, &r, sizeof(r), fds, 3);
	close(fds[0]);
}

/* One message.  False when the client has hung up. */
static bool fake_message(struct fake *f)
{
	union {
		struct amux_msg_hdr hdr;
		struct amux_msg_register reg;
		struct amux_msg_queue_create queue;
		uint8_t raw[AMUX_MSG_MAX];
	} m;
	struct amux_msg_done done = { .hdr = { .type = AMUX_MSG_DONE, .len = sizeof(done) } };
	struct iovec iov = { .iov_base = &m, .iov_len = sizeof(m) };
	char control[CMSG_SPACE(sizeof(int))];
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control,
			      .msg_controllen = sizeof(control) };
	struct cmsghdr *c;
	int fd = -1;

	if (recvmsg(f->conn, &msg, MSG_CMSG_CLOEXEC) <= 0)
		return false;
	c = CMSG_FIRSTHDR(&msg);
	if (c)
		memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	done.hdr.cookie = m.hdr.cookie;
	switch (m.hdr.type) {
	case AMUX_MSG_HELLO:
		fake_welcome(f, m.hdr.cookie);
		break;
	case AMUX_MSG_REGISTER:
		fake_register(f, &m.reg, fd);
		break;
	case AMUX_MSG_QUEUE_CREATE:
		fake_queue_create(f, &m.queue);
		break;
	default:
		fake_send(f, &done, sizeof(done), NULL, 0);
	}
	return f->conn >= 0;
}

static char *fake_ptr(struct fake *f, const struct amux_sqe *s, unsigned int i)
{
	return f->regions[s->region[i]].map + s->offset[i];
}

static void fake_answer(struct fake *f, struct fake_queue *q, const struct amux_sqe *s)
{
	uint32_t mode = amux_load_acquire(&f->mode);
	struct amux_cqe c = { .user_data = s->user_data, .bytes = s->len }, junk = c;

	if (mode == FAKE_MUTE)
		return;
	if (mode == FAKE_HOSTILE) {
		junk.user_data = ~0ull;
		amux_cq_put(&q->ring, &junk);
		junk.user_data = s->user_data ^ 1ull << 32; /* another generation */
		amux_cq_put(&q->ring, &junk);
	}
	if (mode == FAKE_DECLINE) {
		c.status = AMUX_STATUS_DECLINED;
		q->declined++;
	} else if (mode == FAKE_ERROR) {
		c.status = amux_load_relaxed(&f->error);
		c.field = AMUX_FIELD_LEN;
	} else if (s->op == AMUX_OP_COPY) {
		memmove(fake_ptr(f, s, 1), fake_ptr(f, s, 0), s->len);
	}
	amux_cq_put(&q->ring, &c);
	if (mode == FAKE_HOSTILE)
		amux_cq_put(&q->ring, &c); /* the same answer again */
	if (mode == FAKE_TAIL)
		q->ring.cq_tail += 100000;
}

static bool fake_fence_open(const struct fake_queue *q)
{
	return amux_load_acquire(&q->ring.hdr->declined_done) == q->declined;
}

static void fake_serve(struct fake *f, struct fake_queue *q)
{
	uint32_t before = q->ring.cq_tail;
	struct amux_sqe s;

	for (;;) {
		if (q->held) {
			if (!fake_fence_open(q))
				break;
			q->held = false;
			fake_answer(f, q, &q->fence);
			continue;
		}
		if (amux_sq_ready(&q->ring) <= 0)
			break;
		amux_sq_claim(&q->ring, 1);
		amux_sq_take(&q->ring, &s);
		amux_sq_release(&q->ring);
		__atomic_fetch_add(&f->taken, 1, __ATOMIC_RELEASE);
		if (s.flags & AMUX_SQE_FENCE && !fake_fence_open(q)) {
			q->held = true;
			q->fence = s;
			continue;
		}
		fake_answer(f, q, &s);
	}
	if (q->ring.cq_tail != before && amux_cq_publish(&q->ring))
		eventfd_write(q->cq_efd, 1);
}

/* Sleep only if no queue has anything to do, by the book. */
static bool fake_may_sleep(struct fake *f)
{
	for (uint32_t i = 0; i < f->n_queues; i++) {
		struct fake_queue *q = &f->queues[i];

		if (!q->held && amux_sq_sleep(&q->ring))
			return false;
		if (q->held) {
			amux_store_relaxed(&q->ring.hdr->sq_flags, AMUX_RING_NEED_WAKEUP);
			amux_full_barrier();
			if (fake_fence_open(q))
				return false;
		}
	}
	return true;
}

static void *fake_run(void *arg)
{
	struct fake *f = arg;

	for (;;) {
		struct pollfd p[3 + FAKE_QUEUES] = {
			{ .fd = f->stop, .events = POLLIN },
			{ .fd = f->listener, .events = POLLIN },
			{ .fd = f->conn, .events = POLLIN },
		};
		uint64_t count;

		for (uint32_t i = 0; i < f->n_queues; i++)
			p[3 + i] =
				(struct pollfd){ .fd = f->queues[i].sq_efd, .events = POLLIN };
		poll(p, 3 + f->n_queues, fake_may_sleep(f) ? -1 : 0);
		if (p[0].revents)
			break;
		if (p[1].revents && f->conn < 0)
			f->conn = accept4(f->listener, NULL, NULL, SOCK_CLOEXEC);
		if (p[2].revents && !fake_message(f)) {
			if (f->conn >= 0)
				close(f->conn);
			f->conn = -1;
		}
		for (uint32_t i = 0; i < f->n_queues; i++) {
			amux_sq_wake(&f->queues[i].ring);
			eventfd_read(f->queues[i].sq_efd, &count);
			fake_serve(f, &f->queues[i]);
		}
	}
	return NULL;
}

static void fake_start(struct fake *f, enum fake_mode mode)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };

	f->mode = mode;
	f->conn = -1;
	if (!f->bps)
		f->bps = 1ull << 50;
	f->body = fork();
	ck_assert_int_ge(f->body, 0);
	if (!f->body) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	f->pidfd = (int)syscall(SYS_pidfd_open, f->body, 0);
	ck_assert_int_ge(f->pidfd, 0);
	strcpy(f->dir, "/tmp/amux-test-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(f->dir));
	snprintf(f->path, sizeof(f->path), "%s/sock", f->dir);
	strcpy(un.sun_path, f->path);
	f->stop = eventfd(0, EFD_CLOEXEC);
	f->listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	ck_assert_int_eq(bind(f->listener, (struct sockaddr *)&un, sizeof(un)), 0);
	ck_assert_int_eq(listen(f->listener, 4), 0);
	ck_assert_int_eq(pthread_create(&f->thread, NULL, fake_run, f), 0);
}

static void fake_halt(struct fake *f)
{
	eventfd_write(f->stop, 1);
	pthread_join(f->thread, NULL);
}

/* The broker dies: its thread stops, its process ends, its socket stays open. */
static void fake_kill(struct fake *f)
{
	fake_halt(f);
	kill(f->body, SIGKILL);
	waitpid(f->body, NULL, 0);
	f->body = 0;
}

static void fake_end(struct fake *f)
{
	if (f->body) {
		fake_halt(f);
		kill(f->body, SIGKILL);
		waitpid(f->body, NULL, 0);
	}
	if (f->conn >= 0)
		close(f->conn);
	for (uint32_t i = 0; i < FAKE_REGIONS; i++)
		if (f->regions[i].map)
			munmap(f->regions[i].map, f->regions[i].size);
	for (uint32_t i = 0; i < f->n_queues; i++) {
		struct fake_queue *q = &f->queues[i];

		close(q->sq_efd);
		close(q->cq_efd);
		munmap(q->map, amux_ring_bytes(q->ring.sq_entries, q->ring.cq_entries));
	}
	close(f->listener);
	close(f->stop);
	close(f->pidfd);
	unlink(f->path);
	rmdir(f->dir);
}

static struct amux *fake_connect(struct fake *f)
{
	struct amux_options opt = { f->path, "test", AMUX_NODE_ANY };
	struct amux *a;

	ck_assert_msg(!amux_connect(&a, &opt), "%s", amux_error());
	return a;
}

/* -------------------------------------------------------------------------- helpers */

static uint32_t seed = 12345;

static uint32_t rnd(uint32_t below)
{
	seed = seed * 1664525u + 1013904223u;
	return (uint32_t)((uint64_t)seed * below >> 32);
}

static void scribble(void *p, size_t len)
{
	uint8_t *b = p;

	while (len--)
		*b++ = (uint8_t)rnd(256);
}

static struct amux_stats stats_of(struct amux *a)
{
	struct amux_stats s;

	ck_assert_int_eq(amux_get_stats(a, &s), 0);
	return s;
}

static void *must_alloc(struct amux *a, size_t len)
{
	void *p;

	ck_assert_msg(!amux_alloc(a, len, 0, &p), "%s", amux_error());
	return p;
}

/* Submit one request that was prepared by the caller and wait for its answer. */
static struct amux_cqe finish(struct amux_queue *q)
{
	struct amux_cqe c;

	ck_assert_int_eq(amux_submit(q), 1);
	ck_assert_int_eq(amux_wait(q, &c, 1, 1, NULL), 1);
	return c;
}

/* ------------------------------------------------------------------------ connecting */

START_TEST(socket_path_in_order)
{
	char buf[108], dir[64], path[128];

	setenv("ACCELMUX_SOCKET", "/x/y", 1);
	ck_assert_int_eq(amux_socket_path("/given", buf, sizeof(buf)), 0);
	ck_assert_str_eq(buf, "/given");
	ck_assert_int_eq(amux_socket_path(NULL, buf, sizeof(buf)), 0);
	ck_assert_str_eq(buf, "/x/y");
	ck_assert_int_eq(amux_socket_path("/given", buf, 4), -ENAMETOOLONG);

	unsetenv("ACCELMUX_SOCKET");
	strcpy(dir, "/tmp/amux-xdg-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	setenv("XDG_RUNTIME_DIR", dir, 1);
	snprintf(path, sizeof(path), "%s/accelmux", dir);
	ck_assert_int_eq(mkdir(path, 0700), 0);
	ck_assert_int_eq(amux_socket_path(NULL, buf, sizeof(buf)), 0);
	ck_assert_ptr_null(strstr(buf, dir)); /* there is none yet */
	strcat(path, "/accelmux.sock");
	close(open(path, O_CREAT | O_WRONLY, 0600));
	ck_assert_int_eq(amux_socket_path(NULL, buf, sizeof(buf)), 0);
	ck_assert_str_eq(buf, path);
	unlink(path);
	*strrchr(path, '/') = '\0';
	rmdir(path);
	rmdir(dir);
}
END_TEST

START_TEST(socket_path_in_tmp_must_be_ours)
{
	const uid_t uid = 54321;
	char dir[64], path[128], buf[108];

	if (geteuid())
		return; /* takes two users */
	unsetenv("ACCELMUX_SOCKET");
	unsetenv("XDG_RUNTIME_DIR");
	snprintf(dir, sizeof(dir), "/tmp/accelmux-%u", uid);
	snprintf(path, sizeof(path), "%s/accelmux.sock", dir);
	ck_assert_int_eq(mkdir(dir, 0755), 0);
	close(open(path, O_CREAT | O_WRONLY, 0666));
	ck_assert_int_eq(seteuid(uid), 0);
	ck_assert_int_eq(amux_socket_path(NULL, buf, sizeof(buf)), 0);
	ck_assert_int_eq(seteuid(0), 0);
	ck_assert_str_eq(buf,
			 "/run/accelmux/accelmux.sock"); /* root's directory: not believed */
	ck_assert_int_eq(chown(dir, uid, uid), 0);
	ck_assert_int_eq(seteuid(uid), 0);
	ck_assert_int_eq(amux_socket_path(NULL, buf, sizeof(buf)), 0);
	ck_assert_int_eq(seteuid(0), 0);
	unlink(path);
	rmdir(dir);
	ck_assert_str_eq(buf, path);
}
END_TEST

START_TEST(connect_refuses_bad_options)
{
	struct amux_options opt = AMUX_OPTIONS_INIT;
	struct amux *a = (void *)1;
	char longpath[200];

	opt.socket = "/nonexistent/accelmux.sock";
	ck_assert_int_eq(amux_connect(&a, &opt), -ENOENT);
	ck_assert_ptr_null(a);
	ck_assert_ptr_nonnull(strstr(amux_error(), opt.socket));
	ck_assert_int_eq(amux_connect(NULL, &opt), -EINVAL);
	memset(longpath, 'x', sizeof(longpath) - 1);
	longpath[sizeof(longpath) - 1] = '\0';
	opt.socket = longpath;
	ck_assert_int_eq(amux_connect(&a, &opt), -EINVAL);
	amux_close(NULL);
	ck_assert_int_eq(amux_alive(NULL), -EINVAL);
	ck_assert_int_eq(amux_submit(NULL), -EINVAL);
	ck_assert_ptr_null(amux_get_sqe(NULL));
}
END_TEST

START_TEST(connect_refuses_bad_names)
{
	struct fake f = { 0 };
	struct amux_options opt = AMUX_OPTIONS_INIT;
	struct amux *a;

	fake_start(&f, FAKE_SERVE);
	opt.socket = f.path;
	opt.name = "an unreasonably long program name";
	ck_assert_int_eq(amux_connect(&a, &opt), -EINVAL);
	opt.name = "tab\there";
	ck_assert_int_eq(amux_connect(&a, &opt), -EINVAL);
	opt.name = "";
	ck_assert_int_eq(amux_connect(&a, &opt), -EINVAL);
	opt.name = NULL;
	ck_assert_int_eq(amux_connect(&a, &opt), 0);
	ck_assert_str_eq(amux_tenant(a), "tester");
	ck_assert_int_eq(amux_alive(a), 1);
	amux_close(a);
	fake_end(&f);
}
END_TEST

START_TEST(connect_survives_any_welcome)
{
	static const int expect[HELLO_COUNT] = {
		[HELLO_GOOD] = 0,	   [HELLO_SHORT] = -EPROTO,  [HELLO_LONG] = -EPROTO,
		[HELLO_NO_FD] = -EPROTO,   [HELLO_COOKIE] = -EPROTO, [HELLO_TYPE] = -EPROTO,
		[HELLO_VERSION] = -EPROTO, [HELLO_ERROR] = -EUSERS,  [HELLO_HANGUP] = -EPROTO,
	};
	struct fake f = { 0 };
	struct amux_options opt = AMUX_OPTIONS_INIT;
	struct amux *a;

	fake_start(&f, FAKE_SERVE);
	opt.socket = f.path;
	amux_store_relaxed(&f.hello, (uint32_t)_i);
	ck_assert_int_eq(amux_connect(&a, &opt), expect[_i]);
	ck_assert_int_eq(a == NULL, expect[_i] != 0);
	if (expect[_i])
		ck_assert_str_ne(amux_error(), "");
	if (_i == HELLO_ERROR)
		ck_assert_str_eq(amux_error(), "connections: 64, expected?fewer");
	amux_close(a);
	fake_end(&f);
}
END_TEST

/* ------------------------------------------------------------------------ operations */

START_TEST(crc_vectors)
{
	static const char digits[] = "123456789";
	uint8_t buf[1024], zero[32] = { 0 }, ones[32];
	uint32_t c;

	memset(ones, 0xff, sizeof(ones));
	ck_assert_uint_eq(amux_crc32c(0, digits, 9), 0xe3069283u);
	ck_assert_uint_eq(amux_crc32c_table(0, digits, 9), 0xe3069283u);
	ck_assert_uint_eq(amux_crc32c(0, zero, 32), 0x8a9136aau); /* RFC 3720, B.4 */
	ck_assert_uint_eq(amux_crc32c(0, ones, 32), 0x62a8ab43u);
	ck_assert_uint_eq(amux_crc32c(0, digits, 0), 0);
	scribble(buf, sizeof(buf));
	for (uint32_t i = 0; i < 500; i++) {
		uint32_t at = rnd(64), len = rnd(900), cut = rnd(len + 1), start = rnd(~0u);

		c = amux_crc32c_table(start, buf + at, len);
		ck_assert_uint_eq(amux_crc32c(start, buf + at, len), c);
		ck_assert_uint_eq(amux_crc32c(amux_crc32c(start, buf + at, cut), buf + at + cut,
					      len - cut),
				  c);
	}
}
END_TEST

#define ARENA 40000u

/* Run @sqe as a job in slices of a random budget. */
static struct amux_cqe run_job(struct amux *a, const struct amux_sqe *sqe)
{
	uint64_t budget = rnd(3) ? 8 + rnd(9000) : UINT64_MAX, total = 0;
	struct amux_job job;

	amux_job_start(&job, sqe);
	while (!job.finished) {
		uint64_t n = amux_job_step(a, &job, budget);

		ck_assert_uint_le(n, budget);
		ck_assert(n > 0 || job.finished);
		total += n;
	}
	ck_assert_uint_le(total, sqe->len);
	return job.cqe;
}

/* What plain C makes of @sqe on @mem, one arena that all operands lie in. */
static uint64_t model(uint8_t *mem, const struct amux_sqe *s)
{
	uint8_t *p0 = mem + s->offset[0], *p1 = mem + s->offset[1];
	uint64_t pattern = s->offset[2], i;

	switch (s->op) {
	case AMUX_OP_COPY:
		memmove(p1, p0, s->len);
		return 0;
	case AMUX_OP_FILL:
		for (i = 0; i < s->len; i++)
			p1[i] = (uint8_t)(pattern >> 8 * (i % 8));
		return 0;
	case AMUX_OP_COMPARE:
		for (i = 0; i < s->len && p0[i] == p1[i]; i++)
			;
		return i;
	case AMUX_OP_DUALCAST:
		memcpy(p1, p0, s->len);
		memcpy(mem + s->offset[2], p0, s->len);
		return 0;
	case AMUX_OP_COPY_CRC:
		memcpy(p1, p0, s->len);
		return amux_crc32c_table((uint32_t)pattern, p1, s->len);
	case AMUX_OP_CRC32C:
		return amux_crc32c_table((uint32_t)pattern, p0, s->len);
	}
	return 0;
}

/* A random request within the arena; without overlap where the op allows none. */
static struct amux_sqe random_sqe(const uint32_t region[2])
{
	struct amux_sqe s = { .op = (uint8_t)(1 + rnd(AMUX_OP_CANCEL - 1)) };
	uint32_t third = ARENA / 3, near = 1 + rnd(ARENA / 2);

	s.len = 1 + rnd(rnd(2) ? 200 : third);
	s.region[0] = region[rnd(2)];
	s.region[1] = region[rnd(2)];
	s.offset[0] = rnd(third - (uint32_t)s.len + 1);
	s.offset[1] = third + rnd(third - (uint32_t)s.len + 1);
	if (s.op == AMUX_OP_COPY || s.op == AMUX_OP_COMPARE) {
		s.offset[0] = rnd(ARENA - (uint32_t)s.len);
		s.offset[1] = (s.offset[0] + near) % (ARENA - s.len);
		if (rnd(2)) /* a little apart: overlaps in either direction */
			s.offset[1] = s.offset[0] < 64 ? s.offset[0] + rnd(64)
						       : s.offset[0] - rnd(64);
		if (s.offset[1] > ARENA - s.len)
			s.offset[1] = ARENA - s.len;
	} else if (s.op == AMUX_OP_FILL) {
		s.region[0] = 0;
		s.offset[0] = 0;
		s.offset[2] = (uint64_t)rnd(~0u) << 32 | rnd(~0u);
	} else if (s.op == AMUX_OP_DUALCAST) {
		s.region[2] = region[rnd(2)];
		s.offset[2] = 2 * third + rnd(third - (uint32_t)s.len + 1);
	} else {
		s.offset[2] = rnd(~0u);
	}
	if (s.op == AMUX_OP_CRC32C) {
		s.region[1] = 0;
		s.offset[1] = 0;
	}
	return s;
}

static int sealed_memfd(size_t len)
{
	int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, (off_t)len), 0);
	ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW), 0);
	return fd;
}

/* One file mapped and registered twice: every request may alias through other addresses. */
START_TEST(cpu_ops_match_plain_c)
{
	struct fake f = { 0 };
	struct amux *a;
	int fd = sealed_memfd(ARENA);
	uint8_t *map[2], *copy = malloc(ARENA);
	uint32_t region[2];
	uint64_t offset;

	fake_start(&f, FAKE_SERVE);
	a = fake_connect(&f);
	for (unsigned int i = 0; i < 2; i++) {
		map[i] = mmap(NULL, ARENA, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		ck_assert_msg(!amux_register(a, fd, map[i], ARENA), "%s", amux_error());
		ck_assert_int_eq(amux_locate(a, map[i], 1, &region[i], &offset), 0);
	}
	ck_assert_uint_ne(region[0], region[1]);
	scribble(map[0], ARENA);
	for (unsigned int i = 0; i < 3000; i++) {
		struct amux_sqe s = random_sqe(region);
		struct amux_cqe c;
		uint64_t want;

		if (s.op == AMUX_OP_COMPARE && rnd(2))
			memmove(map[0] + s.offset[1], map[0] + s.offset[0], s.len);
		memcpy(copy, map[0], ARENA);
		want = model(copy, &s);
		c = run_job(a, &s);
		ck_assert_msg(!c.status && c.result == want && c.bytes == s.len &&
				      !memcmp(copy, map[1], ARENA),
			      "op %u, %lu -> %lu, %lu bytes: status %d field %u result %lu/%lu",
			      s.op, s.offset[0], s.offset[1], s.len, c.status, c.field,
			      c.result, want);
	}
	amux_close(a);
	close(fd);
	free(copy);
	fake_end(&f);
}
END_TEST

START_TEST(cpu_refuses_wrong_requests)
{
	struct fake f = { 0 };
	struct amux *a;
	char *p, *ro;
	uint32_t r, r_ro;
	uint64_t offset;
	int fd, rofd;
	char link[64];

	fake_start(&f, FAKE_SERVE);
	a = fake_connect(&f);
	p = must_alloc(a, 8192);
	ck_assert_int_eq(amux_locate(a, p, 8192, &r, &offset), 0);
	fd = sealed_memfd(4096);
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	rofd = open(link, O_RDONLY | O_CLOEXEC);
	ck_assert_int_ge(rofd, 0);
	ro = mmap(NULL, 4096, PROT_READ, MAP_SHARED, rofd, 0);
	ck_assert_msg(!amux_register(a, rofd, ro, 4096), "%s", amux_error());
	ck_assert_int_eq(amux_locate(a, ro, 4096, &r_ro, &offset), 0);

	const struct {
		struct amux_sqe sqe;
		int status;
		enum amux_field field;
	} bad[] = {
		{ { .op = AMUX_OP_COUNT }, -EOPNOTSUPP, AMUX_FIELD_OP },
		{ { .flags = 0x10 }, -EINVAL, AMUX_FIELD_FLAGS },
		{ { .flags = AMUX_SQE_CPU_ONLY | AMUX_SQE_ENGINE_ONLY },
		  -EINVAL,
		  AMUX_FIELD_FLAGS },
		{ { .rsvd1 = 1 }, -EINVAL, AMUX_FIELD_RSVD },
		{ { .len = 1 }, -EINVAL, AMUX_FIELD_LEN },
		{ { .op = AMUX_OP_COPY, .region = { r, r } }, -EINVAL, AMUX_FIELD_LEN },
		{ { .op = AMUX_OP_COPY, .region = { r, r, r }, .len = 1 },
		  -EINVAL,
		  AMUX_FIELD_REGION2 },
		{ { .op = AMUX_OP_COPY, .region = { r, r }, .offset = { 0, 0, 1 }, .len = 1 },
		  -EINVAL,
		  AMUX_FIELD_OFFSET2 },
		{ { .op = AMUX_OP_COPY, .region = { 99, r }, .len = 1 },
		  -EBADF,
		  AMUX_FIELD_REGION0 },
		{ { .op = AMUX_OP_COPY, .region = { r, r }, .offset = { 0, 8192 }, .len = 1 },
		  -ERANGE,
		  AMUX_FIELD_OFFSET1 },
		{ { .op = AMUX_OP_COPY, .region = { r, r }, .offset = { 1 }, .len = 8192 },
		  -ERANGE,
		  AMUX_FIELD_LEN },
		{ { .op = AMUX_OP_COPY,
		    .region = { r, r },
		    .offset = { 0, 4096 },
		    .len = UINT64_MAX },
		  -ERANGE,
		  AMUX_FIELD_LEN },
		{ { .op = AMUX_OP_COPY, .region = { r, r_ro }, .len = 1 },
		  -EACCES,
		  AMUX_FIELD_REGION1 },
		{ { .op = AMUX_OP_FILL, .region = { 0, r_ro }, .len = 1 },
		  -EACCES,
		  AMUX_FIELD_REGION1 },
		{ { .op = AMUX_OP_CRC32C,
		    .region = { r },
		    .offset = { 0, 0, 1ull << 32 },
		    .len = 1 },
		  -EINVAL,
		  AMUX_FIELD_OFFSET2 },
		{ { .op = AMUX_OP_COPY_CRC, .region = { r, r }, .offset = { 0, 9 }, .len = 10 },
		  -EINVAL,
		  AMUX_FIELD_OFFSET1 },
		{ { .op = AMUX_OP_DUALCAST,
		    .region = { r, r, r },
		    .offset = { 0, 4096, 4000 },
		    .len = 100 },
		  -EINVAL,
		  AMUX_FIELD_OFFSET2 },
	};
	for (unsigned int i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct amux_cqe c = run_job(a, &bad[i].sqe);

		ck_assert_msg(c.status == bad[i].status && c.field == bad[i].field && !c.bytes,
			      "case %u: status %d, field %u", i, c.status, c.field);
	}
	amux_close(a);
	munmap(ro, 4096);
	close(rofd);
	close(fd);
	fake_end(&f);
}
END_TEST

/* --------------------------------------------------------------------------- memory */

START_TEST(regions_are_found_and_given_back)
{
	struct fake f = { 0 };
	struct amux *a;
	char *p[8];
	uint32_t region;
	uint64_t offset;
	struct amux_sqe sqe;
	int fd = sealed_memfd(4096), plain = memfd_create("plain", MFD_CLOEXEC);
	void *m = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), *none;

	fake_start(&f, FAKE_SERVE);
	a = fake_connect(&f);
	for (unsigned int i = 0; i < 8; i++) {
		p[i] = must_alloc(a, 5000);
		p[i][8191] = 1; /* rounded up to pages */
	}
	for (unsigned int i = 0; i < 8; i++) {
		ck_assert_int_eq(amux_locate(a, p[i] + 100, 200, &region, &offset), 0);
		ck_assert_uint_eq(region, i + 1);
		ck_assert_uint_eq(offset, 100);
	}
	ck_assert_int_eq(amux_free(a, p[3]), 0);
	ck_assert_int_eq(amux_free(a, p[3]), -ENOENT);
	ck_assert_int_eq(amux_free(a, p[4] + 4096), -ENOENT);
	ck_assert_int_eq(amux_unregister(a, p[4]), -ENOENT);
	ck_assert_int_eq(amux_locate(a, p[4], 5000, &region, &offset), 0);
	ck_assert_uint_eq(region, 5);

	memset(&sqe, 0xff, sizeof(sqe));
	ck_assert_int_eq(amux_prep_copy(a, &sqe, p[4], m, 100), -ENOENT);
	ck_assert_uint_eq(sqe.op, AMUX_OP_NOOP);
	ck_assert_uint_eq(sqe.len, 0);
	ck_assert_int_eq(amux_prep_copy(a, NULL, p[4], p[5], 100), -EINVAL);
	ck_assert_int_eq(amux_prep_fill(a, &sqe, NULL, 1, 100), -ENOENT);

	ftruncate(plain, 4096);
	ck_assert_int_eq(amux_register(a, plain, m, 4096), -EINVAL);
	ck_assert_int_eq(amux_register(a, fd, (char *)m + 8, 100), -EINVAL);
	ck_assert_int_eq(amux_register(a, fd, m, 8192), -EINVAL);
	ck_assert_int_eq(amux_register(a, fd, m, 4096), 0);
	ck_assert_int_eq(amux_register(a, fd, m, 4096), -EEXIST);
	ck_assert_int_eq(amux_prep_copy(a, &sqe, p[4], m, 100), 0);
	ck_assert_int_eq(amux_free(a, m), -ENOENT);
	ck_assert_int_eq(amux_unregister(a, m), 0);
	ck_assert_int_eq(amux_alloc(a, 0, 0, &none), -EINVAL);
	ck_assert_int_eq(amux_alloc(a, 1, 0x80, &none), -EINVAL);
	amux_close(a);
	munmap(m, 4096);
	close(fd);
	close(plain);
	fake_end(&f);
}
END_TEST

/* --------------------------------------------------------------------------- queues */

#define BLOCK 512u

/* Keep a queue of 4 full until @total copies are done and check every one. */
static void pump(struct amux *a, struct amux_queue *q, unsigned int total)
{
	uint8_t *src = must_alloc(a, total * BLOCK), *dst = must_alloc(a, total * BLOCK);
	bool *seen = calloc(total, sizeof(*seen));
	unsigned int put = 0, got = 0;
	struct amux_cqe c[3];
	struct amux_sqe *sqe;
	int n;

	scribble(src, total * BLOCK);
	while (got < total) {
		while (put < total && (sqe = amux_get_sqe(q))) {
			ck_assert_int_eq(amux_prep_copy(a, sqe, dst + put * BLOCK,
							src + put * BLOCK, BLOCK),
					 0);
			sqe->user_data = put | 1ull << 63;
			if (put % 7 == 3)
				sqe->flags = AMUX_SQE_FENCE;
			put++;
			if (put % 3 == 0)
				amux_submit(q);
		}
		amux_submit(q);
		ck_assert_uint_le(put - got, 4);
		n = amux_wait(q, c, 3, 1, NULL);
		ck_assert_int_ge(n, 1);
		for (int i = 0; i < n; i++) {
			uint64_t id = c[i].user_data & ~(1ull << 63);

			ck_assert_int_eq(c[i].status, 0);
			ck_assert_uint_eq(c[i].bytes, BLOCK);
			ck_assert_uint_lt(id, total);
			ck_assert(!seen[id]);
			seen[id] = true;
			got++;
		}
	}
	ck_assert_int_eq(memcmp(src, dst, total * BLOCK), 0);
	ck_assert_int_eq(amux_wait(q, c, 1, 1, NULL), -ENODATA);
	ck_assert_int_eq(amux_free(a, src), 0);
	ck_assert_int_eq(amux_free(a, dst), 0);
	free(seen);
}

START_TEST(queue_copies_whatever_the_broker_does)
{
	static const enum fake_mode modes[] = { FAKE_SERVE, FAKE_DECLINE, FAKE_HOSTILE };
	struct fake f = { 0 };
	struct amux *a;
	struct amux_queue *q;
	struct amux_stats s;

	fake_start(&f, modes[_i / 2]);
	a = fake_connect(&f);
	ck_assert_int_eq(amux_queue_create(a, 3, &q), 0); /* rounded up to 4 */
	if (_i % 2)
		amux_set_spin(q, 0);
	pump(a, q, 1000);
	s = stats_of(a);
	ck_assert_uint_eq(s.submitted, 1000);
	ck_assert_uint_eq(s.errors, 0);
	if (modes[_i / 2] == FAKE_DECLINE) {
		ck_assert_uint_eq(s.declined, 1000);
		ck_assert_uint_eq(s.declined_bytes, 1000 * BLOCK);
		ck_assert_uint_eq(s.engine_done, 0);
		ck_assert_uint_eq(q->ring.hdr->declined_done, 1000);
	} else {
		ck_assert_uint_eq(s.engine_done, 1000);
		ck_assert_uint_eq(s.engine_bytes, 1000 * BLOCK);
		ck_assert_uint_eq(s.declined, 0);
	}
	/* The last answer's duplicate may not have been looked at. */
	if (modes[_i / 2] == FAKE_HOSTILE)
		ck_assert_uint_ge(s.rejected, 2999);
	ck_assert_int_eq(amux_queue_destroy(q), 0);
	ck_assert_uint_eq(stats_of(a).submitted, 1000);
	amux_close(a);
	fake_end(&f);
}
END_TEST

START_TEST(queue_refuses_bad_arguments)
{
	struct fake f = { 0 };
	const struct timespec tick = { 0, 5000000 }, bad = { 0, 1000000000 };
	struct amux_cqe c[4];
	struct amux_queue *q;
	struct amux *a;

	fake_start(&f, FAKE_MUTE);
	a = fake_connect(&f);
	ck_assert_int_eq(amux_queue_create(a, 1, &q), -EINVAL);
	ck_assert_int_eq(amux_queue_create(a, 1025, &q), -EINVAL); /* WELCOME says 1024 */
	ck_assert_ptr_nonnull(strstr(amux_error(), "1025"));
	ck_assert_int_eq(amux_queue_create(a, 2, &q), 0);
	ck_assert_int_eq(amux_wait(q, c, 4, 1, NULL), -ENODATA);
	ck_assert_ptr_nonnull(amux_get_sqe(q));
	ck_assert_int_eq(amux_wait(q, c, 4, 1, NULL), -ENODATA); /* not submitted */
	ck_assert_int_eq(amux_submit(q), 1);
	ck_assert_int_eq(amux_submit(q), 0);
	ck_assert_ptr_nonnull(amux_get_sqe(q));
	ck_assert_ptr_null(amux_get_sqe(q)); /* one in flight, one prepared: full */
	ck_assert_int_eq(amux_wait(q, c, 4, 0, NULL), -EINVAL);
	ck_assert_int_eq(amux_wait(q, c, 4, 5, NULL), -EINVAL);
	ck_assert_int_eq(amux_wait(q, c, 4, 1, &bad), -EINVAL);
	ck_assert_int_eq(amux_peek(q, c, 0), -EINVAL);
	ck_assert_int_eq(amux_peek(q, c, 4), 0);
	ck_assert_int_eq(amux_wait(q, c, 4, 1, &tick), -ETIME);
	fake_kill(&f); /* or closing would wait for the answer */
	amux_close(a);
	fake_end(&f);
}
END_TEST

START_TEST(peek_copies_a_mebibyte_at_most)
{
	struct fake f = { 0 };
	struct amux_cqe c[4];
	struct amux_queue *q;
	struct amux_sqe *sqe;
	struct amux *a;
	char *p;
	int n, calls = 0;

	fake_start(&f, FAKE_DECLINE);
	a = fake_connect(&f);
	p = must_alloc(a, 7 * MIB);
	scribble(p, 4096);
	ck_assert_int_eq(amux_queue_create(a, 4, &q), 0);
	sqe = amux_get_sqe(q); /* overlapping: from the end, in slices */
	ck_assert_int_eq(amux_prep_copy(a, sqe, p + MIB / 2, p, 3 * MIB), 0);
	sqe = amux_get_sqe(q);
	ck_assert_int_eq(amux_prep_noop(sqe), 0);
	sqe->user_data = 2;
	amux_submit(q);
	while (!amux_cq_ready(&q->ring))
		;
	do {
		uint64_t before = q->job.done;

		n = amux_peek(q, c, 4);
		ck_assert_int_ge(n, 0);
		calls++;
		if (!n)
			ck_assert_uint_le(q->job.done - before, MIB);
	} while (!n);
	ck_assert_int_ge(calls, 3);
	ck_assert_uint_eq(c[0].bytes, 3 * MIB);
	while (n < 2)
		n += amux_peek(q, c + n, 4);
	ck_assert_uint_eq(c[1].user_data, 2);
	ck_assert_int_eq(memcmp(p, p + MIB / 2, 4096), 0);
	amux_close(a);
	fake_end(&f);
}
END_TEST

START_TEST(wrong_status_is_an_error)
{
	static const int32_t given[] = { -ERANGE, -EFAULT, 2, -100000, INT32_MIN };
	struct fake f = { 0 };
	struct amux_queue *q;
	struct amux_cqe c;
	struct amux *a;
	char *p;

	f.error = given[_i];
	fake_start(&f, FAKE_ERROR);
	a = fake_connect(&f);
	p = must_alloc(a, 4096);
	ck_assert_int_eq(amux_queue_create(a, 4, &q), 0);
	amux_prep_copy(a, amux_get_sqe(q), p, p + 2048, 8);
	c = finish(q);
	ck_assert_int_eq(c.status, _i < 2 ? given[_i] : -EPROTO);
	ck_assert_uint_eq(c.field, _i < 2 ? AMUX_FIELD_LEN : AMUX_FIELD_NONE);
	ck_assert_uint_eq(stats_of(a).errors, 1);
	amux_close(a);
	fake_end(&f);
}
END_TEST

START_TEST(impossible_tail_ends_the_queue_only)
{
	struct fake f = { 0 };
	struct amux_queue *q;
	struct amux *a;
	char *p;

	fake_start(&f, FAKE_TAIL);
	a = fake_connect(&f);
	p = must_alloc(a, 4096);
	ck_assert_int_eq(amux_queue_create(a, 4, &q), 0);
	amux_prep_copy(a, amux_get_sqe(q), p, p + 2048, 8);
	ck_assert_int_eq(finish(q).status, -EIO);
	p[2048] = 'x';
	amux_prep_copy(a, amux_get_sqe(q), p, p + 2048, 8);
	ck_assert_int_eq(finish(q).status, 0);
	ck_assert_int_eq(p[0], 'x');
	ck_assert_int_eq(amux_alive(a), 1);
	amux_close(a);
	fake_end(&f);
}
END_TEST

/* --------------------------------------------------------------------- event loops */

/* Wait for the descriptor as an event loop would; 0 if it stayed quiet for @ms. */
static int readable(struct amux_queue *q, int ms)
{
	struct pollfd p = { .fd = amux_eventfd(q), .events = POLLIN };

	ck_assert_int_ge(p.fd, 0);
	return poll(&p, 1, ms);
}

START_TEST(event_loop_misses_nothing)
{
	struct fake f = { 0 };
	struct amux_queue *q;
	struct amux_cqe c[8];
	struct amux_sqe *sqe;
	struct amux *a;
	unsigned int put = 0, got = 0;
	int n;

	fake_start(&f, _i ? FAKE_DECLINE : FAKE_SERVE);
	a = fake_connect(&f);
	ck_assert_int_eq(amux_queue_create(a, 4, &q), 0);
	ck_assert_int_ge(amux_eventfd(q), 0);
	ck_assert_int_eq(amux_arm(q), 0);
	ck_assert_int_eq(readable(q, 0), 0);
	while (got < 2000) {
		while (put < 2000 && (sqe = amux_get_sqe(q))) {
			sqe->user_data = put++;
			if (put % 5 == 0)
				sqe->flags = AMUX_SQE_FENCE;
		}
		amux_submit(q);
		while ((n = amux_peek(q, c, 8)) > 0)
			got += (unsigned int)n;
		ck_assert_int_eq(n, 0);
		if (got < put && !amux_arm(q))
			ck_assert_int_eq(readable(q, 10000), 1);
	}
	ck_assert_int_eq(amux_arm(q), 0);
	ck_assert_int_eq(readable(q, 0), 0);
	amux_close(a);
	fake_end(&f);
}
END_TEST

START_TEST(event_loop_hears_of_the_death)
{
	struct fake f = { 0 };
	struct amux_queue *q;
	struct amux_cqe c;
	struct amux *a;
	char *p;

	fake_start(&f, FAKE_MUTE);
	a = fake_connect(&f);
	ck_assert_int_eq(amux_queue_create(a, 4, &q), 0);
	p = must_alloc(a, 4096);
	amux_prep_copy(a, amux_get_sqe(q), p + 8, p, 16);
	amux_submit(q);
	ck_assert_int_eq(amux_peek(q, &c, 1), 0);
	ck_assert_int_eq(amux_arm(q), 0);
	ck_assert_int_eq(readable(q, 5), 0);
	fake_kill(&f);
	ck_assert_int_eq(readable(q, 10000), 1);
	ck_assert_int_eq(amux_alive(a), 0);
	ck_assert_int_eq(amux_peek(q, &c, 1), 1);
	ck_assert_int_eq(c.status, -EIO);
	ck_assert_int_eq(amux_arm(q), 0);
	ck_assert_int_eq(readable(q, 5), 0); /* no busy loop afterwards */
	amux_get_sqe(q);
	amux_submit(q);
	ck_assert_int_eq(readable(q, 10000), 1);
	ck_assert_int_eq(amux_arm(q), 1);
	ck_assert_int_eq(amux_peek(q, &c, 1), 1);
	ck_assert_int_eq(c.status, 0);
	amux_close(a);
	fake_end(&f);
}
END_TEST

/* ---------------------------------------------------------------------------- death */

static void *kill_later(void *arg)
{
	usleep(20000);
	fake_kill(arg);
	return NULL;
}

START_TEST(broker_death_loses_no_request)
{
	struct fake f = { 0 };
	struct amux_queue *q, *local;
	struct amux_cqe c[8];
	struct amux_sqe *sqe;
	struct amux_stats s;
	struct amux *a;
	char *p, *late;
	pthread_t t;

	fake_start(&f, FAKE_SERVE);
	a = fake_connect(&f);
	p = must_alloc(a, 8192);
	ck_assert_int_eq(amux_queue_create(a, 8, &q), 0);
	/* One answer lies in the CQ, three requests have been taken, when it dies. */
	amux_get_sqe(q)->user_data = 10;
	amux_submit(q);
	while (!amux_cq_ready(&q->ring))
		;
	amux_store_release(&f.mode, FAKE_MUTE);
	strcpy(p, "one");
	for (unsigned int i = 11; i < 14; i++) {
		sqe = amux_get_sqe(q);
		if (i == 11)
			amux_prep_copy(a, sqe, p + 4096, p, 4);
		else if (i == 12) /* perhaps half done, and then its source is gone */
			amux_prep_copy(a, sqe, p + 1004, p + 1000, 8);
		sqe->user_data = i;
	}
	amux_submit(q);
	ck_assert_int_eq(pthread_create(&t, NULL, kill_later, &f), 0);
	ck_assert_int_eq(amux_wait(q, c, 8, 4, NULL), 4);
	pthread_join(t, NULL);
	for (unsigned int i = 0; i < 4; i++) {
		ck_assert_uint_eq(c[i].user_data, 10 + i);
		ck_assert_int_eq(c[i].status, i == 2 ? -EIO : 0);
	}
	ck_assert_str_eq(p + 4096, "one");
	ck_assert_int_eq(amux_alive(a), 0);
	s = stats_of(a);
	ck_assert_uint_eq(s.lost_broker, 1);
	ck_assert_uint_eq(s.redone, 2);
	ck_assert_uint_eq(s.errors, 1);

	/* Everything goes on by CPU, new memory and new queues included. */
	late = must_alloc(a, 4096);
	ck_assert_int_eq(amux_queue_create(a, 8, &local), 0);
	strcpy(p, "still here");
	for (unsigned int i = 0; i < 2; i++) {
		struct amux_queue *use = i ? local : q;

		amux_prep_copy(a, amux_get_sqe(use), late, p, 16);
		sqe = amux_get_sqe(use);
		amux_prep_crc32c(a, sqe, late, 0, 10);
		sqe->flags = AMUX_SQE_FENCE;
		sqe = amux_get_sqe(use);
		amux_prep_copy(a, sqe, p, late, 16);
		sqe->flags = AMUX_SQE_ENGINE_ONLY;
		sqe = amux_get_sqe(use);
		sqe->op = 200;
		ck_assert_int_eq(amux_submit(use), 4);
		ck_assert_int_eq(amux_wait(use, c, 8, 4, NULL), 4);
		ck_assert_int_eq(c[0].status, 0);
		ck_assert_int_eq(c[1].status, 0);
		ck_assert_uint_eq(c[1].result, amux_crc32c(0, "still here", 10));
		ck_assert_int_eq(c[2].status, -ENODEV);
		ck_assert_int_eq(c[3].status, -EOPNOTSUPP);
		ck_assert_uint_eq(c[3].field, AMUX_FIELD_OP);
		ck_assert_str_eq(late, "still here");
		memset(late, 0, 4096);
	}
	ck_assert_int_eq(amux_copy(a, late, p, 8192 / 2), 0);
	ck_assert_str_eq(late, "still here");
	ck_assert_int_eq(amux_free(a, late), 0);
	ck_assert_int_eq(amux_queue_destroy(local), 0);
	amux_close(a);
	fake_end(&f);
}
END_TEST

/* What was published before the death is an answer, however late the CQ was looked at. */
START_TEST(last_answers_are_not_lost)
{
	struct fake f = { 0 };
	struct amux_queue *q;
	struct amux_cqe c[2];
	struct amux *a;

	fake_start(&f, FAKE_SERVE);
	a = fake_connect(&f);
	ck_assert_int_eq(amux_queue_create(a, 4, &q), 0);
	ck_assert_ptr_nonnull(amux_get_sqe(q));
	amux_submit(q);
	while (!amux_cq_ready(&q->ring)) /* caches a tail of one answer */
		;
	ck_assert_ptr_nonnull(amux_get_sqe(q));
	amux_submit(q);
	while (amux_load_acquire(&q->ring.hdr->cq_tail) != 2)
		;
	fake_kill(&f);
	ck_assert_int_eq(amux_alive(a), 0);
	ck_assert_int_eq(amux_wait(q, c, 2, 2, NULL), 2);
	ck_assert_int_eq(c[0].status, 0);
	ck_assert_int_eq(c[1].status, 0);
	ck_assert_uint_eq(stats_of(a).lost_broker, 0);
	amux_close(a);
	fake_end(&f);
}
END_TEST

/* A broker that hangs up but lives has thrown the client out. */
START_TEST(eviction_is_noticed)
{
	const struct timespec soon = { 0, 30000000 };
	struct fake f = { 0 };
	struct amux_queue *q;
	struct amux_cqe c;
	struct amux *a;
	int n;

	fake_start(&f, FAKE_MUTE);
	a = fake_connect(&f);
	ck_assert_int_eq(amux_queue_create(a, 2, &q), 0);
	amux_get_sqe(q);
	amux_submit(q);
	while (!__atomic_load_n(&f.taken, __ATOMIC_ACQUIRE))
		;
	fake_halt(&f);
	shutdown(f.conn, SHUT_RDWR);
	/* A hang-up alone does not prove that it is at an end with the request. */
	ck_assert_int_eq(amux_wait(q, &c, 1, 1, &soon), -ETIME);
	ck_assert_int_eq(amux_alive(a), 0);
	amux_store_release(&q->ring.hdr->state, (uint32_t)AMUX_BROKER_GONE);
	if (_i) {
		n = amux_wait(q, &c, 1, 1, NULL);
	} else {
		do
			n = amux_peek(q, &c, 1);
		while (!n);
	}
	ck_assert_int_eq(n, 1);
	ck_assert_int_eq(c.status, 0);
	ck_assert_uint_eq(stats_of(a).redone, 1);
	amux_close(a);
	kill(f.body, SIGKILL);
	waitpid(f.body, NULL, 0);
	f.body = 0;
	fake_end(&f);
}
END_TEST

START_TEST(child_is_kept_out)
{
	struct fake f = { 0 };
	struct amux_queue *q;
	struct amux *a;
	char *p, own[64] = "";
	uint32_t region;
	uint64_t offset;
	int status;
	pid_t pid;

	fake_start(&f, FAKE_SERVE);
	a = fake_connect(&f);
	p = must_alloc(a, 4096);
	ck_assert_int_eq(amux_queue_create(a, 4, &q), 0);
	pid = fork();
	if (!pid) {
		struct amux_cqe c;
		struct amux_stats s;
		void *m;
		int bad = 0;

		bad |= amux_alive(a) != -EPERM;
		bad |= (amux_get_sqe(q) != NULL) << 1;
		bad |= (amux_submit(q) != -EPERM) << 2;
		bad |= (amux_peek(q, &c, 1) != -EPERM) << 3;
		bad |= (amux_wait(q, &c, 1, 1, NULL) != -EPERM) << 4;
		bad |= (amux_alloc(a, 1, 0, &m) != -EPERM || amux_free(a, p) != -EPERM) << 5;
		bad |= (amux_locate(a, p, 1, &region, &offset) != -EPERM) << 6;
		bad |= (amux_copy(a, own, own + 8, 8) != -EPERM ||
			amux_get_stats(a, &s) != -EPERM || amux_arm(q) != -EPERM ||
			amux_eventfd(q) != -EPERM || amux_queue_destroy(q) != -EPERM)
		       << 7;
		amux_close(a);
		_exit(bad);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	pump(a, q, 20); /* the parent was not disturbed */
	amux_close(a);
	fake_end(&f);
}
END_TEST

/* ---------------------------------------------------------------------- amux_copy() */

/* What this host's timing has taught amux_copy() is not to decide a test. */
static void forget(struct amux *a)
{
	for (unsigned int i = 0; i < AMUX_LAGS; i++)
		amux_store_relaxed(&a->sync_lag_ns[i], 0);
	for (unsigned int i = 0; i < AMUX_RATES; i++)
		amux_store_relaxed(&a->cpu_rate[i], 0);
}

START_TEST(copy_by_every_path)
{
	struct fake f = { 0 };
	struct amux_stats s;
	struct amux *a;
	char *p, *plain = malloc(64 * KIB);
	uint32_t last;

	fake_start(&f, FAKE_SERVE);
	a = fake_connect(&f);
	p = must_alloc(a, 256 * KIB);
	scribble(p, 256 * KIB);

	ck_assert_int_eq(amux_copy(a, p, p, 0), 0);
	ck_assert_int_eq(amux_copy(a, p + 64 * KIB, p, 64), 0); /* small */
	ck_assert_int_eq(amux_copy(a, plain, p, 64 * KIB), 0);	/* not shared */
	ck_assert_int_eq(memcmp(plain, p, 64 * KIB), 0);
	ck_assert_int_eq(amux_copy(NULL, p + 64 * KIB, p, 1 * KIB), 0); /* no handle */
	ck_assert_int_eq(memcmp(p + 64 * KIB, p, KIB), 0);
	s = stats_of(a);
	ck_assert_uint_eq(s.sync_cpu, 2);
	ck_assert_uint_eq(s.sync_engine, 0);

	ck_assert_int_eq(amux_copy(a, p + 64 * KIB, p, 64 * KIB), 0);
	ck_assert_int_eq(memcmp(plain, p + 64 * KIB, 64 * KIB), 0);
	s = stats_of(a);
	ck_assert_uint_eq(s.sync_cpu, 2);
	ck_assert_uint_eq(s.sync_engine, 1);
	ck_assert_uint_eq(s.engine_bytes, 64 * KIB);

	/* What the ring header says decides. */
	amux_store_relaxed(&f.queues[0].ring.hdr->min_offload, 64 * KIB + 1);
	ck_assert_int_eq(amux_copy(a, p + 128 * KIB, p, 64 * KIB), 0);
	amux_store_relaxed(&f.queues[0].ring.hdr->min_offload, 0);
	amux_store_relaxed(&f.queues[0].ring.hdr->engine_bps, 1000);
	ck_assert_int_eq(amux_copy(a, p + 128 * KIB, p, 64 * KIB), 0);
	amux_store_relaxed(&f.queues[0].ring.hdr->engine_bps, f.bps);
	amux_store_relaxed(&f.queues[0].ring.hdr->state, AMUX_BROKER_DRAINING);
	ck_assert_int_eq(amux_copy(a, p + 128 * KIB, p, 64 * KIB), 0);
	amux_store_relaxed(&f.queues[0].ring.hdr->state, AMUX_BROKER_RUNNING);
	amux_store_relaxed(&f.queues[0].ring.hdr->heartbeat_ns, amux_now());
	amux_store_relaxed(&f.queues[0].ring.hdr->est_wait_ns, 1ull << 50);
	ck_assert_int_eq(amux_copy(a, p + 128 * KIB, p, 64 * KIB), 0);
	ck_assert_uint_eq(stats_of(a).sync_cpu, 6);
	ck_assert_uint_eq(stats_of(a).sync_engine, 1);
	/* An estimate so old that what waited then has been served is no obstacle. */
	amux_store_relaxed(&f.queues[0].ring.hdr->est_wait_ns, 1000);
	forget(a);
	ck_assert_int_eq(amux_copy(a, p + 128 * KIB, p, 64 * KIB), 0);
	ck_assert_uint_eq(stats_of(a).sync_engine, 2);
	ck_assert_int_eq(memcmp(plain, p + 128 * KIB, 64 * KIB), 0);

	/* Declined, and failed in a way that can be done over or not. */
	forget(a);
	amux_store_release(&f.mode, FAKE_DECLINE);
	ck_assert_int_eq(amux_copy(a, p + 64 * KIB, p + 1, 64 * KIB - 1), 0);
	ck_assert_uint_eq(stats_of(a).sync_cpu, 7);
	forget(a);
	amux_store_relaxed(&f.error, -EIO);
	amux_store_release(&f.mode, FAKE_ERROR);
	ck_assert_int_eq(amux_copy(a, p + 128 * KIB, p + 2, 64 * KIB), 0);
	ck_assert_int_eq(memcmp(p + 128 * KIB, p + 2, 64 * KIB), 0);
	ck_assert_uint_eq(stats_of(a).sync_cpu, 8);
	forget(a);
	ck_assert_int_eq(amux_copy(a, p + 8, p, 64 * KIB), -EIO);
	forget(a);
	amux_store_relaxed(&f.error, -EAGAIN);
	amux_store_release(&f.mode, FAKE_ERROR);
	ck_assert_int_eq(amux_copy(a, p + 8, p, 64 * KIB), 0);
	ck_assert_int_eq(memcmp(plain, p + 8, 64 * KIB), 0);
	last = __atomic_load_n(&f.taken, __ATOMIC_ACQUIRE);
	fake_kill(&f);
	ck_assert_int_eq(amux_alive(a), 0);
	ck_assert_int_eq(amux_copy(a, p, p + 8, 64 * KIB), 0);
	ck_assert_int_eq(memcmp(plain, p, 64 * KIB), 0);
	ck_assert_uint_eq(f.taken, last);
	amux_close(a);
	free(plain);
	fake_end(&f);
}
END_TEST

struct copier {
	struct amux *a;
	char *mem;
};

static void *copy_thread(void *arg)
{
	struct copier *c = arg;

	for (unsigned int i = 0; i < 200; i++) {
		memset(c->mem, (int)i, 8 * KIB);
		ck_assert_int_eq(amux_copy(c->a, c->mem + 8 * KIB, c->mem, 8 * KIB), 0);
		ck_assert_int_eq(c->mem[16 * KIB - 1], (char)i);
	}
	return NULL;
}

START_TEST(copy_by_many_threads)
{
	struct fake f = { 0 };
	struct copier c[4];
	pthread_t t[4];
	struct amux_stats s;
	struct amux *a;

	fake_start(&f, FAKE_SERVE);
	a = fake_connect(&f);
	for (unsigned int i = 0; i < 4; i++) {
		c[i].a = a;
		c[i].mem = must_alloc(a, 16 * KIB);
		ck_assert_int_eq(pthread_create(&t[i], NULL, copy_thread, &c[i]), 0);
	}
	for (unsigned int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	s = stats_of(a);
	ck_assert_uint_eq(s.sync_cpu + s.sync_engine, 800);
	ck_assert_uint_gt(s.sync_engine, 0);
	amux_close(a);
	fake_end(&f);
}
END_TEST

START_TEST(modelled_cpu_takes_its_time)
{
	struct fake f = { .cpu_bps = 10000000, .bps = 1 };
	struct amux_queue *q;
	uint64_t start;
	struct amux *a;
	char *p;

	fake_start(&f, FAKE_DECLINE);
	a = fake_connect(&f);
	p = must_alloc(a, 400 * KIB);
	start = amux_now();
	for (unsigned int i = 0; i < 10; i++) /* 100 KB at 10 MB/s */
		ck_assert_int_eq(amux_copy(a, p, p + 200 * KIB, 10000), 0);
	ck_assert_uint_ge(amux_now() - start, 10000000);
	ck_assert_int_eq(amux_queue_create(a, 4, &q), 0);
	start = amux_now();
	amux_prep_copy(a, amux_get_sqe(q), p, p + 200 * KIB, 200000);
	ck_assert_int_eq(finish(q).status, 0);
	ck_assert_uint_ge(amux_now() - start, 20000000);
	ck_assert_uint_lt(stats_of(a).cpu_ns, 25000000);
	amux_close(a);
	fake_end(&f);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("client");
	TCase *t = tcase_create("client");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_set_timeout(t, 60);
	tcase_add_test(t, socket_path_in_order);
	tcase_add_test(t, socket_path_in_tmp_must_be_ours);
	tcase_add_test(t, connect_refuses_bad_options);
	tcase_add_test(t, connect_refuses_bad_names);
	tcase_add_loop_test(t, connect_survives_any_welcome, 0, HELLO_COUNT);
	tcase_add_test(t, crc_vectors);
	tcase_add_test(t, cpu_ops_match_plain_c);
	tcase_add_test(t, cpu_refuses_wrong_requests);
	tcase_add_test(t, regions_are_found_and_given_back);
	tcase_add_loop_test(t, queue_copies_whatever_the_broker_does, 0, 6);
	tcase_add_test(t, queue_refuses_bad_arguments);
	tcase_add_test(t, peek_copies_a_mebibyte_at_most);
	tcase_add_loop_test(t, wrong_status_is_an_error, 0, 5);
	tcase_add_test(t, impossible_tail_ends_the_queue_only);
	tcase_add_loop_test(t, event_loop_misses_nothing, 0, 2);
	tcase_add_test(t, event_loop_hears_of_the_death);
	tcase_add_test(t, broker_death_loses_no_request);
	tcase_add_test(t, last_answers_are_not_lost);
	tcase_add_loop_test(t, eviction_is_noticed, 0, 2);
	tcase_add_test(t, child_is_kept_out);
	tcase_add_test(t, copy_by_every_path);
	tcase_add_test(t, copy_by_many_threads);
	tcase_add_test(t, modelled_cpu_takes_its_time);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
