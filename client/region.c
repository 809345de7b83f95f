// SPDX-License-Identifier: MIT
/*
 * region.c - allocate, register, look up and give back memory shared with the broker.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "handle.h"
#include "queue.h"
#include "talk.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif

#define REGION_HUGE_BYTES (2ul << 20)

int amux_regions_init(struct amux_regions *r)
{
	memset(r, 0, sizeof(*r));
	r->next_local = UINT32_MAX;
	return -pthread_rwlock_init(&r->lock, NULL);
}

void amux_regions_fini(struct amux_regions *r, bool unmap)
{
	for (unsigned int i = 0; i < r->n; i++) {
		if (unmap && r->by_addr[i]->owned)
			munmap(r->by_addr[i]->addr, r->by_addr[i]->len);
		if (r->by_addr[i]->fd >= 0)
			close(r->by_addr[i]->fd);
		free(r->by_addr[i]);
	}
	free(r->by_addr);
	free(r->by_id);
	pthread_rwlock_destroy(&r->lock);
}

/* How many regions start at or below @ptr. */
static unsigned int addr_rank(const struct amux_regions *r, const char *ptr)
{
	unsigned int lo = 0, hi = r->n;

	while (lo < hi) {
		unsigned int mid = (lo + hi) / 2;

		if (r->by_addr[mid]->addr <= ptr)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* How many regions have an id below @id. */
static unsigned int id_rank(const struct amux_regions *r, uint32_t id)
{
	unsigned int lo = 0, hi = r->n;

	while (lo < hi) {
		unsigned int mid = (lo + hi) / 2;

		if (r->by_id[mid]->id < id)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

struct amux_region *amux_region_by_id(struct amux_regions *r, uint32_t id)
{
	unsigned int i = id_rank(r, id);

	return i < r->n && r->by_id[i]->id == id ? r->by_id[i] : NULL;
}

struct amux_region *amux_region_by_addr(struct amux_regions *r, const void *ptr, size_t len)
{
	unsigned int i = addr_rank(r, ptr);
	struct amux_region *reg;
	size_t offset;

	if (!i)
		return NULL;
	reg = r->by_addr[i - 1];
	offset = (size_t)((const char *)ptr - reg->addr);
	return !reg->going && offset <= reg->len && len <= reg->len - offset ? reg : NULL;
}

bool amux_region_overlap(const struct amux_region *x, uint64_t x_offset,
			 const struct amux_region *y, uint64_t y_offset, uint64_t len)
{
	if (x->dev != y->dev || x->ino != y->ino)
		return false;
	return x_offset < y_offset ? y_offset - x_offset < len : x_offset - y_offset < len;
}

/* With the lock held: does @addr .. @addr + @len touch a region? */
static bool region_taken(const struct amux_regions *r, const char *addr, size_t len)
{
	unsigned int i = addr_rank(r, addr);

	if (i && (size_t)(addr - r->by_addr[i - 1]->addr) < r->by_addr[i - 1]->len)
		return true;
	return i < r->n && (size_t)(r->by_addr[i]->addr - addr) < len;
}

static void region_insert(struct amux_region **array, unsigned int n, unsigned int at,
			  struct amux_region *reg)
{
	memmove(array + at + 1, array + at, (n - at) * sizeof(*array));
	array[at] = reg;
}

static void region_delete(struct amux_region **array, unsigned int n, unsigned int at)
{
	memmove(array + at, array + at + 1, (n - at - 1) * sizeof(*array));
}

static int regions_grow(struct amux_regions *r)
{
	unsigned int cap = r->cap ? 2 * r->cap : 16;
	struct amux_region **p;

	if (r->n < r->cap)
		return 0;
	p = reallocarray(r->by_addr, cap, sizeof(*p));
	if (!p)
		return -ENOMEM;
	r->by_addr = p;
	p = reallocarray(r->by_id, cap, sizeof(*p));
	if (!p)
		return -ENOMEM;
	r->by_id = p;
	r->cap = cap;
	return 0;
}

/*
 * Enter @reg.  Its id is what the broker calls it; where that is taken by a region of an
 * earlier broker, or there is none, one is made up, away from brokers' small numbers.
 */
static int region_enter(struct amux_regions *r, struct amux_region *reg)
{
	int err;

	pthread_rwlock_wrlock(&r->lock);
	err = regions_grow(r);
	if (err)
		goto unlock;
	if (reg->wire && (r->mapped || amux_region_by_id(r, reg->wire)) &&
	    amux_region_by_wire(r, reg->wire, reg->link)) {
		amux_fail("the broker gave out region %u twice", reg->wire);
		err = -EPROTO;
		goto unlock;
	}
	if (region_taken(r, reg->addr, reg->len)) {
		amux_fail("%p .. +%zu is registered already", (void *)reg->addr, reg->len);
		err = -EEXIST;
		goto unlock;
	}
	for (unsigned int i = 0; i < r->n; i++)
		if (r->by_addr[i]->ino == reg->ino && r->by_addr[i]->dev == reg->dev)
			amux_store_relaxed(&r->aliased, 1);
	reg->id = reg->wire;
	while (!reg->id || amux_region_by_id(r, reg->id))
		reg->id = r->next_local--;
	if (reg->id != reg->wire)
		amux_store_relaxed(&r->mapped, 1);
	region_insert(r->by_addr, r->n, addr_rank(r, reg->addr), reg);
	region_insert(r->by_id, r->n, id_rank(r, reg->id), reg);
	amux_store_relaxed(&r->n, r->n + 1); /* amux_copy() looks without the lock */
unlock:
	pthread_rwlock_unlock(&r->lock);
	return err;
}

/* Take @reg out; waits for CPU copies, which hold the lock for reading. */
static void region_leave(struct amux_regions *r, struct amux_region *reg)
{
	pthread_rwlock_wrlock(&r->lock);
	region_delete(r->by_addr, r->n, addr_rank(r, reg->addr) - 1);
	region_delete(r->by_id, r->n, id_rank(r, reg->id));
	amux_store_relaxed(&r->n, r->n - 1);
	pthread_rwlock_unlock(&r->lock);
}

/* Tell the broker to forget @reg.  A dead one has.  With life.lock held. */
static int region_forget(struct amux *a, const struct amux_region *reg)
{
	struct amux_msg_unregister msg = {
		.hdr = { .type = AMUX_MSG_UNREGISTER, .len = sizeof(msg) },
		.region = reg->wire,
	};
	struct amux_answer ans;
	struct amux_link *l;
	int err;

	if (reg->asked || reg->next_wire)
		amux_life_restart(a);
	if (!reg->wire || amux_is_dead(a))
		return 0;
	l = amux_link_get(a);
	err = amux_talk(a, l, &msg.hdr, -1, AMUX_MSG_DONE, AMUX_TALK_FOREVER, &ans);
	amux_link_put(l);
	return err == -ECONNRESET ? 0 : err;
}

/* Make the broker know @reg; without a broker the region is this process's own.  With life.lock
 * held, so that a broker that is just being found misses nothing. */
static int region_announce(struct amux *a, struct amux_region *reg, int fd)
{
	struct amux_msg_register msg = {
		.hdr = { .type = AMUX_MSG_REGISTER, .len = sizeof(msg) },
		.flags = reg->flags,
		.size = reg->len,
	};
	struct amux_link *l = amux_link_get(a);
	struct amux_answer ans;
	int err = -ECONNRESET;

	if (amux_link_up(l))
		err = amux_talk(a, l, &msg.hdr, fd, AMUX_MSG_REGISTERED, AMUX_TALK_FOREVER,
				&ans);
	if (!err) {
		reg->wire = ans.registered.region;
		reg->link = l->serial;
		reg->flags = ans.registered.flags;
	}
	amux_link_put(l);
	if (err && err != -ECONNRESET)
		return err;
	err = region_enter(&a->regions, reg);
	if (err)
		region_forget(a, reg);
	return err;
}

static void region_free(struct amux_region *reg)
{
	if (reg->fd >= 0)
		close(reg->fd);
	free(reg);
}

static int region_add(struct amux *a, int fd, void *addr, size_t len, uint32_t flags,
		      bool owned)
{
	struct amux_region *reg;
	struct stat st;
	int err;

	if (fstat(fd, &st))
		return -errno;
	if ((uint64_t)st.st_size < len) {
		amux_fail("memfd %d has %lld bytes, expected at least %zu", fd,
			  (long long)st.st_size, len);
		return -EINVAL;
	}
	reg = calloc(1, sizeof(*reg));
	if (!reg)
		return -ENOMEM;
	reg->addr = addr;
	reg->len = len;
	reg->flags = flags;
	reg->dev = st.st_dev;
	reg->ino = st.st_ino;
	reg->owned = owned;
	/* Kept for the next broker; without it the region ends with this one. */
	reg->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	pthread_mutex_lock(&a->life.lock);
	err = region_announce(a, reg, fd);
	pthread_mutex_unlock(&a->life.lock);
	if (err)
		region_free(reg);
	return err;
}

static int region_drop(struct amux *a, void *addr, bool owned)
{
	struct amux_regions *r = &a->regions;
	struct amux_region *reg;
	unsigned int i;
	int err = 0;

	pthread_rwlock_wrlock(&r->lock);
	i = addr_rank(r, addr);
	reg = i ? r->by_addr[i - 1] : NULL;
	if (!reg || reg->addr != addr || reg->owned != owned)
		err = -ENOENT;
	else if (reg->going)
		err = -EBUSY;
	else
		reg->going = true;
	pthread_rwlock_unlock(&r->lock);
	if (err) {
		amux_fail("%p: expected the start of memory that was %s", addr,
			  owned ? "allocated here" : "registered here");
		return err;
	}

	pthread_mutex_lock(&a->life.lock);
	err = region_forget(a, reg);
	if (err) {
		pthread_rwlock_wrlock(&r->lock);
		reg->going = false;
		pthread_rwlock_unlock(&r->lock);
	} else {
		region_leave(r, reg);
	}
	pthread_mutex_unlock(&a->life.lock);
	if (err)
		return err;
	amux_queues_await_end(a); /* a broker that is dying may still write there */
	if (owned)
		munmap(reg->addr, reg->len);
	region_free(reg);
	return 0;
}

static int region_memfd(unsigned int flags)
{
	int fd = memfd_create("accelmux", flags | MFD_NOEXEC_SEAL);

	if (fd < 0 && errno == EINVAL) /* before Linux 6.3 */
		fd = memfd_create("accelmux", flags);
	return fd < 0 ? -errno : fd;
}

int amux_alloc(struct amux *a, size_t len, unsigned int flags, void **out)
{
	size_t page =
		flags & AMUX_ALLOC_HUGETLB ? REGION_HUGE_BYTES : (size_t)sysconf(_SC_PAGESIZE);
	unsigned int mfd = MFD_CLOEXEC | MFD_ALLOW_SEALING;
	void *p;
	int fd, err;

	err = amux_check(a);
	if (err)
		return err;
	if (!len || len > SIZE_MAX / 2 || !out || flags & ~AMUX_ALLOC_HUGETLB) {
		amux_fail("amux_alloc: len %zu, flags %#x; expected some bytes and known flags",
			  len, flags);
		return -EINVAL;
	}
	len = (len + page - 1) & ~(page - 1);
	if (flags & AMUX_ALLOC_HUGETLB)
		mfd |= MFD_HUGETLB | MFD_HUGE_2MB;
	fd = region_memfd(mfd);
	if (fd < 0)
		return fd;
	if (ftruncate(fd, (off_t)len) || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW)) {
		err = -errno;
		goto close_fd;
	}
	p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED) {
		err = -errno;
		goto close_fd;
	}
	if (madvise(p, len, MADV_DONTFORK)) {
		err = -errno;
		goto unmap;
	}
	err = region_add(a, fd, p, len, 0, true);
	if (err)
		goto unmap;
	*out = p;
	close(fd);
	return 0;

unmap:
	munmap(p, len);
close_fd:
	close(fd);
	return err;
}

int amux_free(struct amux *a, void *ptr)
{
	int err = amux_check(a);

	return err ? err : region_drop(a, ptr, true);
}

int amux_register(struct amux *a, int memfd, void *addr, size_t len)
{
	int err = amux_check(a), seals, mode;

	if (err)
		return err;
	if (!addr || !len || (uintptr_t)addr % (uintptr_t)sysconf(_SC_PAGESIZE)) {
		amux_fail("amux_register: %p .. +%zu, expected a mapping's start and bytes",
			  addr, len);
		return -EINVAL;
	}
	mode = fcntl(memfd, F_GETFL);
	if (mode < 0)
		return -errno;
	seals = fcntl(memfd, F_GET_SEALS);
	if (seals < 0 || !(seals & F_SEAL_SHRINK)) {
		amux_fail("amux_register: fd %d has %s, expected a memfd with F_SEAL_SHRINK",
			  memfd, seals < 0 ? "no seals" : "other seals");
		return -EINVAL;
	}
	pthread_rwlock_rdlock(&a->regions.lock);
	if (region_taken(&a->regions, addr, len))
		err = -EEXIST;
	pthread_rwlock_unlock(&a->regions.lock);
	if (err) {
		amux_fail("%p .. +%zu is registered already", addr, len);
		return err;
	}
	return region_add(a, memfd, addr, len,
			  (mode & O_ACCMODE) == O_RDONLY ? AMUX_REGION_READONLY : 0, false);
}

int amux_unregister(struct amux *a, void *addr)
{
	int err = amux_check(a);

	return err ? err : region_drop(a, addr, false);
}

int amux_locate(struct amux *a, const void *ptr, size_t len, uint32_t *region, uint64_t *offset)
{
	struct amux_region *reg;
	int err = amux_check(a);

	if (err)
		return err;
	pthread_rwlock_rdlock(&a->regions.lock);
	reg = amux_region_by_addr(&a->regions, ptr, len);
	if (reg) {
		*region = reg->id;
		*offset = (uint64_t)((const char *)ptr - reg->addr);
	}
	pthread_rwlock_unlock(&a->regions.lock);
	return reg ? 0 : -ENOENT;
}
