/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * fault.h - an engine that fails on purpose: wraps a software DSA and injects what hardware may
 * do, so that tests can show what becomes of requests then.
 *
 *	fault_spec.c   what is to be injected, as `engine = fault:SPEC` says it
 *	fault.c        the device
 *
 * Every descriptor has its luck drawn when it is submitted, from a generator with the given
 * seed: the same descriptors in the same order meet the same faults.
 *
 * Unlike a DSA it needs nobody on the control thread to settle an engine that was lost (enum
 * engine_health): it knows itself what the wrapped device still holds, and takes control's steps
 * in progress().
 *
 * Owner: see engine.h.  Thread: the mux thread.
 */
#ifndef BROKER_FAULT_H
#define BROKER_FAULT_H

#include <stddef.h>

#include "engine.h"
#include "soft.h"

#define FAULT_RULES  16
#define FAULT_ALWAYS UINT32_MAX

enum fault_kind {
	FAULT_NONE = 0,
	FAULT_ERROR,   /* not done, and answered with a status */
	FAULT_PARTIAL, /* done in part, then a page fault (operations that can be resumed) */
	FAULT_DELAY,   /* done, and answered late */
	FAULT_LOSE,    /* done or not, by turns of luck, and never answered */
	FAULT_STUCK,   /* the same, and the engine is never proved quiet afterwards */
	FAULT_REFUSE,  /* not accepted: the WQ is down */
};

struct fault_rule {
	uint32_t kind;	  /* enum fault_kind */
	uint32_t chance;  /* of 2^32; FAULT_ALWAYS */
	uint32_t status;  /* ERROR: of the completion record */
	uint32_t rsvd;	  /* 0: compared as bytes by a reload */
	uint64_t time_ns; /* DELAY: unscaled */
};

/* Times are unscaled. */
struct fault_config {
	uint64_t seed;
	struct fault_rule rule[FAULT_RULES]; /* the first that hits is what happens */
	uint64_t n_rules;
	uint64_t timeout_ns;	   /* of a descriptor: then its engine is lost */
	uint64_t back_ns;	   /* a lost engine comes back so long after it is empty */
	uint64_t disable_every_ns; /* 0: never; engines in turn */
	uint64_t disable_ns;	   /* for so long */
};

/*
 * Read @spec, "KEY=VALUE,...", what stands behind "fault:"; "" injects nothing.  0, or -EINVAL and
 * one line in @err.
 */
int fault_spec_parse(struct fault_config *out, const char *spec, char *err, size_t errlen);

/*
 * Make device number @index in *@dev, which must not move until it is closed, around a soft one
 * as @soft says.  @time_scale: of all times in @cfg.  0 or -errno.
 */
int fault_open(struct device *dev, unsigned int index, const struct soft_config *soft,
	       const struct fault_config *cfg, uint64_t time_scale);

#endif /* BROKER_FAULT_H */
