/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * accelmux.h - the grant ABI between the broker and a kernel-side client: two shared pages.
 *
 * Page 0, the *grant*, is written by the broker alone, under a sequence counter.
 * Page 1, the *demand*, is written by the kernel side alone: monotonic counters and gauges,
 * each a naturally aligned word that is read by itself.
 * Either side treats the other's page as hostile: it copies, clamps, and never waits.
 *
 * Reading a grant (kernel side, at every chunk):
 *	try at most AMUX_GRANT_TRIES times:
 *		s1 = load_acquire(seq);  if s1 is odd: retry
 *		copy the fields;  rmb;  if seq == s1: done
 *	otherwise: no grant, the CPU copies.
 * The reserve of a class stands for as long as the broker is attached; only loans expire,
 * at loan_expiry_ns (CLOCK_MONOTONIC, ns).  Rates are real bytes per second; reserve and loan
 * that add up to device_bps or more are no limit.  A side that runs out of tokens declines to
 * the CPU, it never sleeps for tokens.
 *
 * Until a kernel module exists on the host the broker's own replay of a migration trace
 * stands on the kernel side of these same two pages.
 */
#ifndef _UAPI_ACCELMUX_H
#define _UAPI_ACCELMUX_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define AMUX_GRANT_MAGIC   0x544e5247u /* "GRNT" */
#define AMUX_GRANT_VERSION 1u
#define AMUX_GRANT_DEVS	   8
#define AMUX_GRANT_TRIES   3
#define AMUX_GRANT_HIST	   128

/* loan_expiry_ns: stands until it is withdrawn (an idle broker's whole-device loan) */
#define AMUX_LOAN_UNTIL_WITHDRAWN (~(__u64)0)

/* amux_grant.flags */
#define AMUX_GRANT_ENABLED (1u << 0) /* cleared: the CPU copies everything */
#define AMUX_GRANT_PREDICT (1u << 1) /* decline when the engine is predicted to be slower */
#define AMUX_GRANT_COCOPY  (1u << 2) /* copy from the tail with the CPU meanwhile */

/* Why pages move: stable names for the kernel's enum migrate_reason. */
enum amux_reason {
	AMUX_REASON_COMPACTION = 0,
	AMUX_REASON_MEMORY_FAILURE,
	AMUX_REASON_MEMORY_HOTPLUG,
	AMUX_REASON_SYSCALL,
	AMUX_REASON_MBIND,
	AMUX_REASON_NUMA_MISPLACED,
	AMUX_REASON_CONTIG_RANGE,
	AMUX_REASON_LONGTERM_PIN,
	AMUX_REASON_DEMOTION,
	AMUX_REASON_DAMON,
	AMUX_REASON_COUNT
};

/* Why a batch, or the rest of one, went to the CPU. */
enum amux_decline {
	AMUX_DECLINE_NO_GRANT = 0, /* not enabled, no engine, no rate */
	AMUX_DECLINE_BELOW_MIN,	   /* fewer than min_pages */
	AMUX_DECLINE_REASON,	   /* reason not in reason_mask */
	AMUX_DECLINE_PACED,	   /* out of tokens: reserve and loan used up */
	AMUX_DECLINE_PREDICTED,	   /* the CPU is predicted to be done earlier */
	AMUX_DECLINE_SEQ_BUSY,	   /* the grant could not be read in AMUX_GRANT_TRIES */
	AMUX_DECLINE_ERROR,	   /* the engine reported an error */
	AMUX_DECLINE_TIMEOUT,	   /* the engine did not answer in time */
	AMUX_DECLINE_COUNT
};

/* One device's share; 64 bytes. */
struct amux_grant_dev {
	__u64 reserve_bps;    /* guaranteed, bytes/s */
	__u64 loan_bps;	      /* on top of it until loan_expiry_ns */
	__u64 loan_expiry_ns; /* CLOCK_MONOTONIC, ns */
	__u64 est_wait_ns;    /* others' bytes in flight there, as time */
	__u64 device_bps;     /* what the whole device does */
	__u32 engine_mask;    /* engines this class may use */
	__u32 cap_bytes;      /* at most this much in flight there */
	__u32 pci_id;	      /* domain << 16 | bus << 8 | devfn; 0: software */
	__u32 rsvd[3];
};

/* Page 0, writer: the broker. */
struct amux_grant {
	__u32 magic;
	__u32 version;
	__u32 seq; /* odd while being written */
	__u32 flags;
	__u32 n_devs;
	__u32 min_pages;   /* smaller batches stay on the CPU */
	__u32 chunk_bytes; /* largest block handed to an engine at once */
	__u32 reason_mask; /* 1 << enum amux_reason */
	__u64 cpu_bps;	   /* the class's own CPU copy rate, for prediction; 0: measure it */
	__u64 epoch;	   /* plans applied so far */
	__u64 written_ns;  /* CLOCK_MONOTONIC of the last write */
	__u64 rsvd;
	struct amux_grant_dev dev[AMUX_GRANT_DEVS];
};

