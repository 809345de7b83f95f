/* SPDX-License-Identifier: MIT */
/*
 * op.h - an operation under way: what it works on, its accesses to the guest's memory, its
 * time; and which operations there are.
 *
 * Owner: exec.c, one per descriptor that is executed.  Threads: the engines'.
 */
#ifndef DSA_MODEL_OP_H
#define DSA_MODEL_OP_H

#include "device.h"

/* What comes into the completion record. */
struct outcome {
	uint8_t status, result;
	uint32_t bytes_completed, invalid_flags;
	uint64_t fault_addr;
	uint8_t specific[16]; /* the operation's own part of the record */
	uint64_t bytes;	      /* moved, compared or filled, those of a batch included */
	bool gone;	      /* the device was reset meanwhile: nothing may be told of it */
	bool logged;	  /* a batch with a record in the event log: its own goes there, too */
	uint8_t batch_id; /* by which the event log knows it */
};

struct limits {
	uint64_t xfer;
	uint32_t batch;
	uint32_t handles; /* interrupt handles that are valid */
	uint64_t epoch;	  /* of the device when it was started */
	unsigned int wq;
	struct requester by;
};

struct op {
	struct device *d;
	const struct dsa_hw_desc *desc;
	struct outcome *out;
	const struct limits *limits;
	uint64_t at_most; /* of its bytes; those beyond are a page fault (fault injection) */
	uint64_t *clock;
	uint32_t size, done, crc;
	bool backward, begun;
};

/* The operations of this device, as in OPCAP. */
uint64_t op_known(const struct device *d);

/* A page fault at @addr ends it; false, for the caller to return. */
bool op_fault(struct op *op, uint64_t addr, bool write);
/* The device was reset meanwhile. */
bool op_gone(struct op *op);
/* @bytes more have passed the engine. */
void op_pass(struct op *op, uint64_t bytes);

/* false: a page fault, by op_fault(); everything before its address was read or written. */
bool op_read(struct op *op, uint64_t addr, void *to, uint32_t n);
bool op_write(struct op *op, uint64_t addr, const void *from, uint32_t n);

bool op_overlap(uint64_t a, uint64_t a_size, uint64_t b, uint64_t b_size);
/* Are these bytes of the operation's own fields, reserved, all 0? */
bool op_zero(const struct dsa_hw_desc *desc, unsigned int first, unsigned int last);

#endif /* DSA_MODEL_OP_H */
