/* SPDX-License-Identifier: MIT */
/*
 * test_badinput.c - everything that can be said wrongly to the broker is refused by a line
 * that names the field, and a well-behaved tenant beside it notices nothing.
 *
 * The session protocol is spoken by hand here, not by the library.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../lib/harness.h"
#include "../lib/load.h"
#include "../lib/raw.h"

#define REGION_BYTES (256u << 10)

/* ------------------------------------------------------------------------ HELLO */

static struct daemon d;

/* An ERROR with @error and @word in its text. */
static bool is_error(const union raw_msg *m, int got, int error, const char *word)
{
	return got == (int)sizeof(m->error) && m->hdr.type == AMUX_MSG_ERROR &&
	       m->error.error == error && strstr(m->error.text, word) &&
	       !strchr(m->error.text, '\n') && memchr(m->error.text, '\0', AMUX_TEXT_LEN);
}

/* Say @m first; expect an error about @word and the end of the connection. */
static void hello_case(const char *name, const void *m, size_t len, int error, const char *word)
{
	int fd = raw_connect(d.socket), got, end;
	union raw_msg answer, last;

	raw_send(fd, m, len, NULL, 0);
	got = raw_receive(fd, &answer, NULL);
	end = raw_receive(fd, &last, NULL);
	tap_ok(is_error(&answer, got, error, word) && end == 0, "HELLO with %s: %.160s", name,
	       got > 0 ? answer.error.text : "no answer");
	close(fd);
}

static void test_hello(void)
{
	struct amux_msg_hello m;
	char big[AMUX_MSG_MAX + 1] = { 0 };
	union raw_msg answer;
	int fd;

#define HELLO(name, change, error, word)                      \
	do {                                                  \
		raw_hello(&m, "bad");                         \
		change;                                       \
		hello_case(name, &m, sizeof(m), error, word); \
	} while (0)
	HELLO("another magic", m.magic ^= 1, -EPROTO, "magic");
	HELLO("a later version only", m.version_min = m.version_max = 9, -EPROTO,
	      "version = 9");
	HELLO("version 0 only", m.version_min = m.version_max = 0, -EPROTO, "version");
	HELLO("versions the wrong way round", (m.version_min = 2, m.version_max = 0), -EPROTO,
	      "version");
	HELLO("features", m.features = 1ull << 63, -EPROTO, "features");
	HELLO("rsvd", m.rsvd = 3, -EPROTO, "rsvd");
	HELLO("a name without an end", memset(m.name, 'x', sizeof(m.name)), -EPROTO, "name");
	HELLO("a name of two lines", strcpy(m.name, "a\nb"), -EPROTO, "name");
	HELLO("another length than the packet", m.hdr.len = 60, -EPROTO, "len");
	HELLO("an unknown type", m.hdr.type = 99, -EPROTO, "type = 99");
	HELLO("a type only brokers send", m.hdr.type = AMUX_MSG_WELCOME, -EPROTO, "type = 2");
#undef HELLO
	raw_hello(&m, "bad");
	hello_case("half a header", &m, 7, -EPROTO, "7 bytes");
	hello_case("half a message", &m, 40, -EPROTO, "40 bytes");
	hello_case("a message and a half", big, 100, -EPROTO, "type = 0");

	fd = raw_connect(d.socket);
	raw_send(fd, big, sizeof(big), NULL, 0);
	tap_ok(raw_receive(fd, &answer, NULL) == 0 &&
		       daemon_logged(&d, "longer message than the ABI knows", 2000 * TAP_SLOW),
	       "a packet larger than any message: cut off, with a line in the log");
	close(fd);

	fd = raw_connect(d.socket);
	m.hdr.type = AMUX_MSG_QUEUE_CREATE;
	{
		struct amux_msg_queue_create q = {
			.hdr = { AMUX_MSG_QUEUE_CREATE, sizeof(q), 1 },
			.sq_entries = 8,
			.cq_entries = 8,
		};
		int got;

		raw_send(fd, &q, sizeof(q), NULL, 0);
		got = raw_receive(fd, &answer, NULL);
		tap_ok(is_error(&answer, got, -EPROTO, "HELLO first") &&
			       raw_receive(fd, &answer, NULL) == 0,
		       "QUEUE_CREATE before HELLO");
	}
	close(fd);

	fd = raw_open(d.socket, "bad");
	raw_hello(&m, "bad");
	raw_send(fd, &m, sizeof(m), NULL, 0);
	{
		int got = raw_receive(fd, &answer, NULL);

		tap_ok(is_error(&answer, got, -EPROTO, "only once") &&
			       raw_receive(fd, &answer, NULL) == 0,
		       "a second HELLO");
	}
	close(fd);
}

