// SPDX-License-Identifier: MIT
/*
 * fuzz_client.c - the library against a broker that answers what it likes: messages, fds, rings,
 * completions, hang-ups.  Every request of the application comes back once, with a status that
 * the library promises, and nothing is left behind.
 *
 * There is no second thread: the broker acts where the library would sleep, in ppoll(), and is
 * there in connect().  Once the input has run out, it dies.
 */
#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>

#include <accelmux/accelmux.h>

#include "../../client/ring.h"
#include "fuzz_util.h"
#include "input.h"

#define STEPS	64u
#define TURNS	64u /* of the broker, in one sleep of the library */
#define QUEUES	3u
#define RINGS	8u /* with what is made anew after a broken one */
#define BUFFERS 3u
#define BYTES	(64u << 10)
#define IDS	1024u

static struct input in;

/* The broker. */
static int broker_sock,
	life; /* its ends of the session socket, and of what stands for a pidfd */
static struct {
	uint8_t *map;
	size_t bytes;
	uint32_t entries, head;
	int wake;
} rings[RINGS];
static unsigned int n_rings;
static uint64_t cookie; /* of the request that waits for an answer */
static uint32_t asked;	/* its type; 0: none waits */
static uint32_t serial;

/* The application. */
static struct amux *handle;
static struct amux_queue *queues[QUEUES];
static void *buffers[BUFFERS];
static uint8_t answered[IDS]; /* by user_data: 1 asked, 2 answered */
static uint32_t n_ids;

/* -------------------------------------------------------------------- the broker */

static void broker_die(void)
{
	if (broker_sock >= 0)
		close(broker_sock);
	if (life >= 0)
		close(life);
	broker_sock = life = -1;
	asked = 0;
}

int __wrap_connect(int fd, const struct sockaddr *addr, socklen_t len);
int __wrap_connect(int fd, const struct sockaddr *addr, socklen_t len)
{
	int pair[2];

	(void)addr;
	(void)len;
	if (broker_sock >= 0 || !in.left) {
		errno = ECONNREFUSED;
		return -1;
	}
	must(!socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair));
	must(dup3(pair[0], fd, O_CLOEXEC) == fd);
	close(pair[0]);
	broker_sock = pair[1];
	return 0;
}

