// SPDX-License-Identifier: MIT
/*
 * region_wire.c - what brokers call regions.
 */
#include "handle.h"

#define WIRE_NONE UINT32_MAX /* a serial and a slot that no broker comes to */

bool amux_regions_translate(struct amux_regions *r, struct amux_sqe *sqe)
{
	bool known = true;

	pthread_rwlock_rdlock(&r->lock);
	for (unsigned int i = 0; i < 3; i++) {
		struct amux_region *reg;

		if (!sqe->region[i])
			continue;
		reg = amux_region_by_id(r, sqe->region[i]);
		if (reg && !reg->wire)
			known = false;
		sqe->region[i] = reg ? reg->wire : WIRE_NONE;
	}
	pthread_rwlock_unlock(&r->lock);
	return known;
}

struct amux_region *amux_region_by_wire(struct amux_regions *r, uint32_t wire, uint32_t link)
{
	struct amux_region *reg = amux_region_by_id(r, wire);

	if (reg && reg->link == link && reg->wire == wire)
		return reg; /* most often it kept its name */
	for (unsigned int i = 0; i < r->n; i++) {
		reg = r->by_id[i];
		if ((reg->link == link && reg->wire == wire) ||
		    (reg->old_link == link && reg->old_wire == wire))
			return reg;
	}
	return NULL;
}

struct amux_region *amux_regions_unasked(struct amux_regions *r)
{
	for (unsigned int i = 0; i < r->n; i++) {
		struct amux_region *reg = r->by_id[i];

		if (!reg->asked && !reg->next_wire && !reg->refused && reg->fd >= 0)
			return reg;
	}
	return NULL;
}

bool amux_regions_answered(struct amux_regions *r, uint64_t cookie, uint32_t wire)
{
	for (unsigned int i = 0; i < r->n; i++) {
		struct amux_region *reg = r->by_id[i];

		if (reg->asked != cookie || !cookie)
			continue;
		reg->asked = 0;
		reg->next_wire = wire;
		reg->refused = !wire;
		return true;
	}
	return false;
}

void amux_regions_unask(struct amux_regions *r)
{
	for (unsigned int i = 0; i < r->n; i++) {
		r->by_id[i]->asked = 0;
		r->by_id[i]->next_wire = 0;
		r->by_id[i]->refused = false;
	}
}

void amux_regions_renew(struct amux_regions *r, uint32_t link)
{
	uint32_t mapped = 0;

	pthread_rwlock_wrlock(&r->lock);
	for (unsigned int i = 0; i < r->n; i++) {
		struct amux_region *reg = r->by_id[i];

		reg->old_wire = reg->wire;
		reg->old_link = reg->link;
		reg->wire = reg->next_wire;
		reg->link = link;
		mapped |= reg->wire != reg->id;
	}
	amux_store_relaxed(&r->mapped, mapped);
	pthread_rwlock_unlock(&r->lock);
	amux_regions_unask(r);
}