/* --------------------------------------------------------------------- messages */

/* The connection stays: it answers @error naming @word, and still registers afterwards. */
static void refuse(int sock, const char *name, const void *m, size_t len, const int *fds,
		   unsigned int n_fds, int error, const char *word)
{
	union raw_msg answer;
	int got;

	raw_send(sock, m, len, fds, n_fds);
	got = raw_receive(sock, &answer, NULL);
	tap_ok(is_error(&answer, got, error, word) &&
		       answer.hdr.cookie == ((const struct amux_msg_hdr *)m)->cookie,
	       "%s: %d, %.160s", name, got > 0 ? answer.error.error : 0,
	       got > 0 ? answer.error.text : "no answer");
}

static void register_case(int sock, const char *name, int fd, uint64_t size, uint32_t flags,
			  int error, const char *word)
{
	struct amux_msg_register m = {
		.hdr = { AMUX_MSG_REGISTER, sizeof(m), 1234 },
		.flags = flags,
		.size = size,
	};

	refuse(sock, name, &m, sizeof(m), &fd, 1, error, word);
	close(fd);
}

static int reopen(int memfd, int mode)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", memfd);
	fd = open(path, mode | O_CLOEXEC);
	close(memfd);
	if (fd < 0)
		tap_bail("%s: %s", path, strerror(errno));
	return fd;
}

static int a_pipe(void)
{
	int p[2];

	if (pipe2(p, O_CLOEXEC))
		tap_bail("pipe2: %s", strerror(errno));
	close(p[1]);
	return p[0];
}

static void test_register(void)
{
	struct amux_msg_register m = { .hdr = { AMUX_MSG_REGISTER, sizeof(m), 5 },
				       .size = 4096 };
	int sock = raw_open(d.socket, "bad"), fds[4];
	unsigned int before;
	union raw_msg answer;

	register_case(sock, "REGISTER of a pipe", a_pipe(), 4096, 0, -EINVAL, "fd");
	register_case(sock, "REGISTER of a file", open(d.config, O_RDWR | O_CLOEXEC), 4096, 0,
		      -EINVAL, "fd");
	register_case(sock, "REGISTER of a directory", open("/tmp", O_RDONLY | O_CLOEXEC), 4096,
		      0, -EINVAL, "fd");
	register_case(sock, "REGISTER of a socket", socket(AF_UNIX, SOCK_STREAM, 0), 4096, 0,
		      -EINVAL, "fd");
	register_case(sock, "REGISTER of an unsealed memfd", raw_memfd(4096, 0), 4096, 0,
		      -EINVAL, "seals");
	register_case(sock, "REGISTER of a memfd sealed against growth only",
		      raw_memfd(4096, F_SEAL_GROW), 4096, 0, -EINVAL, "seals");
	register_case(sock, "REGISTER of 0 bytes", raw_memfd(4096, F_SEAL_SHRINK), 0, 0,
		      -ERANGE, "size = 0");
	register_case(sock, "REGISTER of more than the memfd has",
		      raw_memfd(4096, F_SEAL_SHRINK), 4097, 0, -ERANGE, "size = 4097");
	register_case(sock, "REGISTER of 2^64 - 1 bytes", raw_memfd(4096, F_SEAL_SHRINK),
		      UINT64_MAX, 0, -EFBIG, "size");
	register_case(sock, "REGISTER with unknown flags", raw_memfd(4096, F_SEAL_SHRINK), 4096,
		      2, -EINVAL, "flags = 0x2");
	register_case(sock, "REGISTER of a memfd open for writing only",
		      reopen(raw_memfd(4096, F_SEAL_SHRINK), O_WRONLY), 4096, 0, -EACCES, "fd");
	m.rsvd = 7;
	fds[0] = raw_memfd(4096, F_SEAL_SHRINK);
	refuse(sock, "REGISTER with rsvd", &m, sizeof(m), fds, 1, -EINVAL, "rsvd = 7");
	m.rsvd = 0;
	refuse(sock, "REGISTER without a descriptor", &m, sizeof(m), NULL, 0, -EINVAL,
	       "fds = 0");

	daemon_let_go(&d);
	before = daemon_fds(&d);
	for (unsigned int i = 1; i < 4; i++)
		fds[i] = raw_memfd(4096, F_SEAL_SHRINK);
	for (unsigned int n = 2; n <= AMUX_MSG_FDS; n++) {
		char name[64], word[16];

		snprintf(name, sizeof(name), "REGISTER with %u descriptors", n);
		snprintf(word, sizeof(word), "fds = %u", n);
		refuse(sock, name, &m, sizeof(m), fds, n, -EINVAL, word);
	}
	{
		struct amux_msg_queue_create q = {
			.hdr = { AMUX_MSG_QUEUE_CREATE, sizeof(q), 6 },
			.sq_entries = 8,
			.cq_entries = 8,
		};

		refuse(sock, "QUEUE_CREATE with a descriptor", &q, sizeof(q), fds, 1, -EINVAL,
		       "fds = 1");
	}
	/* It closes them after its answer: another answer says that it has. */
	refuse(sock, "REGISTER without a descriptor, again", &m, sizeof(m), NULL, 0, -EINVAL,
	       "fds = 0");
	tap_ok(daemon_let_go(&d) && daemon_fds(&d) == before,
	       "the broker keeps none of them (%u, before: %u)", daemon_fds(&d), before);
	tap_ok(raw_register(sock, fds[0], 4096, 0, &answer) != 0,
	       "after all this the connection still registers memory");
	for (unsigned int i = 0; i < 4; i++)
		close(fds[i]);
	close(sock);
}

