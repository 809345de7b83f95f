// SPDX-License-Identifier: MIT
/*
 * portal.c - see portal.h.
 */
#include "portal.h"

#include <string.h>

#include "bits.h"
#include "wq.h"

#define SLOT_BYTES 64u
#define SLOT_WORDS 16u

static void submit(struct device *d, struct wq *w, bool limited)
{
	bool room = w->enabled && d->state == STATE_ENABLED && wq_has_room(w, limited);

	w->retry = !WQ_DEDICATED(w->cfg) && !room;
	if (w->retry) {
		w->count.retried++;
		return;
	}
	w->count.submitted++;
	if (!room) {
		w->count.dropped++;
		return;
	}
	wq_push(w, w->word);
	pthread_cond_broadcast(&d->work);
}

void portal_write(struct device *d, uint32_t offset, const void *data, uint32_t n)
{
	struct wq *w = &d->wq[offset / (PORTAL_PAGES * PAGE_BYTES)];
	uint32_t slot = offset / SLOT_BYTES, at = offset % SLOT_BYTES / 4;

	if (offset % 4 || n % 4 || offset % SLOT_BYTES + n > SLOT_BYTES)
		return;
	pthread_mutex_lock(&d->lock);
	if (w->slot != slot) {
		w->slot = slot;
		w->have = 0;
	}
	memcpy(&w->word[at], data, n);
	for (uint32_t i = 0; i < n / 4; i++)
		w->have |= (uint16_t)(1u << (at + i));
	if (w->have == (1u << SLOT_WORDS) - 1) {
		w->have = 0;
		submit(d, w, offset / PAGE_BYTES % 2 == PORTAL_LIMITED);
	}
	pthread_mutex_unlock(&d->lock);
}

void portal_read(struct device *d, uint32_t offset, void *data, uint32_t n)
{
	struct wq *w = &d->wq[offset / (PORTAL_PAGES * PAGE_BYTES)];

	memset(data, 0, n);
	pthread_mutex_lock(&d->lock);
	if (n)
		*(uint8_t *)data = w->retry;
	pthread_mutex_unlock(&d->lock);
}