static void broker_send(const void *msg, size_t len, const int *fds, unsigned int n)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(4 * sizeof(int))];
	} control = { 0 };
	struct iovec iov = { (void *)(uintptr_t)msg, len };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (n) {
		struct cmsghdr *c;

		mh.msg_control = &control;
		mh.msg_controllen = CMSG_SPACE(n * sizeof(int));
		c = CMSG_FIRSTHDR(&mh);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(n * sizeof(int));
		memcpy(CMSG_DATA(c), fds, n * sizeof(int));
	}
	if (sendmsg(broker_sock, &mh, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		broker_die();
}

/* One answer in eight has a byte that is not as it should be. */
static void spoil(void *msg, size_t len)
{
	uint8_t n = input_u8(&in);

	if ((n & 7) == 7)
		((uint8_t *)msg)[input_u8(&in) % len] = input_u8(&in);
}

static void answer_welcome(void)
{
	struct amux_msg_welcome m = {
		.hdr = { AMUX_MSG_WELCOME, sizeof(m), cookie },
		.version = AMUX_ABI_VERSION,
		.max_regions = 16,
		.max_queues = 16,
		.max_entries = 64,
		.max_region_bytes = 1 << 20,
		.tenant = "fuzz",
	};
	int pair[2];

	spoil(&m, sizeof(m));
	must(!pipe2(pair, O_CLOEXEC));
	broker_send(&m, sizeof(m), pair, input_u8(&in) == 255 ? 0 : 1);
	close(pair[0]);
	if (life >= 0)
		close(life);
	life = pair[1];
}

static void answer_queue(uint32_t sq, uint32_t cq)
{
	uint64_t bytes = amux_ring_bytes(sq, cq);
	struct amux_msg_queue_created m = {
		.hdr = { AMUX_MSG_QUEUE_CREATED, sizeof(m), cookie },
		.queue = ++serial,
		.ring_bytes = bytes,
	};
	uint8_t how = input_u8(&in);
	int fds[3], pair[2];
	void *map;

	if (n_rings == RINGS) {
		broker_die();
		return;
	}
	fds[0] = sealed(how == 1 ? 4096 : bytes, how == 2 ? 0 : F_SEAL_SHRINK | F_SEAL_GROW);
	if (how == 1)
		bytes = 4096;
	map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fds[0], 0);
	must(map != MAP_FAILED);
	if (bytes >= amux_ring_bytes(sq, cq))
		amux_ring_init(map, sq, cq);
	spoil(map, 64);
	must(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
	fds[1] = how == 3 ? dup(pair[1]) : eventfd(0, EFD_CLOEXEC);
	fds[2] = pair[0];
	rings[n_rings].map = map;
	rings[n_rings].bytes = bytes;
	rings[n_rings].entries = how == 1 ? 0 : sq;
	rings[n_rings].head = 0;
	rings[n_rings++].wake = pair[1];
	spoil(&m, sizeof(m));
	broker_send(&m, sizeof(m), fds, how == 4 ? 2 : 3);
	for (unsigned int i = 0; i < 3; i++)
		close(fds[i]);
}

/* Take the request that the library sent; what it was is kept until it is answered. */
static void broker_receive(struct amux_msg_queue_create *queue)
{
	union {
		struct amux_msg_hdr hdr;
		struct amux_msg_queue_create queue;
		uint8_t raw[AMUX_MSG_MAX];
	} msg;
	ssize_t got;

	if (broker_sock < 0)
		return;
	while ((got = recv(broker_sock, &msg, sizeof(msg), MSG_DONTWAIT)) > 0) {
		must((size_t)got >= sizeof(msg.hdr) && msg.hdr.len == (uint32_t)got);
		cookie = msg.hdr.cookie;
		asked = msg.hdr.type;
		if (asked == AMUX_MSG_QUEUE_CREATE)
			*queue = msg.queue;
	}
}

static void broker_answer(void)
{
	static struct amux_msg_queue_create wanted;

	broker_receive(&wanted);
	if (!asked)
		return;
	switch (asked) {
	case AMUX_MSG_HELLO:
		answer_welcome();
		break;
	case AMUX_MSG_REGISTER: {
		struct amux_msg_registered m = { { AMUX_MSG_REGISTERED, sizeof(m), cookie },
						 ++serial,
						 0 };

		spoil(&m, sizeof(m));
		broker_send(&m, sizeof(m), NULL, 0);
		break;
	}
	case AMUX_MSG_QUEUE_CREATE:
		answer_queue(wanted.sq_entries, wanted.cq_entries);
		break;
	default: {
		struct amux_msg_done m = { { AMUX_MSG_DONE, sizeof(m), cookie } };

		spoil(&m, sizeof(m));
		broker_send(&m, sizeof(m), NULL, 0);
		break;
	}
	}
	asked = 0;
}

static void broker_say_anything(void)
{
	struct {
		struct amux_msg_hdr hdr;
		uint8_t rest[AMUX_MSG_MAX];
	} msg;
	size_t len = input_u16(&in) % sizeof(msg);
	int fds[3] = { 0, 0, 0 };

	if (broker_sock < 0)
		return;
	broker_receive(&(struct amux_msg_queue_create){ 0 });
	input_bytes(&in, &msg, len);
	if (input_u8(&in) & 1)
		msg.hdr.cookie = cookie;
	broker_send(&msg, len, fds, input_u8(&in) % 4);
}

/* Complete what lies in ring @r, rightly or not; @status: of all of them. */
static void broker_complete(unsigned int r, uint32_t max, int32_t status)
{
	struct amux_ring_hdr *h = (void *)rings[r].map;
	uint32_t n = rings[r].entries;
	uint8_t *at = rings[r].map + AMUX_RING_SQ_OFFSET;
	struct amux_cqe *cqes = (void *)(at + n * sizeof(struct amux_sqe));

	if (!n)
		return;
	while (rings[r].head != h->sq_tail && max--) {
		const struct amux_sqe *sqe =
			(const void *)(at + rings[r].head % n * sizeof(struct amux_sqe));
		struct amux_cqe *cqe = &cqes[h->cq_tail % n];

		memset(cqe, 0, sizeof(*cqe));
		cqe->user_data = sqe->user_data;
		cqe->status = status;
		cqe->bytes = sqe->len;
		spoil(cqe, sizeof(*cqe));
		rings[r].head++;
		h->sq_head = rings[r].head;
		__atomic_store_n(&h->cq_tail, h->cq_tail + 1, __ATOMIC_RELEASE);
	}
	if (rings[r].wake >= 0 && send(rings[r].wake, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		return; /* nobody listens */
}

static void broker_scribble(unsigned int r)
{
	size_t at = input_u16(&in), n = input_u8(&in);

	if (n & 1)
		at = 64 + at % (sizeof(struct amux_ring_hdr) - 64);
	at %= rings[r].bytes;
	n %= 32;
	if (n > rings[r].bytes - at)
		n = rings[r].bytes - at;
	input_bytes(&in, rings[r].map + at, n);
}

static void broker_turn(void)
{
	uint8_t what = input_u8(&in);
	unsigned int r = n_rings ? what / 16 % n_rings : 0;

	if (!in.left)
		broker_die();
	else if (what % 16 < 6)
		broker_answer();
	else if (what % 16 == 6)
		broker_say_anything();
	else if (what % 16 == 7)
		broker_die();
	else if (!n_rings)
		broker_answer();
	else if (what % 16 < 11)
		broker_complete(r, 4, 0);
	else if (what % 16 == 11)
		broker_complete(r, 8, AMUX_STATUS_DECLINED);
	else if (what % 16 == 12)
		broker_complete(r, 1, (int32_t)input_u32(&in));
	else if (what % 16 == 13)
		rings[r].head += input_u8(&in);
	else
		broker_scribble(r);
}

/* The library would sleep: the broker acts until there is something to wake up for. */
int __wrap_ppoll(struct pollfd *fds, nfds_t n, const struct timespec *ts, const sigset_t *mask);
int __wrap_ppoll(struct pollfd *fds, nfds_t n, const struct timespec *ts, const sigset_t *mask)
{
	int ret;

	(void)mask;
	for (unsigned int i = 0; i < TURNS; i++) {
		ret = poll(fds, n, 0);
		if (ret)
			return ret;
		broker_turn();
	}
	if (ts)
		return 0; /* in no time at all */
	broker_die();
	return poll(fds, n, 0);
}

/* What a broker says of this CPU's rate is slept for. */
int __wrap_clock_nanosleep(clockid_t clock, int flags, const struct timespec *ts,
			   struct timespec *left);
int __wrap_clock_nanosleep(clockid_t clock, int flags, const struct timespec *ts,
			   struct timespec *left)
{
	(void)clock;
	(void)flags;
	(void)ts;
	(void)left;
	return 0;
}

/* --------------------------------------------------------------- the application */

static void judge_answers(const struct amux_cqe *cqes, int n, unsigned int max)
{
	must(n <= (int)max && n > -4096);
	for (int i = 0; i < n; i++) {
		must(cqes[i].status <= 0 && cqes[i].status > -4096);
		must(cqes[i].field < AMUX_FIELD_COUNT);
		must(cqes[i].user_data < IDS && answered[cqes[i].user_data] == 1);
		answered[cqes[i].user_data] = 2;
	}
}

static void app_prepare(struct amux_queue *q)
{
	struct amux_sqe *sqe = n_ids < IDS ? amux_get_sqe(q) : NULL;
	uint8_t what = input_u8(&in);
	char *x = buffers[what / 8 % BUFFERS], *y = buffers[what / 32 % BUFFERS];
	size_t at = input_u16(&in) % (BYTES / 2), len = input_u16(&in) % (BYTES / 2);

	if (!sqe)
		return;
	if (!x || !y)
		what = 0;
	switch (what % 8) {
	case 1:
	case 2:
		amux_prep_copy(handle, sqe, x + at, y, len);
		break;
	case 3:
		amux_prep_fill(handle, sqe, x + at, 0x0123456789abcdef, len);
		break;
	case 4:
		amux_prep_compare(handle, sqe, x + at, y, len);
		break;
	case 5:
		amux_prep_dualcast(handle, sqe, x, y + at, buffers[0], len);
		break;
	case 6:
		amux_prep_crc32c(handle, sqe, x + at, 1, len);
		break;
	case 7:
		amux_prep_copy_crc(handle, sqe, x + at, y, 1, len);
		break;
	default:
		amux_prep_noop(sqe);
		break;
	}
	sqe->flags = input_u8(&in) & AMUX_SQE_FLAGS;
	sqe->user_data = n_ids;
	answered[n_ids++] = 1;
}

static void app_queue(unsigned int i)
{
	if (queues[i]) {
		amux_queue_destroy(queues[i]);
		queues[i] = NULL;
	} else if (!amux_queue_create(handle, 2u << (input_u8(&in) & 3), &queues[i])) {
		amux_set_spin(queues[i], 0);
	} else {
		queues[i] = NULL;
	}
}

static void app_buffer(unsigned int i)
{
	if (buffers[i]) {
		if (!amux_free(handle, buffers[i]))
			buffers[i] = NULL;
	} else if (amux_alloc(handle, BYTES, 0, &buffers[i])) {
		buffers[i] = NULL;
	}
}

static void app_copy(void)
{
	char *x = buffers[input_u8(&in) % BUFFERS], *y = buffers[input_u8(&in) % BUFFERS];
	int ret;

	if (!x || !y)
		return;
	ret = amux_copy(handle, x + input_u8(&in), y, BYTES / 2);
	must(ret <= 0 && ret > -4096);
}

static void app_step(void)
{
	struct timespec soon = { 0, 1000 };
	struct amux_cqe cqes[8];
	struct amux_stats stats;
	uint8_t what = input_u8(&in);
	struct amux_queue *q = queues[what / 16 % QUEUES];
	unsigned int max = 1 + what % 8u;

	switch (what % 16) {
	case 0:
	case 1:
		app_queue(what / 16 % QUEUES);
		break;
	case 2:
	case 3:
		app_buffer(what / 16 % BUFFERS);
		break;
	case 4 ... 6:
		if (q)
			app_prepare(q);
		break;
	case 7:
	case 8:
		if (q)
			must(amux_submit(q) >= 0);
		break;
	case 9:
	case 10:
		if (q)
			judge_answers(cqes, amux_peek(q, cqes, max), max);
		break;
	case 11:
	case 12:
		if (q)
			judge_answers(cqes,
				      amux_wait(q, cqes, max, 1, what & 128 ? NULL : &soon),
				      max);
		break;
	case 13:
		if (q && amux_eventfd(q) >= 0)
			amux_arm(q);
		break;
	case 14:
		app_copy();
		break;
	default:
		must(!amux_get_stats(handle, &stats));
		must(amux_alive(handle) >= 0 && strlen(amux_tenant(handle)) < AMUX_NAME_LEN);
		broker_turn();
		break;
	}
}

/* Every request of every queue, once. */
static void app_end(void)
{
	struct amux_cqe cqes[8];
	int n;

	broker_die();
	for (unsigned int i = 0; i < QUEUES; i++) {
		if (!queues[i])
			continue;
		amux_submit(queues[i]);
		while ((n = amux_wait(queues[i], cqes, 8, 1, NULL)) > 0)
			judge_answers(cqes, n, 8);
		must(n == -ENODATA);
		queues[i] = NULL;
	}
	amux_close(handle);
}

static unsigned int open_fds(void)
{
	unsigned int n = 0;

	for (int fd = 0; fd < 64; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct amux_options opt = AMUX_OPTIONS_INIT;
	static unsigned int turn;
	bool thorough = !(turn++ % 16);
	unsigned int fds = thorough ? open_fds() : 0;

	in = (struct input){ data, size };
	broker_sock = life = -1;
	n_rings = n_ids = serial = asked = 0;
	handle = NULL;
	memset(queues, 0, sizeof(queues));
	memset(buffers, 0, sizeof(buffers));
	memset(answered, 0, sizeof(answered));
	opt.socket = "/fuzz";
	opt.name = "fuzz";
	if (!amux_connect(&handle, &opt)) {
		for (unsigned int i = 0; i < STEPS && in.left; i++)
			app_step();
		app_end();
	} else {
		must(!handle);
	}
	broker_die();
	for (unsigned int i = 0; i < n_rings; i++) {
		munmap(rings[i].map, rings[i].bytes);
		close(rings[i].wake);
	}
	must(!thorough || open_fds() == fds);
	return 0;
}