/* Only the good client and the silent one are left. */
static bool bad_ones_gone(void)
{
	return daemon_settles(&d, "status", "connections", 2, 5000 * TAP_SLOW) &&
	       daemon_let_go(&d);
}

/* More than any message carries. */
static void test_too_many_fds(unsigned int n)
{
	struct amux_msg_register m = { .hdr = { AMUX_MSG_REGISTER, sizeof(m), 5 },
				       .size = 4096 };
	bool gone = bad_ones_gone();
	unsigned int before = daemon_fds(&d), after;
	int sock = raw_open(d.socket, "bad"), fds[9];
	union raw_msg answer;

	for (unsigned int i = 0; i < 9; i++)
		fds[i] = raw_memfd(4096, F_SEAL_SHRINK);
	raw_send(sock, &m, sizeof(m), fds, n);
	tap_ok(raw_receive(sock, &answer, NULL) == 0, "REGISTER with %u descriptors: cut off",
	       n);
	close(sock);
	gone &= bad_ones_gone();
	after = daemon_fds(&d);
	tap_ok(gone && after == before, "none of them is kept: %u descriptors, %u before",
	       after, before);
	for (unsigned int i = 0; i < 9; i++)
		close(fds[i]);
}

static void queue_case(int sock, const char *name, uint32_t sq, uint32_t cq, uint32_t flags,
		       uint32_t rsvd, const char *word)
{
	struct amux_msg_queue_create m = {
		.hdr = { AMUX_MSG_QUEUE_CREATE, sizeof(m), 4321 },
		.sq_entries = sq,
		.cq_entries = cq,
		.flags = flags,
		.rsvd = rsvd,
	};

	refuse(sock, name, &m, sizeof(m), NULL, 0, -EINVAL, word);
}

