/* SPDX-License-Identifier: MIT */
/*
 * abi.h - the session ABI between a client and accelmuxd: socket messages and the
 * layout of a shared-memory queue.  docs/abi.md explains it in prose.
 *
 * Owner: none, layouts only.  Both sides are compiled against this one file; every
 * size and offset is asserted, every reserved field must be zero and is checked.
 *
 * Rules
 * - The socket is AF_UNIX SOCK_SEQPACKET; one message per packet, native endianness.
 * - A client names memory by (region, offset), never by pointer.
 * - Whatever lies in shared memory is hostile to the reader: read once, check the copy.
 * - A field of a queue's header has exactly one writer, named beside it.
 */
#ifndef AMUX_ABI_H
#define AMUX_ABI_H

#include <stddef.h>
#include <stdint.h>

#define AMUX_ABI_VERSION   2u
#define AMUX_HELLO_MAGIC   0x58554d41u /* "AMUX" */
#define AMUX_RING_MAGIC	   0x474e5241u /* "ARNG" */
#define AMUX_NAME_LEN	   32
#define AMUX_TEXT_LEN	   160
#define AMUX_MSG_MAX	   512	 /* bytes of the largest message */
#define AMUX_MSG_FDS	   3	 /* fds of the message that carries most of them */
#define AMUX_ENTRIES_MAX   32768 /* SQEs of one queue */
#define AMUX_NODE_ANY	   0xffffffffu
#define AMUX_OFFLOAD_NEVER UINT64_MAX

/* ------------------------------------------------------------------ messages */

enum amux_msg_type {
	AMUX_MSG_HELLO = 1,	/* client: first message */
	AMUX_MSG_WELCOME,	/* broker, carries 1 fd: the broker's pidfd */
	AMUX_MSG_REGISTER,	/* client, carries 1 fd: a sealed memfd */
	AMUX_MSG_REGISTERED,	/* broker */
	AMUX_MSG_UNREGISTER,	/* client; answered by DONE when no copy uses the region */
	AMUX_MSG_QUEUE_CREATE,	/* client */
	AMUX_MSG_QUEUE_CREATED, /* broker, carries 3 fds: ring memfd, sq eventfd, cq socket */
	AMUX_MSG_QUEUE_DESTROY, /* client; answered by DONE when nothing is in flight */
	AMUX_MSG_DONE,		/* broker */
	AMUX_MSG_ERROR,		/* broker: any request may be answered by it */
};

struct amux_msg_hdr {
	uint32_t type;	 /* enum amux_msg_type */
	uint32_t len;	 /* bytes of the whole message, header included */
	uint64_t cookie; /* echoed in the answer */
};

struct amux_msg_hello {
	struct amux_msg_hdr hdr;
	uint32_t magic;	      /* AMUX_HELLO_MAGIC */
	uint16_t version_min; /* lowest and highest ABI version the client speaks */
	uint16_t version_max;
	uint64_t features; /* wanted; none defined yet, must be 0 */
	uint32_t node;	   /* preferred NUMA node or AMUX_NODE_ANY */
	uint32_t rsvd;
	char name[AMUX_NAME_LEN]; /* NUL-terminated, printable: shown to operators; a
				   * [tenant] section may match on it */
};

struct amux_msg_welcome {
	struct amux_msg_hdr hdr;
	uint16_t version; /* the one both will speak */
	uint16_t rsvd;
	uint32_t node;	      /* whose mux thread serves this connection */
	uint64_t features;    /* granted, a subset of those wanted */
	uint32_t max_regions; /* limits of this connection */
	uint32_t max_queues;
	uint32_t max_entries;
	uint32_t rsvd1;
	uint64_t max_region_bytes; /* of one region */
	uint64_t cpu_bps;	   /* modelled CPU copy rate, bytes/s; 0: copy at full speed */
	char tenant[AMUX_NAME_LEN];
};

#define AMUX_REGION_READONLY (1u << 0) /* source only; implied by a read-only fd */

struct amux_msg_register {
	struct amux_msg_hdr hdr;
	uint32_t flags; /* AMUX_REGION_* */
	uint32_t rsvd;
	uint64_t size; /* bytes, > 0, <= the memfd's size */
};

