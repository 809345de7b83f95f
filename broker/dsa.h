/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * dsa.h - a DSA device as the idxd driver has it: the user WQ of each of its engines, opened by
 * this process.  Its kernel WQs are the kernel module's.
 *
 *	dsa.c          the device and its operations
 *	dsa_wq.c       one WQ: entries counted, opened, settled after it was lost, opened anew
 *	dsa_portal.c   the last inch: how 64 bytes get to the device
 *	dsa_watch.c    the control side: what is lost is settled, and brought back
 *
 * A WQ can be used by the address space that opened it alone: clients share memory with the
 * broker, and never see a WQ.
 *
 * Owner: see engine.h.  Threads: submit and completed on the mux thread; settle and renew on
 * control's, or on one that works for it, while the engine is not the mux thread's (enum
 * engine_health says whose it is).
 */
#ifndef BROKER_DSA_H
#define BROKER_DSA_H

#include <stddef.h>

#include "engine.h"
#include "idxd.h"

/* How descriptors are put on a WQ. */
enum dsa_submit {
	DSA_AUTO = 0,  /* the first that works of: the instruction for the WQ's mode, write() */
	DSA_MOVDIR64B, /* dedicated WQs */
	DSA_ENQCMD,    /* shared WQs */
	DSA_WRITE,     /* through the driver: where the portal may not be mapped */
};

extern const char *const dsa_submit_names[DSA_WRITE + 1];

/*
 * The driver does not tell what a device reaches: rates and times are soft.h's, from public
 * sources, not measured here.  @time_scale is for devices whose clock is slower than real (a
 * model): everything that is time scales with it.
 */
struct dsa_config {
	uint32_t submit; /* enum dsa_submit */
	bool prefault;	 /* map what a region holds when it is registered */
	uint64_t time_scale;
	uint64_t desc_ns, engine_bps, fabric_bps; /* unscaled */
	uint64_t timeout_ns;			  /* of a descriptor, unscaled */
};

void dsa_config_default(struct dsa_config *cfg);

/* Engines of @dev that have a user WQ of their own. */
unsigned int dsa_engines(const struct idxd_device *dev);

/*
 * Open every user WQ of @from as device number @index in *@dev, which must not move until it is
 * closed; each is proved by a descriptor that completes.  On error -errno and one line in @err.
 */
int dsa_open(struct device *dev, unsigned int index, const struct idxd_device *from,
	     const struct dsa_config *cfg, char *err, size_t errlen);

/* Is this device one of these? */
bool device_is_dsa(const struct device *dev);

/* Is the WQ that engine @e submits to gone, disabled since it was opened?  Any thread. */
bool dsa_is_gone(const struct device *dev, unsigned int e);

/*
 * Engine @e is lost: close its WQ, so that the driver drains and resets it.  Not one that was
 * disabled meanwhile: closed while it is, the driver leaves it in a state that it cannot be
 * enabled from.  May block for as long as the device does.
 */
void dsa_settle(struct device *dev, unsigned int e);

/* After that: can nothing of it reach memory any more?  @now: the device as it is since then,
 * NULL: gone. */
bool dsa_settled(const struct device *dev, unsigned int e, const struct idxd_device *now);

/*
 * Engine @e is empty: open its WQ again, if it is enabled, and prove it.  -ENODEV while it is not
 * there; else -errno and one line in @err.
 */
int dsa_renew(struct device *dev, unsigned int e, const struct idxd_device *now, char *err,
	      size_t errlen);

/* "wq0.1", for messages. */
const char *dsa_wq_name(const struct device *dev, unsigned int e);

#endif /* BROKER_DSA_H */