/* One device as the kernel side uses it. */
struct amux_demand_dev {
	__u64 submitted_bytes; /* monotonic */
	__u64 completed_bytes; /* monotonic; the difference is in flight */
	__u64 descriptors;     /* completed, monotonic */
	__u64 errors;
};

/*
 * Page 1, writer: the kernel side.  Histograms: bucket i counts durations of about
 * 128 ns * 2^(i/4), see docs/abi.md.
 */
struct amux_demand {
	__u32 magic;
	__u32 version;
	__u64 arrived_bytes;  /* pages of all batches seen, as bytes */
	__u64 finished_bytes; /* copied by whichever path; the difference is waiting */
	__u64 engine_bytes;
	__u64 cpu_bytes;
	__u64 batches;
	__u64 engine_batches; /* batches of which at least one page went by engine */
	__u64 last_batch_ns;  /* arrival of the latest batch, CLOCK_MONOTONIC */
	__u64 batch_ns;	      /* sum over batches: arrival to last page copied */
	__u64 alone_ns;	      /* the same, predicted for an idle device */
	__u64 cpu_ns;	      /* the same, predicted for the CPU */
	__u64 wait_ns;	      /* sum over batches: arrival to first copy started */
	__u64 cpu_time_ns;    /* CPU time burnt by copying */
	__u64 declined_pages[AMUX_DECLINE_COUNT];
	__u64 reason_batches[AMUX_REASON_COUNT + 6]; /* padded to 16 */
	struct amux_demand_dev dev[AMUX_GRANT_DEVS];
	__u64 wait_hist[AMUX_GRANT_HIST];  /* arrival to first copy started */
	__u64 batch_hist[AMUX_GRANT_HIST]; /* arrival to last page copied */
};

#define AMUX_GRANT_MAP_BYTES 8192 /* grant at 0, demand at 4096 */

/*
 * /dev/accelmux: one opener at a time (-EBUSY), CAP_SYS_ADMIN.
 *
 *	open   mmap page 0 (shared, read-write) and page 1 (shared, read-only, offset 4096;
 *	       a writable mapping of it is -EACCES)
 *	AMUX_IOC_HELLO     versions; before it every other ioctl is -ENOTCONN
 *	AMUX_IOC_ACQUIRE   channels behind device index i of the grant
 *	AMUX_IOC_ATTACH    from now on the grant page is read; it must be initialised (-EPROTO)
 *	AMUX_IOC_RELEASE   give channels of a device index back
 *	AMUX_IOC_INFO      what is behind a device index now
 *	close  detach: back to the module's own default, channels are released
 *
 * Reserved fields must be zero: -EINVAL.
 */
#define AMUX_DEVICE_NAME "accelmux"
#define AMUX_NAME_LEN	 32
#define AMUX_DEV_ALL	 (~(__u32)0)

struct amux_hello {
	__u32 version;	  /* in: AMUX_GRANT_VERSION; another one is -EPROTONOSUPPORT */
	__u32 map_bytes;  /* out: AMUX_GRANT_MAP_BYTES */
	__u32 n_devs;	  /* out: AMUX_GRANT_DEVS */
	__u32 page_bytes; /* out: the kernel's PAGE_SIZE */
	__u32 rsvd[4];
};

struct amux_acquire {
	__u32 dev;	    /* in: index in the grant, below AMUX_GRANT_DEVS */
	__s32 node;	    /* in: NUMA node of the channels, -1: any */
	__u32 pci_id;	    /* in: as in amux_grant_dev, 0: any */
	__u32 max_channels; /* in: 1 .. 32 */
	char name[AMUX_NAME_LEN]; /* in: dev_name() of the DMA device, empty: any */
	__u32 n_channels;   /* out: held behind this index now; none to be had is -ENODEV */
	__u32 rsvd[3];
};

struct amux_release {
	__u32 dev; /* in: index, or AMUX_DEV_ALL */
	__u32 rsvd[3];
};

struct amux_info {
	__u32 dev;	   /* in */
	__u32 n_channels;  /* out */
	__s32 node;	   /* out: of the first channel, -1: none or not known */
	__u32 pci_id;	   /* out: of the first channel's device, 0: not a PCI device */
	__u64 quarantined; /* out: descriptors whose end is not proved */
	char name[AMUX_NAME_LEN]; /* out: dev_name() of the first channel's device */
	__u32 rsvd[4];
};

#define AMUX_IOC_HELLO	 _IOWR('A', 0xa0, struct amux_hello)
#define AMUX_IOC_ACQUIRE _IOWR('A', 0xa1, struct amux_acquire)
#define AMUX_IOC_ATTACH	 _IO('A', 0xa2)
#define AMUX_IOC_RELEASE _IOW('A', 0xa3, struct amux_release)
#define AMUX_IOC_INFO	 _IOWR('A', 0xa4, struct amux_info)

#endif /* _UAPI_ACCELMUX_H */