struct amux_msg_registered {
	struct amux_msg_hdr hdr;
	uint32_t region; /* > 0 */
	uint32_t flags;	 /* as in force: READONLY may have been added */
};

struct amux_msg_unregister {
	struct amux_msg_hdr hdr;
	uint32_t region;
	uint32_t rsvd;
};

struct amux_msg_queue_create {
	struct amux_msg_hdr hdr;
	uint32_t sq_entries; /* power of two, 2 .. max_entries */
	uint32_t cq_entries; /* power of two, >= sq_entries, <= 2 * max_entries */
	uint32_t flags;	     /* must be 0 */
	uint32_t rsvd;
};

struct amux_msg_queue_created {
	struct amux_msg_hdr hdr;
	uint32_t queue; /* > 0 */
	uint32_t rsvd;
	uint64_t ring_bytes; /* size of the ring memfd, sealed against change */
};

struct amux_msg_queue_destroy {
	struct amux_msg_hdr hdr;
	uint32_t queue;
	uint32_t rsvd;
};

struct amux_msg_done {
	struct amux_msg_hdr hdr;
};

struct amux_msg_error {
	struct amux_msg_hdr hdr;
	int32_t error; /* -errno */
	uint32_t rsvd;
	char text[AMUX_TEXT_LEN]; /* one line: the field, its value, what was expected */
};

/* ------------------------------------------------------------------- entries */

enum amux_op {
	AMUX_OP_NOOP = 0,
	AMUX_OP_COPY,	  /* [0] -> [1]; may overlap: memmove */
	AMUX_OP_FILL,	  /* [1] filled with the 8 bytes of offset[2] */
	AMUX_OP_COMPARE,  /* [0] with [1]; result: lowest differing offset, len if equal */
	AMUX_OP_DUALCAST, /* [0] -> [1] and [2] */
	AMUX_OP_CRC32C,	  /* of [0], seeded by the low half of offset[2]; result: the CRC */
	AMUX_OP_COPY_CRC, /* COPY without overlap, and CRC32C of what was copied */

	/*
	 * Withdraws this queue's earlier requests that have not begun and whose user_data u is
	 * in the range offset[0] .. offset[1], which may wrap: u - [0] <= [1] - [0].  Each is
	 * answered -ECANCELED; result: how many.  It waits for nothing, not even a FENCE, takes
	 * no flags, and names no CANCEL.
	 */
	AMUX_OP_CANCEL,
	AMUX_OP_COUNT
};

#define AMUX_SQE_FENCE \
	(1u << 0)		       /* this and later SQEs of the queue start after all
					* earlier ones have been answered, errors included */
#define AMUX_SQE_ENGINE_ONLY (1u << 1) /* never DECLINED; -ENODEV if no engine is granted */
#define AMUX_SQE_CPU_ONLY    (1u << 2) /* always DECLINED by the broker */
#define AMUX_SQE_CACHE	     (1u << 3) /* the destination is read soon: no non-temporal stores */
#define AMUX_SQE_FLAGS	     0xfu

/* One request.  Parameters an op does not use must be zero. */
struct amux_sqe {
	uint8_t op; /* enum amux_op */
	uint8_t rsvd0;
	uint16_t flags;
	uint32_t rsvd1;
	uint64_t user_data;
	uint32_t region[3];
	uint32_t rsvd2;
	uint64_t offset[3]; /* bytes from the region's start; [2]: also pattern or seed */
	uint64_t len;	    /* bytes; 0 only for NOOP */
};

/* What was wrong with an SQE: amux_cqe.field when status is -EINVAL, -ERANGE, -EACCES ... */
enum amux_field {
	AMUX_FIELD_NONE = 0,
	AMUX_FIELD_OP,
	AMUX_FIELD_FLAGS,
	AMUX_FIELD_RSVD,
	AMUX_FIELD_REGION0,
	AMUX_FIELD_REGION1,
	AMUX_FIELD_REGION2,
	AMUX_FIELD_OFFSET0,
	AMUX_FIELD_OFFSET1,
	AMUX_FIELD_OFFSET2,
	AMUX_FIELD_LEN,
	AMUX_FIELD_COUNT
};

