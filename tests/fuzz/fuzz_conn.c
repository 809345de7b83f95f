// SPDX-License-Identifier: MIT
/*
 * fuzz_conn.c - clients that say and send what they like over the session socket, to the
 * broker's own connection code with a mux thread behind it: messages of any bytes, fds of every
 * kind in any number, rings and memory used and abused meanwhile, hang-ups in between.  Every
 * client that goes leaves nothing behind, and one that keeps to the ABI is served after it.
 */
#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>

#include "../../broker/conn.h"
#include "../../broker/fault_fixup.h"
#include "../../broker/soft.h"
#include "fuzz_util.h"
#include "input.h"

#define STEPS	  48u
#define FDS_MAX	  6u
#define QUEUES	  4u
#define FILES	  4u
#define FILE_SIZE (64u << 10)

/* The broker's side, made once. */
static struct config cfg;
static struct conn_host host;
static struct mux mux;
static struct mailbox outbox;
static struct device device;
static uv_loop_t loop;
static uv_async_t mail;

/* One client. */
static int sock;
static uint64_t cookie;
static uint32_t last_region, last_queue;
static unsigned int n_queues;
static struct client_queue {
	uint8_t *map;
	size_t bytes;
	int kick, wake;
} queues[QUEUES];
static int files[FILES]; /* sealed memfds that it registers again and again */
static uint32_t last_type;
static int32_t last_error;

/* ----------------------------------------------------------------- the broker */

static void on_mail(uv_async_t *async)
{
	struct mail *m;

	(void)async;
	while ((m = mailbox_take(&outbox)))
		m->done(m);
}

static void notify(void *arg)
{
	uv_async_send(arg);
}

static void on_freed(struct conn_host *h)
{
	(void)h;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct device *devs = &device;

	(void)argc;
	(void)argv;
	must(!fixup_init());
	config_default(&cfg);
	cfg.spin_ns = 0;
	cfg.max_regions = 8;
	cfg.max_queues = QUEUES;
	cfg.max_entries = 64;
	cfg.max_region_bytes = 1 << 20;
	cfg.caps.region_bytes = 4 << 20;
	cfg.caps.requests = UINT64_MAX;
	cfg.caps.faults = UINT64_MAX;
	cfg.connect_rate = UINT64_MAX;
	cfg.own_core = true;
	must(!soft_open(&device, 0, &cfg.soft));
	must(!uv_loop_init(&loop) && !uv_async_init(&loop, &mail, on_mail));
	mailbox_init(&outbox, notify, &mail);
	must(!mux_open(&mux, 0, &devs, 1, &cfg, NULL, &outbox) && !mux_start(&mux));
	list_init(&host.tenants);
	list_init(&host.conns);
	host.cfg = &cfg;
	host.mux = &mux;
	host.n_mux = 1;
	host.closed = on_freed;
	host.pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
	must(host.pidfd >= 0);
	host.closer = closer_start();
	must(host.closer);
	return 0;
}

static struct conn *the_conn(void)
{
	return list_empty(&host.conns) ? NULL
				       : container_of(host.conns.next, struct conn, link);
}

/* ----------------------------------------------------------------- the client */

static void queue_note(const int *fds, unsigned int n, uint64_t bytes)
{
	struct client_queue *q = &queues[n_queues];

	if (n != 3 || n_queues == QUEUES)
		return;
	q->bytes = bytes;
	q->map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fds[0], 0);
	must(q->map != MAP_FAILED);
	q->kick = dup(fds[1]);
	q->wake = dup(fds[2]);
	n_queues++;
}