static void test_queues(void)
{
	int sock = raw_open(d.socket, "bad");
	struct amux_msg_queue_destroy destroy = {
		.hdr = { AMUX_MSG_QUEUE_DESTROY, sizeof(destroy), 9 },
	};
	struct raw_queue q[4];

	queue_case(sock, "QUEUE_CREATE of 0 entries", 0, 8, 0, 0, "sq_entries = 0");
	queue_case(sock, "QUEUE_CREATE of 1 entry", 1, 8, 0, 0, "sq_entries = 1");
	queue_case(sock, "QUEUE_CREATE of 3 entries", 3, 8, 0, 0, "sq_entries = 3");
	queue_case(sock, "QUEUE_CREATE of 65536 entries", 65536, 65536, 0, 0,
		   "sq_entries = 65536");
	queue_case(sock, "QUEUE_CREATE of 2^31 entries", 1u << 31, 1u << 31, 0, 0,
		   "sq_entries");
	queue_case(sock, "QUEUE_CREATE with fewer CQ entries", 8, 4, 0, 0, "cq_entries = 4");
	queue_case(sock, "QUEUE_CREATE with 24 CQ entries", 8, 24, 0, 0, "cq_entries = 24");
	queue_case(sock, "QUEUE_CREATE with 131072 CQ entries", 8, 131072, 0, 0,
		   "cq_entries = 131072");
	queue_case(sock, "QUEUE_CREATE with flags", 8, 8, 5, 0, "flags = 0x5");
	queue_case(sock, "QUEUE_CREATE with rsvd", 8, 8, 0, 5, "rsvd = 5");
	destroy.queue = 17;
	refuse(sock, "QUEUE_DESTROY of an unknown queue", &destroy, sizeof(destroy), NULL, 0,
	       -EBADF, "queue = 17");
	for (unsigned int i = 0; i < 4; i++)
		raw_queue_open(sock, 2u << i, &q[i]);
	{
		struct amux_msg_queue_create m = {
			.hdr = { AMUX_MSG_QUEUE_CREATE, sizeof(m), 10 },
			.sq_entries = 8,
			.cq_entries = 8,
		};

		refuse(sock, "one queue more than max_queues", &m, sizeof(m), NULL, 0, -ENOSPC,
		       "max_queues");
	}
	destroy.queue = q[0].id;
	destroy.rsvd = 2;
	refuse(sock, "QUEUE_DESTROY with rsvd", &destroy, sizeof(destroy), NULL, 0, -EBADF,
	       "rsvd = 2");
	for (unsigned int i = 0; i < 4; i++)
		raw_queue_close(&q[i]);
	close(sock);
}

static void test_limits(void)
{
	int sock = raw_open(d.socket, "bad"), fd = raw_memfd(4096, F_SEAL_SHRINK), more[7];
	struct amux_msg_register m = { .hdr = { AMUX_MSG_REGISTER, sizeof(m), 11 },
				       .size = 4096 };
	struct amux_msg_unregister u = { .hdr = { AMUX_MSG_UNREGISTER, sizeof(u), 12 } };
	union raw_msg answer, last;
	int got, end;

	for (unsigned int i = 0; i < 8; i++)
		if (!raw_register(sock, fd, 4096, 0, &answer))
			tap_ok(false, "region %u of 8: %.160s", i, answer.error.text);
	refuse(sock, "one region more than max_regions", &m, sizeof(m), &fd, 1, -ENOSPC,
	       "max_regions");
	refuse(sock, "UNREGISTER of region 0", &u, sizeof(u), NULL, 0, -EBADF, "region = 0");
	u.region = 0xffffffff;
	refuse(sock, "UNREGISTER of an unknown region", &u, sizeof(u), NULL, 0, -EBADF,
	       "region = 4294967295");
	close(fd);
	close(sock);

	/* the well-behaved one is a connection, too */
	tap_ok(bad_ones_gone(), "the broker has let go of the bad clients so far");
	for (unsigned int i = 0; i < 7; i++)
		more[i] = raw_connect(d.socket);
	got = raw_receive(more[6], &answer, NULL);
	end = raw_receive(more[6], &last, NULL);
	tap_ok(is_error(&answer, got, -EAGAIN, "max_connections") && end == 0,
	       "one client more than max_connections: %.160s",
	       got > 0 ? answer.error.text : "-");
	for (unsigned int i = 0; i < 7; i++)
		close(more[i]);
	tap_ok(bad_ones_gone(), "and of these");
}

/* ------------------------------------------------------------------------- SQEs */

struct ring {
	int sock;
	struct raw_queue q;
	uint32_t rw, ro, small, stale;
};