/*
 * Positive status: the broker asks the client to copy this one with its own CPU.
 * From the first DECLINED on, all later SQEs of that queue are declined until the client
 * has acknowledged it by advancing cq_head past it; a FENCE waits until declined_done has
 * reached every DECLINED before it.  The library does all of this; applications see 0 or -errno.
 */
#define AMUX_STATUS_DECLINED 1

/* Positive status: the client had recalled this one (sq_recall): it was not begun. */
#define AMUX_STATUS_RECALLED 2

struct amux_cqe {
	uint64_t user_data;
	int32_t status; /* 0, -errno or AMUX_STATUS_DECLINED */
	uint16_t field; /* enum amux_field */
	uint16_t rsvd;
	uint64_t result; /* COMPARE, CRC32C, COPY_CRC, CANCEL */
	uint64_t bytes;	 /* done before the error, or len */
};

/* --------------------------------------------------------------------- queue */

#define AMUX_RING_NEED_WAKEUP (1u << 0) /* the peer sleeps: write its descriptor */

enum amux_broker_state {
	AMUX_BROKER_RUNNING = 1,
	AMUX_BROKER_DRAINING, /* takes no new work; will close the connection */
	AMUX_BROKER_GONE,     /* has let go of the queue: nothing of it is in flight, and it
			       * will not look at it again.  Stored with release: whoever sees
			       * it sees every CQE */
};

/*
 * Header of a queue's memfd.  Indices run freely over u32; the slot is index & (entries-1).
 * Each cache line has one writer.  The first line is constant once the fd is passed.
 */
struct amux_ring_hdr {
	/* line 0: written by the broker before the fd is passed */
	uint32_t magic; /* AMUX_RING_MAGIC */
	uint32_t version;
	uint32_t sq_entries;
	uint32_t cq_entries;
	uint32_t sq_offset; /* of the first SQE, bytes from the start of the memfd */
	uint32_t cq_offset;
	uint64_t ring_bytes;
	uint8_t pad0[32];

	/* line 1, writer: client */
	uint32_t sq_tail;
	uint32_t rsvd1;
	uint64_t sq_recall; /* low half: first index recalled, high half: the one behind the
			     * last; both equal: none.  docs/abi.md, recalling */
	uint8_t pad1[48];

	/* line 2, writer: broker */
	uint32_t sq_head;
	uint32_t sq_claimed; /* entries before this index may be begun: see sq_recall */
	uint8_t pad2[56];

	/* line 3, writer: broker */
	uint32_t sq_flags; /* AMUX_RING_NEED_WAKEUP: kick the sq eventfd */
	uint8_t pad3[60];

	/* line 4, writer: broker */
	uint32_t cq_tail;
	uint8_t pad4[60];

	/* line 5, writer: client */
	uint32_t cq_head;
	uint32_t declined_done; /* DECLINED requests finished so far, in CQ order */
	uint8_t pad5[56];

	/* line 6, writer: client */
	uint32_t cq_flags; /* AMUX_RING_NEED_WAKEUP: make the cq socket readable */
	uint8_t pad6[60];

	/* line 7, writer: broker; refreshed every epoch while the queue has work */
	uint32_t state; /* enum amux_broker_state */
	uint32_t rsvd7;
	uint64_t heartbeat_ns; /* CLOCK_MONOTONIC of the last refresh */
	uint64_t est_wait_ns;  /* predicted wait of a request submitted now */
	uint64_t engine_bps;   /* predicted rate for this queue's tenant, bytes/s */
	uint64_t min_offload;  /* bytes from which a synchronous copy should be offloaded */
	uint8_t pad7[24];
};

#define AMUX_RING_SQ_OFFSET 4096u

#ifdef __cplusplus
#define AMUX_STATIC_ASSERT static_assert
#else
#define AMUX_STATIC_ASSERT _Static_assert
#endif