/* Take one answer; false if there is none. */
static bool receive(void)
{
	union {
		struct amux_msg_hdr hdr;
		struct amux_msg_registered registered;
		struct amux_msg_queue_created queue;
		struct amux_msg_error error;
		uint8_t raw[AMUX_MSG_MAX];
	} msg;
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(4 * sizeof(int))];
	} control;
	struct iovec iov = { &msg, sizeof(msg) };
	struct msghdr mh = { .msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = &control,
			     .msg_controllen = sizeof(control) };
	ssize_t got = recvmsg(sock, &mh, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	struct cmsghdr *c;
	int fds[4];
	unsigned int n = 0;

	if (got <= 0)
		return false;
	must((size_t)got >= sizeof(msg.hdr) && msg.hdr.len == (uint32_t)got);
	c = CMSG_FIRSTHDR(&mh);
	if (c) {
		n = (unsigned int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		memcpy(fds, CMSG_DATA(c), n * sizeof(int));
	}
	last_type = msg.hdr.type;
	last_error = 0;
	if (msg.hdr.type == AMUX_MSG_REGISTERED)
		last_region = msg.registered.region;
	if (msg.hdr.type == AMUX_MSG_QUEUE_CREATED) {
		last_queue = msg.queue.queue;
		queue_note(fds, n, msg.queue.ring_bytes);
	}
	if (msg.hdr.type == AMUX_MSG_ERROR) {
		last_error = msg.error.error;
		must(msg.error.error < 0 && memchr(msg.error.text, 0, AMUX_TEXT_LEN));
		must(msg.error.text[0] && !strchr(msg.error.text, '\n'));
	}
	while (n)
		close(fds[--n]);
	return true;
}

/* Let the broker read all there is, and the mux thread answer. */
static void pump(bool read_answers)
{
	struct conn *c;
	int unread;

	for (unsigned int i = 0; i < 10000; i++) {
		uv_run(&loop, UV_RUN_NOWAIT);
		while (read_answers && receive())
			;
		c = the_conn();
		if (!c)
			return;
		if (c->state == CONN_CLOSING || c->ops) {
			uv_run(&loop, UV_RUN_ONCE);
			continue;
		}
		if (ioctl(c->fd, FIONREAD, &unread) || !unread)
			return;
	}
	must(false); /* it never comes to rest */
}

/* An fd of kind @kind; -1: the host has none. */
static int odd_fd(uint8_t kind)
{
	char path[40];
	int fd, pair[2];

	switch (kind % 18) {
	case 0 ... 3:
		return dup(files[kind % FILES]);
	case 4:
		return sealed(FILE_SIZE, 0);
	case 5:
		return sealed(0, F_SEAL_SHRINK);
	case 6:
		return sealed(1ull << 42, F_SEAL_SHRINK);
	case 7:
		return sealed(8191, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
	case 8:
		return sealed(FILE_SIZE, F_SEAL_SHRINK | F_SEAL_FUTURE_WRITE);
	case 9:
		return sealed(FILE_SIZE, F_SEAL_SHRINK | F_SEAL_WRITE);
	case 10:
	case 11:
		snprintf(path, sizeof(path), "/proc/self/fd/%d", files[0]);
		return open(path, kind % 18 == 10 ? O_RDONLY : O_PATH);
	case 12:
		if (pipe(pair))
			return -1;
		close(pair[0]);
		return pair[1];
	case 13:
		return eventfd(0, 0);
	case 14:
		return open(kind & 64 ? "/dev/zero" : "/", O_RDONLY);
	case 15:
		fd = epoll_create1(0);
		return fd;
	case 16:
		return dup(sock); /* itself */
	default:
		return timerfd_create(CLOCK_MONOTONIC, 0);
	}
}

static void send_message(const void *msg, size_t len, const uint8_t *kinds, unsigned int n)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(FDS_MAX * sizeof(int))];
	} control = { 0 };
	struct iovec iov = { (void *)(uintptr_t)msg, len };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1 };
	int fds[FDS_MAX];
	unsigned int got = 0;

	for (unsigned int i = 0; i < n && i < FDS_MAX; i++) {
		fds[got] = odd_fd(kinds[i]);
		got += fds[got] >= 0;
	}
	if (got) {
		struct cmsghdr *c;

		mh.msg_control = &control;
		mh.msg_controllen = CMSG_SPACE(got * sizeof(int));
		c = CMSG_FIRSTHDR(&mh);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(got * sizeof(int));
		memcpy(CMSG_DATA(c), fds, got * sizeof(int));
	}
	if (sendmsg(sock, &mh, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		must(errno == EPIPE || errno == EAGAIN || errno == ECONNRESET ||
		     errno == ETOOMANYREFS || errno == EMSGSIZE);
	while (got)
		close(fds[--got]);
}

/* One byte in four of what would be right is not. */
static void spoil(struct input *in, void *msg, size_t len)
{
	uint8_t n = input_u8(in);

	if ((n & 3) != 3)
		return;
	((uint8_t *)msg)[input_u8(in) % len] = input_u8(in);
}

static void say_hello(struct input *in)
{
	struct amux_msg_hello m = {
		.hdr = { AMUX_MSG_HELLO, sizeof(m), ++cookie },
		.magic = AMUX_HELLO_MAGIC,
		.version_min = AMUX_ABI_VERSION,
		.version_max = AMUX_ABI_VERSION,
		.node = AMUX_NODE_ANY,
		.name = "fuzz",
	};

	if (in)
		spoil(in, &m, sizeof(m));
	send_message(&m, sizeof(m), NULL, 0);
}

static void say_register(struct input *in)
{
	uint8_t how = input_u8(in), kind = input_u8(in);
	struct amux_msg_register m = {
		.hdr = { AMUX_MSG_REGISTER, sizeof(m), ++cookie },
		.flags = how & 1,
		.size = how & 2 ? input_u64(in) : 1 + input_u16(in) % FILE_SIZE,
	};

	spoil(in, &m, sizeof(m));
	send_message(&m, sizeof(m), &kind, how & 124 ? 1 : 0);
}

static void say_queue(struct input *in)
{
	uint8_t how = input_u8(in);
	struct amux_msg_queue_create m = {
		.hdr = { AMUX_MSG_QUEUE_CREATE, sizeof(m), ++cookie },
		.sq_entries = 2u << (how & 3),
		.cq_entries = 2u << (how >> 2 & 7),
	};

	spoil(in, &m, sizeof(m));
	send_message(&m, sizeof(m), NULL, 0);
}

/* UNREGISTER or QUEUE_DESTROY of the latest, of one near it, of anything. */
static void say_remove(struct input *in, uint32_t type, uint32_t latest)
{
	uint8_t how = input_u8(in);
	struct amux_msg_unregister m = {
		.hdr = { type, sizeof(m), ++cookie },
		.region = how & 1   ? latest
			  : how & 2 ? latest - input_u8(in)
				    : input_u32(in),
	};

	spoil(in, &m, sizeof(m));
	send_message(&m, sizeof(m), NULL, 0);
}

static void say_anything(struct input *in)
{
	uint8_t msg[AMUX_MSG_MAX + 64], kinds[FDS_MAX];
	size_t len = input_u16(in) % sizeof(msg);
	unsigned int n = input_u8(in) % (FDS_MAX + 1);

	input_bytes(in, kinds, n);
	input_bytes(in, msg, len);
	send_message(msg, len, kinds, n);
}

static void use_ring(struct input *in)
{
	struct client_queue *q = n_queues ? &queues[input_u8(in) % n_queues] : NULL;
	struct amux_ring_hdr *h = q ? (void *)q->map : NULL;
	uint32_t entries;
	uint8_t how;
	size_t at;

	if (!q)
		return;
	how = input_u8(in);
	entries = h->sq_entries;
	if (!(how & 3)) {
		at = input_u16(in) % q->bytes;
		if (how & 4)
			at %= sizeof(*h);
		q->map[at] = input_u8(in);
	} else if (entries && entries <= 64) {
		struct amux_sqe sqe = {
			.op = input_u8(in) % (AMUX_OP_COUNT + 1),
			.flags = input_u8(in) & AMUX_SQE_FLAGS,
			.region = { last_region, last_region, last_region },
			.offset = { input_u16(in), input_u16(in), input_u16(in) },
			.len = input_u16(in),
		};

		memcpy(q->map + AMUX_RING_SQ_OFFSET + h->sq_tail % entries * sizeof(sqe), &sqe,
		       sizeof(sqe));
		__atomic_store_n(&h->sq_tail, h->sq_tail + 1, __ATOMIC_RELEASE);
	}
	if (how & 8)
		h->cq_head = h->cq_tail;
	if (how & 16)
		h->cq_flags = AMUX_RING_NEED_WAKEUP;
	if (how & 32 && q->wake >= 0) {
		close(q->wake);
		q->wake = -1;
	}
	must(eventfd_write(q->kick, 1) == 0 || errno == EAGAIN);
}

static void step(struct input *in)
{
	uint8_t what = input_u8(in);

	switch (what % 16) {
	case 0:
		say_anything(in);
		break;
	case 1:
		say_hello(in);
		break;
	case 2 ... 5:
		say_register(in);
		break;
	case 6:
	case 7:
		say_queue(in);
		break;
	case 8:
		say_remove(in, AMUX_MSG_UNREGISTER, last_region);
		break;
	case 9:
		say_remove(in, AMUX_MSG_QUEUE_DESTROY, last_queue);
		break;
	case 10 ... 13:
		use_ring(in);
		break;
	case 14:
		punch(files[input_u8(in) % FILES], input_u8(in) % 16 * 4096ull, 4096);
		break;
	default:
		shutdown(sock, what & 32 ? SHUT_RD : what & 16 ? SHUT_WR : SHUT_RDWR);
		break;
	}
	/* In some steps nothing is let happen, so that messages lie in the socket together. */
	if (what & 192)
		pump(what & 128);
}

/* ------------------------------------------------------------------- one input */

static void open_client(void)
{
	int pair[2];

	must(!socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair));
	sock = pair[0];
	conn_open(&host, &loop, pair[1]);
	last_region = last_queue = 0;
	n_queues = 0;
}