static void sqe_case(struct ring *r, const char *name, struct amux_sqe sqe, int status,
		     enum amux_field field)
{
	static const char *const fields[AMUX_FIELD_COUNT] = {
		"NONE",	   "OP",      "FLAGS",	 "RSVD",    "REGION0", "REGION1",
		"REGION2", "OFFSET0", "OFFSET1", "OFFSET2", "LEN",
	};
	struct amux_cqe cqe = { 0 };
	bool came;

	sqe.user_data = 0xabcdef0123456789ull ^ sqe.len;
	came = raw_queue_do(&r->q, &sqe, &cqe);
	tap_ok(came && cqe.user_data == sqe.user_data && cqe.status == status &&
		       cqe.field == field && !cqe.bytes && !cqe.rsvd,
	       "%s: %s, field %s (got %s, field %u)", name, strerror(-status), fields[field],
	       !came ? "no answer" : strerror(-cqe.status), cqe.field);
}

static struct amux_sqe copy_of(const struct ring *r)
{
	return (struct amux_sqe){
		.op = AMUX_OP_COPY,
		.flags = AMUX_SQE_ENGINE_ONLY,
		.region = { r->rw, r->rw, 0 },
		.offset = { 0, REGION_BYTES / 2, 0 },
		.len = 4096,
	};
}

static void ring_open(struct ring *r)
{
	struct amux_msg_unregister u = { .hdr = { AMUX_MSG_UNREGISTER, sizeof(u), 12 } };
	union raw_msg answer;
	int fd;

	r->sock = raw_open(d.socket, "bad");
	fd = raw_memfd(REGION_BYTES, F_SEAL_SHRINK);
	r->rw = raw_register(r->sock, fd, REGION_BYTES, 0, &answer);
	r->ro = raw_register(r->sock, fd, REGION_BYTES, AMUX_REGION_READONLY, &answer);
	close(fd);
	fd = raw_memfd(8192, F_SEAL_SHRINK);
	r->small = raw_register(r->sock, fd, 5000, 0, &answer);
	r->stale = raw_register(r->sock, fd, 8192, 0, &answer);
	close(fd);
	u.region = r->stale;
	raw_send(r->sock, &u, sizeof(u), NULL, 0);
	if (!r->rw || !r->ro || !r->small || !r->stale ||
	    raw_receive(r->sock, &answer, NULL) != sizeof(struct amux_msg_done))
		tap_bail("cannot set up regions");
	raw_queue_open(r->sock, 8, &r->q);
}