AMUX_STATIC_ASSERT(sizeof(struct amux_msg_hdr) == 16, "ABI");
AMUX_STATIC_ASSERT(sizeof(struct amux_msg_hello) == 16 + 24 + AMUX_NAME_LEN, "ABI");
AMUX_STATIC_ASSERT(sizeof(struct amux_msg_welcome) == 16 + 48 + AMUX_NAME_LEN, "ABI");
AMUX_STATIC_ASSERT(sizeof(struct amux_msg_register) == 32, "ABI");
AMUX_STATIC_ASSERT(sizeof(struct amux_msg_registered) == 24, "ABI");
AMUX_STATIC_ASSERT(sizeof(struct amux_msg_unregister) == 24, "ABI");
AMUX_STATIC_ASSERT(sizeof(struct amux_msg_queue_create) == 32, "ABI");
AMUX_STATIC_ASSERT(sizeof(struct amux_msg_queue_created) == 32, "ABI");
AMUX_STATIC_ASSERT(sizeof(struct amux_msg_queue_destroy) == 24, "ABI");
AMUX_STATIC_ASSERT(sizeof(struct amux_msg_done) == 16, "ABI");
AMUX_STATIC_ASSERT(sizeof(struct amux_msg_error) == 24 + AMUX_TEXT_LEN, "ABI");
AMUX_STATIC_ASSERT(sizeof(struct amux_msg_error) <= AMUX_MSG_MAX, "ABI");
AMUX_STATIC_ASSERT(AMUX_OP_COPY_CRC == 6 && AMUX_OP_CANCEL == 7, "ABI");
AMUX_STATIC_ASSERT(sizeof(struct amux_sqe) == 64, "ABI");
AMUX_STATIC_ASSERT(offsetof(struct amux_sqe, user_data) == 8, "ABI");
AMUX_STATIC_ASSERT(offsetof(struct amux_sqe, region) == 16, "ABI");
AMUX_STATIC_ASSERT(offsetof(struct amux_sqe, offset) == 32, "ABI");
AMUX_STATIC_ASSERT(offsetof(struct amux_sqe, len) == 56, "ABI");
AMUX_STATIC_ASSERT(sizeof(struct amux_cqe) == 32, "ABI");
AMUX_STATIC_ASSERT(offsetof(struct amux_cqe, status) == 8, "ABI");
AMUX_STATIC_ASSERT(offsetof(struct amux_cqe, result) == 16, "ABI");
AMUX_STATIC_ASSERT(offsetof(struct amux_cqe, bytes) == 24, "ABI");
AMUX_STATIC_ASSERT(offsetof(struct amux_ring_hdr, sq_tail) == 64, "ABI");
AMUX_STATIC_ASSERT(offsetof(struct amux_ring_hdr, sq_recall) == 72, "ABI");
AMUX_STATIC_ASSERT(offsetof(struct amux_ring_hdr, sq_head) == 128, "ABI");
AMUX_STATIC_ASSERT(offsetof(struct amux_ring_hdr, sq_claimed) == 132, "ABI");
AMUX_STATIC_ASSERT(offsetof(struct amux_ring_hdr, sq_flags) == 192, "ABI");
AMUX_STATIC_ASSERT(offsetof(struct amux_ring_hdr, cq_tail) == 256, "ABI");
AMUX_STATIC_ASSERT(offsetof(struct amux_ring_hdr, cq_head) == 320, "ABI");
AMUX_STATIC_ASSERT(offsetof(struct amux_ring_hdr, declined_done) == 324, "ABI");
AMUX_STATIC_ASSERT(offsetof(struct amux_ring_hdr, cq_flags) == 384, "ABI");
AMUX_STATIC_ASSERT(offsetof(struct amux_ring_hdr, state) == 448, "ABI");
AMUX_STATIC_ASSERT(offsetof(struct amux_ring_hdr, heartbeat_ns) == 456, "ABI");
AMUX_STATIC_ASSERT(offsetof(struct amux_ring_hdr, min_offload) == 480, "ABI");
AMUX_STATIC_ASSERT(sizeof(struct amux_ring_hdr) == 512, "ABI");

#endif /* AMUX_ABI_H */
