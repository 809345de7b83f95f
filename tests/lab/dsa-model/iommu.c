// SPDX-License-Identifier: MIT
/*
 * iommu.c - see iommu.h.  Names and numbers of the bits: Intel's specification of VT-d,
 * chapter 9.
 */
#include "iommu.h"

#include <string.h>

#include "walk.h"

#define TABLE(x)      ((x) & ~0xfffull)
#define PRESENT	      0x1ull
#define RTADDR_MODE   0xc00ull
#define RTADDR_SM     0x400ull
#define CONTEXT_BYTES 32u
#define PASID_BYTES   64u

/* Context entry */
#define CONTEXT_PASIDE	     0x8ull
#define CONTEXT_PDTS(c)	     ((c)[0] >> 9 & 7)
#define CONTEXT_RID_PASID(c) ((uint32_t)((c)[1] & 0xfffff))
#define CONTEXT_RID_PRIV(c)  ((c)[1] >> 20 & 1)

/* PASID table entry */
#define PASID_AW(p)    ((unsigned int)((p)[0] >> 2 & 7))
#define PASID_PGTT(p)  ((p)[0] >> 6 & 7)
#define PASID_SSADE(p) ((p)[0] >> 9 & 1)
#define PASID_SRE(p)   ((p)[2] & 1)
#define PASID_FSPM(p)  ((p)[2] >> 2 & 3)
#define PASID_WPE(p)   ((p)[2] >> 4 & 1)

enum { PGTT_FIRST = 1, PGTT_SECOND = 2, PGTT_PASS = 4 };

void iommu_init(struct iommu *u, struct mem *mem, bool on)
{
	*u = (struct iommu){ .mem = mem, .on = on };
	mem_keep(mem, on);
}

bool iommu_set(struct iommu *u, uint64_t root, uint16_t source)
{
	if (!u->on || (root & RTADDR_MODE) != RTADDR_SM)
		return false;
	/* What is mapped from now on is no physical memory. */
	mem_keep(u->mem, false);
	__atomic_store_n(&u->source, source, __ATOMIC_RELAXED);
	__atomic_store_n(&u->root, root, __ATOMIC_RELEASE);
	return true;
}

/* @n bytes of a table that does not move over the end of a page. */
static bool load(struct mem *m, uint64_t at, void *to, size_t n)
{
	uint64_t room;
	const uint8_t *from = mem_physical(m, at, false, &room);

	if (!from || room < n)
		return false;
	memcpy(to, from, n);
	return true;
}

static bool context_load(struct iommu *u, uint64_t root, uint64_t c[CONTEXT_BYTES / 8])
{
	uint16_t source = __atomic_load_n(&u->source, __ATOMIC_RELAXED);
	uint64_t half;

	/* Two halves of a bus: devices 0 to 15, and 16 to 31. */
	if (!load(u->mem, TABLE(root) + (uint64_t)(source >> 7) * sizeof(half), &half,
		  sizeof(half)) ||
	    !(half & PRESENT))
		return false;
	return load(u->mem, TABLE(half) + (source & 0x7fu) * CONTEXT_BYTES, c, CONTEXT_BYTES) &&
	       (c[0] & PRESENT);
}

static bool pasid_load(struct iommu *u, const uint64_t *c, uint32_t pasid,
		       uint64_t p[PASID_BYTES / 8])
{
	uint64_t directory;

	if (pasid >> 6 >= 1u << (CONTEXT_PDTS(c) + 7))
		return false;
	if (!load(u->mem, TABLE(c[0]) + (uint64_t)(pasid >> 6) * sizeof(directory), &directory,
		  sizeof(directory)) ||
	    !(directory & PRESENT))
		return false;
	return load(u->mem, TABLE(directory) + (pasid & 0x3fu) * PASID_BYTES, p, PASID_BYTES) &&
	       (p[0] & PRESENT);
}

/* Where @addr is in physical memory, and how many bytes in a row. */
static bool translate(struct iommu *u, const struct requester *by, uint64_t addr, bool write,
		      uint64_t *phys, uint64_t *n)
{
	uint64_t root = __atomic_load_n(&u->root, __ATOMIC_ACQUIRE);
	uint64_t c[CONTEXT_BYTES / 8], p[PASID_BYTES / 8];
	struct walk w = { .mem = u->mem, .write = write };
	bool priv = by->priv;
	uint32_t pasid = by->pasid;

	if (!root || !context_load(u, root, c))
		return false;
	if (!by->has_pasid) {
		pasid = CONTEXT_RID_PASID(c);
		priv = CONTEXT_RID_PRIV(c);
	} else if (!(c[0] & CONTEXT_PASIDE)) {
		return false;
	}
	if (!pasid_load(u, c, pasid, p) || (by->has_pasid && priv && !PASID_SRE(p)))
		return false;
	switch (PASID_PGTT(p)) {
	case PGTT_FIRST:
		if (PASID_FSPM(p) > 1)
			return false;
		w.table = TABLE(p[2]);
		w.levels = PASID_FSPM(p) ? 5 : 4;
		w.user = !priv;
		w.protect = PASID_WPE(p);
		return walk_first(&w, addr, phys, n);
	case PGTT_SECOND:
		if (PASID_AW(p) < 1 || PASID_AW(p) > 3)
			return false;
		w.table = TABLE(p[0]);
		w.levels = PASID_AW(p) + 2;
		w.dirty = PASID_SSADE(p);
		return walk_second(&w, addr, phys, n);
	case PGTT_PASS:
		*phys = addr;
		*n = UINT64_MAX - addr;
		return *n;
	default:
		return false; /* nested: not modelled */
	}
}

uint8_t *iommu_at(struct iommu *u, const struct requester *by, uint64_t addr, bool write,
		  uint64_t *n)
{
	uint64_t phys, page;
	uint8_t *p;

	if (!u->on)
		return mem_at(u->mem, addr, write, n);
	if (!translate(u, by, addr, write, &phys, &page))
		return NULL;
	p = mem_physical(u->mem, phys, write, n);
	if (*n > page && p)
		*n = page;
	return p;
}

uint8_t *iommu_before(struct iommu *u, const struct requester *by, uint64_t addr, bool write,
		      uint64_t *n)
{
	uint64_t phys, page, room, before;
	uint8_t *p;

	if (!u->on)
		return mem_before(u->mem, addr, write, n);
	if (!addr || !translate(u, by, addr - 1, write, &phys, &page))
		return NULL;
	p = mem_physical(u->mem, phys, write, &room);
	if (!p)
		return NULL;
	/* As far back as the 4 KiB page begins, which is in a row here, too, if its start is. */
	before = (phys & 0xfff) + 1;
	if (mem_physical(u->mem, phys + 1 - before, write, &room) != p + 1 - before ||
	    room < before)
		before = 1;
	*n = before;
	return p + 1;
}

bool iommu_still(struct iommu *u, const struct requester *by, uint64_t addr, bool write,
		 const uint8_t *p)
{
	uint64_t n;

	if (!u->on)
		return true;
	/* Either the guest, who clears the entry first, finds what was written, or we find that. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return iommu_at(u, by, addr, write, &n) == p;
}