static void test_sqes(void)
{
	struct ring r;
	struct amux_cqe cqe = { 0 };
	struct amux_sqe s;

	ring_open(&r);
#define SQE(name, change, status, field)              \
	do {                                          \
		s = copy_of(&r);                      \
		change;                               \
		sqe_case(&r, name, s, status, field); \
	} while (0)
	SQE("unknown opcode 8", s.op = AMUX_OP_COUNT, -EOPNOTSUPP, AMUX_FIELD_OP);
	SQE("unknown opcode 255", s.op = 255, -EOPNOTSUPP, AMUX_FIELD_OP);
	SQE("an unknown flag", s.flags = 0x10, -EINVAL, AMUX_FIELD_FLAGS);
	SQE("all flags", s.flags = 0xffff, -EINVAL, AMUX_FIELD_FLAGS);
	SQE("ENGINE_ONLY and CPU_ONLY", s.flags = AMUX_SQE_ENGINE_ONLY | AMUX_SQE_CPU_ONLY,
	    -EINVAL, AMUX_FIELD_FLAGS);
	SQE("rsvd0", s.rsvd0 = 1, -EINVAL, AMUX_FIELD_RSVD);
	SQE("rsvd1", s.rsvd1 = 1, -EINVAL, AMUX_FIELD_RSVD);
	SQE("rsvd2", s.rsvd2 = 1, -EINVAL, AMUX_FIELD_RSVD);
	SQE("source region 0", s.region[0] = 0, -EBADF, AMUX_FIELD_REGION0);
	SQE("an unknown source region", s.region[0] = 4095, -EBADF, AMUX_FIELD_REGION0);
	SQE("a source region far beyond", s.region[0] = UINT32_MAX, -EBADF, AMUX_FIELD_REGION0);
	SQE("an unknown destination region", s.region[1] = r.rw ^ 0x1000, -EBADF,
	    AMUX_FIELD_REGION1);
	SQE("a stale region", s.region[1] = r.stale, -EBADF, AMUX_FIELD_REGION1);
	SQE("a third region of COPY", s.region[2] = r.rw, -EINVAL, AMUX_FIELD_REGION2);
	SQE("a third offset of COPY", s.offset[2] = 8, -EINVAL, AMUX_FIELD_OFFSET2);
	SQE("a source of FILL", (s.op = AMUX_OP_FILL), -EINVAL, AMUX_FIELD_REGION0);
	SQE("a source offset of FILL", (s.op = AMUX_OP_FILL, s.region[0] = 0, s.offset[0] = 8),
	    -EINVAL, AMUX_FIELD_OFFSET0);
	SQE("DUALCAST without its third region", s.op = AMUX_OP_DUALCAST, -EBADF,
	    AMUX_FIELD_REGION2);
	SQE("a destination of CRC32C", s.op = AMUX_OP_CRC32C, -EINVAL, AMUX_FIELD_REGION1);
	SQE("a seed of 33 bits",
	    (s.op = AMUX_OP_CRC32C, s.region[1] = 0, s.offset[1] = 0, s.offset[2] = 1ull << 32),
	    -EINVAL, AMUX_FIELD_OFFSET2);
	SQE("writing to a read-only region", s.region[1] = r.ro, -EACCES, AMUX_FIELD_REGION1);
	SQE("DUALCAST to a read-only region",
	    (s.op = AMUX_OP_DUALCAST, s.region[2] = r.ro, s.offset[2] = 65536), -EACCES,
	    AMUX_FIELD_REGION2);
	SQE("FILL of a read-only region",
	    (s.op = AMUX_OP_FILL, s.region[0] = 0, s.region[1] = r.ro), -EACCES,
	    AMUX_FIELD_REGION1);
	SQE("len 0", s.len = 0, -EINVAL, AMUX_FIELD_LEN);
	SQE("len 1 of NOOP", (memset(&s, 0, sizeof(s)), s.len = 1), -EINVAL, AMUX_FIELD_LEN);
	SQE("a source offset at the end", s.offset[0] = REGION_BYTES, -ERANGE,
	    AMUX_FIELD_OFFSET0);
	SQE("a source offset of 2^64 - 1", s.offset[0] = UINT64_MAX, -ERANGE,
	    AMUX_FIELD_OFFSET0);
	SQE("a destination offset of 2^63", s.offset[1] = 1ull << 63, -ERANGE,
	    AMUX_FIELD_OFFSET1);
	SQE("one byte beyond the source", s.len = REGION_BYTES / 2 + 1, -ERANGE,
	    AMUX_FIELD_LEN);
	SQE("one byte beyond a region smaller than its file",
	    (s.region[1] = r.small, s.offset[1] = 905), -ERANGE, AMUX_FIELD_LEN);
	SQE("len 2^64 - 1", s.len = UINT64_MAX, -ERANGE, AMUX_FIELD_LEN);
	SQE("an offset and a len that wrap to 0", (s.offset[0] = 4096, s.len = 0ull - 4096),
	    -ERANGE, AMUX_FIELD_LEN);
	SQE("DUALCAST over its source",
	    (s.op = AMUX_OP_DUALCAST, s.region[2] = r.rw, s.offset[2] = 4095), -EINVAL,
	    AMUX_FIELD_OFFSET2);
	SQE("DUALCAST over its other destination",
	    (s.op = AMUX_OP_DUALCAST, s.region[2] = r.rw, s.offset[2] = REGION_BYTES / 2 + 1),
	    -EINVAL, AMUX_FIELD_OFFSET2);
	SQE("COPY_CRC over its source, by the read-only mapping",
	    (s.op = AMUX_OP_COPY_CRC, s.region[0] = r.ro, s.offset[1] = 4095), -EINVAL,
	    AMUX_FIELD_OFFSET1);
#undef SQE
	s = copy_of(&r);
	s.user_data = 5;
	tap_ok(raw_queue_do(&r.q, &s, &cqe) && cqe.user_data == 5 && !cqe.status &&
		       cqe.bytes == 4096,
	       "after all these the queue still copies");
	raw_queue_close(&r.q);
	close(r.sock);
}

