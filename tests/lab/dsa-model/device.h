/* SPDX-License-Identifier: MIT */
/*
 * device.h - the modelled device: what its parts share.
 *
 * Owner: main.c, one per process.  Threads: the connection's (vfio_user.c), one per engine
 * (engine.c), one that executes the commands that wait (command.c), those of the control
 * socket (control.c).  `lock` covers everything but the memory map, which has a lock of its
 * own (mem.h), and the engines' clock (clock.h); order: lock, then mem or clock.
 */
#ifndef DSA_MODEL_DEVICE_H
#define DSA_MODEL_DEVICE_H

#include <linux/idxd.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "clock.h"
#include "fault.h"
#include "iommu.h"
#include "irq.h"
#include "mem.h"

enum {
	WQS = 8,
	GROUPS = 4,
	ENGINES = 4,
	ENTRIES_MAX = 256, /* of all WQs together, DSA 2 */
	CONFIG_BYTES = 4096,
};

enum state { STATE_DISABLED, STATE_ENABLED, STATE_DRAIN, STATE_HALT };

struct wq_counts {
	uint64_t submitted; /* written to a portal */
	uint64_t dropped;   /* WQ full or not enabled, and nobody is told */
	uint64_t retried;   /* a shared WQ's Retry */
	uint64_t aborted;   /* by command, before they were started */
	uint64_t done;	    /* answered, by whatever status */
	uint64_t errors;    /* of those: not by success */
	uint64_t bytes;	    /* of those: moved, compared or filled */
	uint64_t lost;	    /* never answered (fault injection) */
};

struct wq {
	uint32_t cfg[16]; /* WQCFG as written; the state is in `enabled` */
	bool enabled;
	bool draining; /* by a Drain descriptor: nothing is started before it has ended */
	struct dsa_hw_desc ring[ENTRIES_MAX];
	unsigned int head, queued;
	unsigned int running; /* started by an engine, not ended */
	unsigned int credit;  /* of the round robin by priority */
	/* a portal write under way: eight bytes at a time where there is no MOVDIR64B */
	uint32_t slot;
	uint16_t have; /* dwords */
	uint32_t word[16];
	bool retry; /* what became of the last one */
	struct wq_counts count;
};

struct group {
	uint64_t wqs[4], engines, flags;
};

struct engine_counts {
	uint64_t descriptors, bytes, busy_ns;
};

struct engine {
	struct device *device;
	unsigned int index;
	pthread_t thread;
	bool busy; /* with a descriptor of this PASID */
	uint32_t pasid;
	bool stuck; /* with a descriptor that it does not answer (fault injection) */
	struct engine_counts count;
};

struct device_options {
	unsigned int version; /* DSA 1 or 2 */
	unsigned int id;      /* told as PCI subsystem device: which one of several it is */
	bool endpoint;	      /* behind a root port, else integrated into the root complex */
	bool viommu;	      /* its addresses are translated by the guest's IOMMU */
	struct clock_params clock;
};

struct device {
	struct device_options options;
	unsigned int entries; /* WQ entries */

	pthread_mutex_t lock;
	pthread_cond_t work;	/* something for an engine */
	pthread_cond_t quiet;	/* an engine has ended a descriptor */
	pthread_cond_t ordered; /* something for the command thread */

	uint8_t config[CONFIG_BYTES];

	enum state state;
	uint32_t reset_type; /* which reset a halted device wants */
	uint32_t gencfg, genctrl, intcause, command, cmdsts;
	bool command_waits; /* handed to the command thread */
	uint64_t epoch;	    /* resets so far: what waited before one is void */
	uint64_t swerr[4], evlcfg[2];
	uint32_t evl_head, evl_tail, evl_pending;
	uint32_t msix_perm[WQS + 1];
	uint32_t handles; /* interrupt handles given out */
	uint8_t batch_id; /* of the next batch; atomic */

	struct wq wq[WQS];
	struct group group[GROUPS];
	struct engine engine[ENGINES];

	struct mem mem;
	struct iommu iommu;
	struct irq irq;
	struct clock clock;
	struct fault fault;
	pthread_t command_thread;
};

int device_init(struct device *d, const struct device_options *options);
/* As by FLR or by the client's reset: everything but the interrupts' eventfds and the memory.
 */
void device_reset(struct device *d, bool config_space);

#endif /* DSA_MODEL_DEVICE_H */
