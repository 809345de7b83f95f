/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * channel.h - descriptors in flight on DMA_MEMCPY channels of dmaengine; any provider will do
 * (idxd kernel WQs among them).  Which channels there are is hold.h's.
 *
 * A descriptor in flight is a *slot*, preallocated with its channel: it owns the DMA mappings
 * and, from the time-out on, references on this module and on the folios of both sides:
 *
 *	FREE --submit--> FLYING --callback, not ABORTED--> answered --> FREE
 *	                   |  `---callback ABORTED-----------------.
 *	                   `--------- channel_abandon(), time-out -+-> QUARANTINED --proof--> FREE
 *
 * A late DMA write must never reach a page in use, so QUARANTINED ends only by proof that the
 * hardware is quiet: the descriptor's own callback with a status other than ABORTED; a
 * terminate that the driver backs with device_synchronize(); or the driver being unbound from
 * the device, or from the WQ that is the channel (bus notifiers).  A channel with a quarantined
 * slot takes no new work.
 *
 *	held until the proof	so that
 *	destination folios	nobody is given the memory that may still be written
 *	source folios		nobody can migrate them: their reference count is not what
 *				__migrate_folio() expects, so that it gives up with -EAGAIN
 *				before it copies into the destination, in every pass and
 *				whoever does the copying
 *	this module		the callback has code to run
 *
 * Owner: module state.  Threads: submit from any migrating task; callbacks from
 * interrupt thread or tasklet.
 */
#ifndef ACCELMUX_CHANNEL_H
#define ACCELMUX_CHANNEL_H

#include <linux/types.h>

#include "uapi/accelmux.h"

#define CHANNEL_DEPTH	12 /* outstanding per channel: below idxd's default of 16 tags */
#define CHANNEL_LEN_MAX (2u << 20) /* of one descriptor: the default max transfer of a WQ */

struct amux_batch;
struct page;

int channel_init(void);
/* Nothing is held any more (hold.h). */
void channel_exit(void);

/* What an offer needs to know of a device index; read without a lock, may be stale. */
struct channel_load {
	u32 usable;	/* mask of the channels in service */
	u32 free;	/* slots free on them */
	u64 bytes;	/* in flight */
	u32 suspect;	/* channels out of service for a quarantined slot */
	u64 device_bps; /* measured over the last busy stretches, 0: not known */
	int node;	/* of all channels; NUMA_NO_NODE: not known, or of several */
};
void channel_load(u32 dev, struct channel_load *out);

/*
 * Submit one copy of @len bytes (contiguous on both sides, at most CHANNEL_LEN_MAX) to the
 * least loaded channel of @dev that is in @engine_mask (channel i is engine i), rather on the
 * node of @dst than on another.  On success
 * b->flying was raised, and falls when the answer comes, after batch_answered().  -EAGAIN: no
 * slot free; -EIO, -ENODEV: not submitted.
 */
int channel_submit(u32 dev, u32 engine_mask, struct amux_batch *b, struct page *dst,
		   struct page *src, size_t len, u32 first, u32 count);

/*
 * Time-out: cut every slot of @b that is still in flight off from it and quarantine it with
 * references on all folios of its pairs first .. first + count.  Afterwards no callback
 * touches @b.  Returns the number of slots cut off; the pairs concerned are STUCK.
 */
unsigned int channel_abandon(struct amux_batch *b);

/* Descriptors in quarantine now, and ever. */
u64 channel_quarantined(void);
u64 channel_quarantined_total(void);

struct seq_file;
/* One line per channel: "dev chan device node state flying quarantined
 * bytes submitted". */
void channel_show(struct seq_file *m);

#endif /* ACCELMUX_CHANNEL_H */