/* ------------------------------------------------------------------------ rings */

static void test_tail(uint32_t jump, const char *name)
{
	union raw_msg answer;
	struct ring r;

	ring_open(&r);
	r.q.ring.sq_tail += jump;
	raw_queue_publish(&r.q);
	tap_ok(raw_receive(r.sock, &answer, NULL) == 0 &&
		       daemon_logged(&d, "impossible submission queue tail", 2000 * TAP_SLOW),
	       "an SQ tail %s: cut off, with a line in the log", name);
	raw_queue_close(&r.q);
	close(r.sock);
}

/* Everything a client may write into the header, at random, with work in the queue. */
static void test_scribble(void)
{
	uint64_t rng = tap_seed();
	struct ring r;

	ring_open(&r);
	for (unsigned int i = 0; i < 2000; i++) {
		struct amux_sqe s = copy_of(&r);
		uint32_t *words = r.q.map;

		if (amux_sq_space(&r.q.ring))
			raw_queue_put(&r.q, &s);
		amux_store_relaxed(&r.q.ring.hdr->cq_head, (uint32_t)rng_next(&rng));
		amux_store_relaxed(&r.q.ring.hdr->declined_done, (uint32_t)rng_next(&rng));
		amux_store_relaxed(&r.q.ring.hdr->cq_flags, (uint32_t)rng_next(&rng));
		if (i > 1000) /* also what is the broker's to write: it must not read it back */
			amux_store_relaxed(&words[rng_below(&rng, 128)],
					   (uint32_t)rng_next(&rng));
		amux_sq_publish(&r.q.ring);
		if (write(r.q.sq_efd, &(uint64_t){ 1 }, 8) < 0 && errno != EAGAIN)
			break;
	}
	raw_queue_close(&r.q);
	close(r.sock);
	tap_ok(daemon_settles(&d, "status", "connections", 1, 5000 * TAP_SLOW),
	       "a client that scribbles over its ring's header comes and goes");
}

/* ----------------------------------------------------------- config and commands */

static bool one_line(const char *out)
{
	const char *end = strchr(out, '\n');

	return end && !end[1];
}

static void check_config(const char *name, const char *text, unsigned int line, const char *key,
			 const char *value)
{
	char path[128], program[600], where[160], out[4096];
	const char *argv[] = { program, "--config", path, "--check", NULL };
	FILE *f;
	int status;

	snprintf(path, sizeof(path), "%s/bad.conf", d.dir);
	snprintf(program, sizeof(program), "%s/accelmuxd", tap_build());
	snprintf(where, sizeof(where), "%s:%u: ", path, line);
	f = fopen(path, "we");
	if (!f)
		tap_bail("%s: %s", path, strerror(errno));
	fputs(text, f);
	fclose(f);
	status = program_run(argv, NULL, out, sizeof(out), 10);
	if (!line) {
		tap_ok(status == 0, "--check: %s: status %d: %s", name, status, out);
		return;
	}
	tap_ok(status == 2 && one_line(out) && strstr(out, where) && strstr(out, key) &&
		       strstr(out, value),
	       "--check: %s: status %d: %s", name, status, out);
}

static void test_config(void)
{
	check_config("a good file", "[broker]\npolicy = shared\n\n[soft]\nengines = 2\n", 0, "",
		     "");
	check_config("an unknown key", "[broker]\n# comment\npolicies = shared\n", 3,
		     "policies", "unknown key");
	check_config("an unknown section", "[broker]\npolicy = cpu\n[brokr]\n", 3, "brokr",
		     "expected");
	check_config("an unknown policy", "[broker]\npolicy = dynamik\n", 2, "policy",
		     "dynamik");
	check_config("an unknown policy parameter", "[policy dynamic]\nkernelshare = 10%\n", 2,
		     "kernelshare", "expected");
	check_config("a policy parameter out of range",
		     "[broker]\n\n[policy dynamic]\nkernel_share = 150%\n", 4, "kernel_share",
		     "150");
	check_config("a unit that is none", "[policy dynamic]\nchunk = 64Q\n", 2, "chunk",
		     "64Q");
	check_config("a time in bytes", "[broker]\nepoch = 64K\n", 2, "epoch", "64K");
	check_config("a negative number", "[soft]\nengines = -4\n", 2, "engines", "-4");
	check_config("a word for a number", "[soft]\nengines = four\n", 2, "engines", "four");
	check_config("maybe for a switch", "[soft]\nmodel = maybe\n", 2, "model", "maybe");
	check_config("a relative path", "[broker]\nsocket = accelmux.sock\n", 2, "socket",
		     "accelmux.sock");
	check_config("a key twice", "[soft]\nengines = 2\nengines = 3\n", 3, "engines",
		     "line 2");
	check_config("a weight of 0", "[tenant a]\nname = a\nweight = 0\n", 3, "weight", "'0'");
	check_config("a line that is neither", "[broker]\nthis is no setting\n", 2, "",
		     "expected");
}

