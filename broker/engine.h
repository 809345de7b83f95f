/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * engine.h - a device of copy engines, whoever implements it: soft, dsa, fault.
 *
 *   device ── engine 0 ─┬─ kernel WQ   (submitted to by the kernel side)
 *          │            └─ user WQ     (submitted to by the node's mux thread)
 *          ├─ engine 1 ─┬─ ...
 *
 * The static layout of design section 4: one group per engine, each with one kernel and one
 * user WQ, the kernel's of higher priority.  Descriptors and completion records are the
 * hardware's (linux/idxd.h); a completion record's status is written last, with release
 * semantics, and is read with acquire.
 *
 * Owner: whoever opened the device closes it, after both submitters have drained.
 * Threads: one submitter per WQ (a WQ is single-producer); progress() and next_event() are
 * called by the mux thread alone.
 */
#ifndef BROKER_ENGINE_H
#define BROKER_ENGINE_H

#include <linux/idxd.h>
#include <stdbool.h>
#include <stdint.h>

#define ENGINE_MAX 8 /* engines of one device */

#define ENGINE_STATUSES 64 /* statuses of completion records, DSA_COMP_STATUS_MASK of them */

/*
 * What hardware does not tell, and engines of the CPU may: a record's reserved half-word holds the
 * time that its descriptor took, in these, at least 1 and at most all ones.  0: not measured.
 */
#define ENGINE_TIME_NS 64u

enum engine_wq { ENGINE_WQ_KERNEL = 0, ENGINE_WQ_USER, ENGINE_WQS };

/* Of the static layout, soft or laid out on a device; 1 .. 15 (spec). */
#define ENGINE_PRIORITY_KERNEL 8
#define ENGINE_PRIORITY_USER   4

#define DEVICE_CAP_CPU	    (1u << 0) /* the engines burn host CPU time */
#define DEVICE_CAP_MODEL    (1u << 1) /* time is modelled; rates are scaled */
#define DEVICE_CAP_BLOCKING (1u << 2) /* progress() must be called for anything to happen */
#define DEVICE_CAP_USER	    (1u << 3) /* its kernel WQs are not this process's: not counted */

struct device;

struct engine_stats {
	uint64_t descriptors[ENGINE_WQS]; /* completed */
	uint64_t bytes[ENGINE_WQS];
	uint64_t busy_ns;	   /* real or modelled time with a descriptor in service */
	uint64_t full[ENGINE_WQS]; /* submissions refused: WQ full */
	uint64_t partial;	   /* page faults: completed in part */
	uint64_t errors;
	uint64_t cpu_ns;		  /* CPU time burnt, where DEVICE_CAP_CPU */
	uint64_t status[ENGINE_STATUSES]; /* errors and faults by status, where they are told */
};

/*
 * Whether descriptors may be put on an engine, and who says so.  Every step has one writer, so
 * a release store and an acquire load hand the engine over:
 *
 *	  ┌────────────> UP ────────────┐
 *	  │                             │ mux: it refused a descriptor, was late with one, or
 *	  │ control: its WQ is open     v      is suspected (its WQ is gone)
 *	  │ anew, a NOOP completed    LOST     nothing is submitted; records that are still set
 *	  │                             │      are taken in; the others are nobody's to touch
 *	  │                             │ control: the WQ is closed or disabled, so that its driver
 *	  │                             v          has drained or reset it: proved quiet
 *	EMPTY <──────────────────────  QUIET   mux: unanswered descriptors are redone by a CPU, or
 *		mux: all are answered           fail; one a loop
 *
 * A device without anybody behind its alarm never leaves LOST.
 */
enum engine_health { ENGINE_UP = 0, ENGINE_LOST, ENGINE_QUIET, ENGINE_EMPTY };

/* Why it was lost; written before ENGINE_LOST. */
enum engine_why { ENGINE_REFUSED = 0, ENGINE_LATE, ENGINE_GONE };

/* A copy without overlap. */
struct engine_copy {
	void *dst;
	const void *src;
	uint32_t bytes;
	bool cached; /* as IDXD_OP_FLAG_CC */
};

struct engine_ops {
	const char *name;

	/*
	 * Put up to @n descriptors on a WQ.  Returns how many were taken, in order: fewer than
	 * @n when the WQ is full; -EIO when the engine is down.  desc->completion_addr must
	 * point to a zeroed, 32-byte aligned record that stays valid until its status is set.
	 */
	int (*submit)(struct device *dev, unsigned int engine, enum engine_wq wq,
		      const struct dsa_hw_desc *desc, unsigned int n);
	/*
	 * Do what the implementation does on the caller's thread (inline engines copy here),
	 * for at most about @budget_ns.  Returns how many descriptors it completed.
	 */
	unsigned int (*progress)(struct device *dev, uint64_t now_ns, uint64_t budget_ns);
	/*
	 * When progress() is next worth calling, CLOCK_MONOTONIC ns: <= now: at once;
	 * UINT64_MAX: nothing is on the device, or completions arrive by themselves.
	 */
	uint64_t (*next_event)(struct device *dev, uint64_t now_ns);
	/*
	 * Optional.  The submitter of user WQs has seen @rec, of a descriptor that submit() took:
	 * for devices that do not tell themselves what they have completed.
	 */
	void (*completed)(struct device *dev, unsigned int engine,
			  const struct dsa_hw_desc *desc,
			  const struct dsa_completion_record *rec);
	/* Optional.  Do what @desc says on the calling thread, and write its record. */
	void (*redo)(const struct dsa_hw_desc *desc);
	/*
	 * Optional, for devices whose engines are the mux thread itself (DEVICE_CAP_BLOCKING): as
	 * @engine, do these copies at once, in order, instead of descriptors on the user WQ.
	 * Returns how many were done; fewer than @n: the next one met a page that is not there,
	 * and may have been done in part.  copied() then says how long it took.
	 */
	uint32_t (*copy)(struct device *dev, unsigned int engine, const struct engine_copy *v,
			 uint32_t n);
	void (*copied)(struct device *dev, unsigned int engine, uint64_t ns);
	void (*read_stats)(struct device *dev, unsigned int engine, struct engine_stats *out);
	void (*close)(struct device *dev);
};

/*
 * "The mux thread has something to look at, and may be asleep."  Set before the first submit;
 * ring() must be cheap, and is called
 * - by submit() to a kernel WQ, on the submitting thread, if the device is inline
 *   (DEVICE_CAP_BLOCKING): progress() has to be called;
 * - by engine threads after they completed descriptors of user WQs, if it is not.
 */
struct engine_doorbell {
	void (*ring)(void *arg);
	void *arg;
};

struct device {
	const struct engine_ops *ops;
	char name[32]; /* "soft0", "dsa0" */
	unsigned int index;
	int node;
	uint32_t caps; /* DEVICE_CAP_* */
	unsigned int engines;
	unsigned int wq_size[ENGINE_WQS]; /* entries */
	unsigned int wq_priority[ENGINE_WQS];
	uint64_t max_xfer;   /* bytes of one descriptor */
	uint64_t rate_bps;   /* all engines together; scaled if modelled */
	uint64_t engine_bps; /* one engine */
	uint64_t desc_ns;    /* fixed cost of a descriptor; scaled if modelled */
	struct engine_doorbell doorbell;
	uint32_t pci_id; /* as in the grant ABI; 0: software */
	/* see enum engine_health */
	uint64_t timeout_ns; /* of a descriptor; 0: never */
	uint32_t health[ENGINE_MAX], why[ENGINE_MAX];
	uint32_t suspect;	      /* control: engines, as a mask; the mux thread clears */
	struct engine_doorbell alarm; /* to control, whenever the mux thread changed a health */
	uint32_t kernel_seq;	 /* the kernel completion event, see device_wait_kernel() */
	uint32_t kernel_waiting; /* the kernel side sleeps on it */
	void *priv;
};

/*
 * How the submitter of the kernel WQs (one thread) sleeps until something on them completes:
 *   seq = device_kernel_seq(dev); look at the records; none is done: device_wait_kernel(seq)
 */
uint32_t device_kernel_seq(const struct device *dev);

/*
 * Sleep until descriptors of a kernel WQ have completed since @seq was read, at most
 * @timeout_ns (UINT64_MAX: for ever).  0, perhaps spuriously, or -ETIMEDOUT.
 */
int device_wait_kernel(struct device *dev, uint32_t seq, uint64_t timeout_ns);

/* Implementations: descriptors of a kernel WQ have completed.  Any thread. */
void device_kernel_completed(struct device *dev);

/* May it be submitted to?  The acquire pairs with the control thread's "up". */
static inline bool device_engine_up(const struct device *dev, unsigned int engine)
{
	return __atomic_load_n(&dev->health[engine], __ATOMIC_ACQUIRE) == ENGINE_UP;
}

static inline uint8_t record_status(const struct dsa_completion_record *rec)
{
	return __atomic_load_n(&rec->status, __ATOMIC_ACQUIRE);
}

#endif /* BROKER_ENGINE_H */
