/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * dsa_wq.h - one user WQ: what is in it, and whether more fits.
 *
 * A dedicated WQ drops what is too much for it without a word, so its entries are counted: one is
 * free again when its completion record has been seen, which is later than the hardware frees
 * it.  A shared WQ says so itself (Retry), yet is given no more than its threshold.
 *
 * Owner: a dsa device.  Threads: see dsa.h; the counters are the submitter's, readable by all.
 */
#ifndef BROKER_DSA_WQ_H
#define BROKER_DSA_WQ_H

#include "dsa_portal.h"

struct dsa_wq {
	char name[IDXD_NAME]; /* "wq0.1" */
	unsigned int id;
	struct dsa_portal portal;
	enum dsa_submit how; /* in use */
	unsigned int capacity;
	unsigned int inflight;
	uint64_t last_ns;	   /* of the last submission or completion */
	uint64_t refused_ns;	   /* full since, 0: it was not */
	struct engine_stats count; /* of user WQs */
	struct dsa_completion_record rec __attribute__((aligned(32))); /* of the probe */
};

/*
 * Open @w, called @name, as @from says, and have it complete a NOOP within @timeout_ns: DSA_AUTO
 * tries what there is.  On error -errno and one line in @err; it is closed then.
 */
int dsa_wq_open(struct dsa_wq *w, const char *name, const struct idxd_wq *from,
		enum dsa_submit want, uint64_t timeout_ns, char *err, size_t errlen);

/* Put up to @n descriptors on it.  How many were taken; -EIO: it takes none any more, or has
 * taken none for @timeout_ns although it is empty. */
int dsa_wq_submit(struct dsa_wq *w, const struct dsa_hw_desc *desc, unsigned int n,
		  uint64_t timeout_ns);

void dsa_wq_completed(struct dsa_wq *w, const struct dsa_hw_desc *desc,
		      const struct dsa_completion_record *rec);

/* Entries that may be filled: of a shared WQ, below its threshold. */
unsigned int dsa_wq_capacity(const struct idxd_wq *from);

#endif /* BROKER_DSA_WQ_H */