static void cli_case(const char *name, const char *words, int status, const char *one,
		     const char *two)
{
	char program[600], text[256], out[4096], *word, *rest = text;
	const char *argv[16] = { program, "--socket", d.control };
	unsigned int n = 3;
	int got;

	snprintf(program, sizeof(program), "%s/accelmux", tap_build());
	snprintf(text, sizeof(text), "%s", words);
	while ((word = strsep(&rest, " ")) && n < 15)
		argv[n++] = word;
	argv[n] = NULL;
	got = program_run(argv, d.socket, out, sizeof(out), 10);
	tap_ok(got == status && one_line(out) && strstr(out, one) && strstr(out, two),
	       "accelmux %s: status %d: %s", name, got, out);
}

static void test_cli(void)
{
	json_t *doc;

	cli_case("policy set dynamic nonsense=1", "policy set dynamic nonsense=1", 2,
		 "nonsense", "dynamic");
	cli_case("policy set nope", "policy set nope", 2, "nope", "dynamic");
	cli_case("policy set dynamic chunk=5", "policy set dynamic chunk=5", 2, "chunk", "5");
	cli_case("policy set dynamic chunk", "policy set dynamic chunk", 2, "chunk",
		 "KEY=VALUE");
	cli_case("no such command", "polizy", 2, "polizy", "");
	doc = daemon_ask(&d, "status");
	tap_ok(!strcmp(json_text(doc, "policy"), "shared"), "the policy is what it was");
	json_decref(doc);
}

int main(int argc, char **argv)
{
	struct load_worker lw = {
		.name = "good",
		.opt = { .depth = 16,
			 .flags_all = AMUX_SQE_ENGINE_ONLY,
			 .big_span = 256 << 10 },
	};
	struct worker w;
	union raw_msg answer;
	int silent, status;

	tap_init(argc, argv, 60);
	daemon_start(&d, "broker.policy=shared", "broker.max_regions=8", "broker.max_queues=4",
		     "broker.max_connections=8", NULL);
	lw.seed = tap_seed();
	snprintf(lw.socket, sizeof(lw.socket), "%s", d.socket);
	worker_spawn(&w, load_worker, &lw);
	worker_await(&w, 20);
	silent = raw_connect(d.socket);
	test_hello();
	test_register();
	test_too_many_fds(AMUX_MSG_FDS + 1);
	test_too_many_fds(9);
	test_queues();
	test_limits();
	test_sqes();
	test_tail(9, "one beyond the ring");
	test_tail(1u << 31, "far beyond it");
	test_tail(0u - 1, "that runs backwards");
	test_config();
	test_cli();
	tap_ok(raw_receive(silent, &answer, NULL) == 0 ||
		       raw_receive(silent, &answer, NULL) == 0,
	       "a client that says nothing for 5 s is cut off");
	close(silent);
	test_scribble();
	tap_ok(!worker_read(&w.report->lost) && !w.report->failed,
	       "the good tenant is still well");
	status = worker_stop(&w, 20);
	tap_ok(status == 0 && !w.report->failed,
	       "it noticed nothing: %llu requests were right (status %d)%s%s",
	       (unsigned long long)w.report->done, status, w.report->failed ? ": " : "",
	       w.report->why);
	worker_free(&w);
	daemon_stop(&d);
	return tap_done();
}