static void close_client(void)
{
	close(sock);
	for (unsigned int i = 0; i < n_queues; i++) {
		munmap(queues[i].map, queues[i].bytes);
		close(queues[i].kick);
		if (queues[i].wake >= 0)
			close(queues[i].wake);
	}
	for (unsigned int i = 0; i < 10000 && host.n_conns; i++)
		uv_run(&loop, UV_RUN_ONCE);
	must(!host.n_conns && list_empty(&host.conns));
}

/* What the broker counts of tenants is back to nothing. */
static void judge_tenants(void)
{
	struct list *pos;

	list_for_each(pos, &host.tenants) {
		const struct tenant *t = container_of(pos, struct tenant, link);

		must(!t->connections && !t->regions && !t->queues && !t->region_bytes);
	}
}

/* A client that does all as it should is served. */
static void judge_service(void)
{
	struct input none = { NULL, 0 };

	open_client();
	say_hello(NULL);
	pump(true);
	must(last_type == AMUX_MSG_WELCOME);
	{
		struct amux_msg_register m = {
			.hdr = { AMUX_MSG_REGISTER, sizeof(m), ++cookie }, .size = FILE_SIZE
		};
		uint8_t kind = 0;

		send_message(&m, sizeof(m), &kind, 1);
	}
	pump(true);
	must(last_type == AMUX_MSG_REGISTERED);
	say_remove(&none, AMUX_MSG_UNREGISTER, last_region);
	pump(true);
	must(last_type == AMUX_MSG_ERROR && last_error == -EBADF); /* that was region 0 */
	close_client();
}

/* How many fds are open; dear, hence not asked for after every input. */
static unsigned int open_fds(void)
{
	unsigned int n = 0;

	for (int fd = 0; fd < 64; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	static unsigned int turn;
	bool thorough = !(turn++ % 16);
	unsigned int fds = thorough ? open_fds() : 0;
	uint8_t how = input_u8(&in);

	for (unsigned int i = 0; i < FILES; i++)
		files[i] = sealed(FILE_SIZE, F_SEAL_SHRINK);
	open_client();
	if (how & 3)
		say_hello(NULL);
	for (unsigned int i = 0; i < STEPS && in.left; i++)
		step(&in);
	if (how & 128)
		pump(true);
	close_client();
	judge_tenants();
	if (thorough)
		judge_service();
	for (unsigned int i = 0; i < FILES; i++)
		close(files[i]);
	/* the broker has a thread that closes what it was passed */
	for (unsigned int i = 0; thorough && open_fds() != fds && i < 5000; i++)
		usleep(1000);
	must(!thorough || open_fds() == fds);
	return 0;
}
