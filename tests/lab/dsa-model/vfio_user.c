// SPDX-License-Identifier: MIT
/*
 * vfio_user.c - see vfio_user.h.
 */
#include "vfio_user.h"

#include <errno.h>
#include <linux/vfio.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bits.h"
#include "pci.h"
#include "portal.h"
#include "regs.h"

#define DATA_MAX 4096u /* of a region access: the configuration space at once */
#define BODY_MAX (DATA_MAX + 64)
#define FDS_MAX	 16u

enum message {
	M_VERSION = 1,
	M_DMA_MAP = 2,
	M_DMA_UNMAP = 3,
	M_DEVICE_INFO = 4,
	M_REGION_INFO = 5,
	M_IRQ_INFO = 7,
	M_SET_IRQS = 8,
	M_REGION_READ = 9,
	M_REGION_WRITE = 10,
	M_RESET = 13,
};

#define F_TYPE	   0x0fu
#define F_REPLY	   0x01u
#define F_NO_REPLY 0x10u
#define F_ERROR	   0x20u

struct header {
	uint16_t id, message;
	uint32_t size, flags, error;
};

struct dma_map {
	uint32_t argsz, flags;
	uint64_t offset, address, size;
};

struct dma_unmap {
	uint32_t argsz, flags;
	uint64_t address, size;
};

struct region_access {
	uint64_t offset;
	uint32_t region, count;
};

#define MAP_READ  1u
#define MAP_WRITE 2u

struct connection {
	struct device *d;
	int socket;
	struct header h;
	uint32_t n; /* bytes of the body; then, of the answer's */
	unsigned int fds;
	int fd[FDS_MAX]; /* received; -1: taken */
	union {
		uint8_t body[BODY_MAX];
		struct dma_map map;
		struct dma_unmap unmap;
		struct vfio_device_info device_info;
		struct vfio_region_info region_info;
		struct vfio_irq_info irq_info;
		struct vfio_irq_set irq_set;
		struct region_access access;
	};
};

static const char version_text[] = "{\"capabilities\":{\"max_msg_fds\":16,"
				   "\"max_data_xfer_size\":4096,\"max_dma_maps\":1024,"
				   "\"pgsizes\":4096}}";

static const uint64_t region_bytes[VFIO_PCI_NUM_REGIONS] = {
	[VFIO_PCI_BAR0_REGION_INDEX] = BAR0_BYTES,
	[VFIO_PCI_BAR2_REGION_INDEX] = BAR2_BYTES,
	[VFIO_PCI_CONFIG_REGION_INDEX] = CONFIG_BYTES,
};

/* ---------------------------------------------------------------- messages */

static int do_version(struct connection *c)
{
	uint16_t v[2];

	if (c->n < sizeof(v))
		return -EINVAL;
	memcpy(v, c->body, sizeof(v));
	if (v[0] != 0)
		return -ENOTSUP;
	v[1] = 0;
	memcpy(c->body, v, sizeof(v));
	memcpy(c->body + sizeof(v), version_text, sizeof(version_text));
	c->n = sizeof(v) + sizeof(version_text);
	return 0;
}

static int do_map(struct connection *c)
{
	struct dma_map m = c->map;

	if (c->n < sizeof(m))
		return -EINVAL;
	c->n = 0;
	return mem_map(&c->d->mem, m.address, m.size, m.offset, c->fds ? c->fd[0] : -1,
		       m.flags & MAP_READ, m.flags & MAP_WRITE);
}

static int do_unmap(struct connection *c)
{
	if (c->n < sizeof(c->unmap))
		return -EINVAL;
	c->n = sizeof(c->unmap);
	if (c->unmap.flags & VFIO_DMA_UNMAP_FLAG_ALL) {
		mem_unmap_all(&c->d->mem);
		return 0;
	}
	return mem_unmap(&c->d->mem, c->unmap.address, c->unmap.size);
}

static int do_device_info(struct connection *c)
{
	c->n = offsetof(struct vfio_device_info, cap_offset);
	memset(c->body, 0, c->n);
	c->device_info.argsz = c->n;
	c->device_info.flags = VFIO_DEVICE_FLAGS_RESET | VFIO_DEVICE_FLAGS_PCI;
	c->device_info.num_regions = VFIO_PCI_NUM_REGIONS;
	c->device_info.num_irqs = VFIO_PCI_NUM_IRQS;
	return 0;
}

static int do_region_info(struct connection *c)
{
	uint32_t index = c->region_info.index;

	if (c->n < sizeof(c->region_info) || index >= VFIO_PCI_NUM_REGIONS)
		return -EINVAL;
	c->n = sizeof(c->region_info);
	c->region_info = (struct vfio_region_info){ .argsz = c->n,
						    .index = index,
						    .size = region_bytes[index] };
	if (region_bytes[index])
		c->region_info.flags = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE;
	return 0;
}

static int do_irq_info(struct connection *c)
{
	uint32_t index = c->irq_info.index;

	if (c->n < sizeof(c->irq_info) || index >= VFIO_PCI_NUM_IRQS)
		return -EINVAL;
	c->n = sizeof(c->irq_info);
	c->irq_info = (struct vfio_irq_info){ .argsz = c->n, .index = index };
	if (index == VFIO_PCI_MSIX_IRQ_INDEX) {
		c->irq_info.flags = VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_NORESIZE;
		c->irq_info.count = IRQ_VECTORS;
	}
	return 0;
}

static int do_set_irqs(struct connection *c)
{
	struct vfio_irq_set s;
	uint32_t action, i;

	if (c->n < offsetof(struct vfio_irq_set, data))
		return -EINVAL;
	memcpy(&s, c->body, offsetof(struct vfio_irq_set, data));
	c->n = 0;
	action = s.flags & VFIO_IRQ_SET_ACTION_TYPE_MASK;
	if (s.index != VFIO_PCI_MSIX_IRQ_INDEX)
		return s.index < VFIO_PCI_NUM_IRQS ? 0 : -EINVAL;
	if (s.start > IRQ_VECTORS || s.count > IRQ_VECTORS - s.start)
		return -EINVAL;
	if (action != VFIO_IRQ_SET_ACTION_TRIGGER)
		return 0; /* QEMU masks by itself */
	pthread_mutex_lock(&c->d->lock);
	if ((s.flags & VFIO_IRQ_SET_DATA_NONE) && !s.count)
		irq_clear(&c->d->irq);
	for (i = 0; (s.flags & VFIO_IRQ_SET_DATA_EVENTFD) && i < s.count; i++) {
		irq_set(&c->d->irq, s.start + i, i < c->fds ? c->fd[i] : -1);
		if (i < c->fds)
			c->fd[i] = -1;
	}
	pthread_mutex_unlock(&c->d->lock);
	return 0;
}

static int access_check(const struct connection *c)
{
	const struct region_access *a = &c->access;

	if (c->n < sizeof(*a) || a->region >= VFIO_PCI_NUM_REGIONS || a->count > DATA_MAX ||
	    a->offset > region_bytes[a->region] ||
	    a->count > region_bytes[a->region] - a->offset)
		return -EINVAL;
	return 0;
}

static int do_read(struct connection *c)
{
	void *data = c->body + sizeof(c->access);
	uint32_t offset, n;

	if (access_check(c))
		return -EINVAL;
	offset = (uint32_t)c->access.offset;
	n = c->access.count;
	c->n = (uint32_t)sizeof(c->access) + n;
	if (c->access.region == VFIO_PCI_BAR0_REGION_INDEX)
		regs_read(c->d, offset, data, n);
	else if (c->access.region == VFIO_PCI_BAR2_REGION_INDEX)
		portal_read(c->d, offset, data, n);
	else
		pci_read(c->d, offset, data, n);
	return 0;
}

static int do_write(struct connection *c)
{
	const void *data = c->body + sizeof(c->access);
	uint32_t offset, n;

	if (access_check(c) || c->n - sizeof(c->access) < c->access.count)
		return -EINVAL;
	offset = (uint32_t)c->access.offset;
	n = c->access.count;
	c->n = sizeof(c->access);
	if (!n)
		return 0;
	if (c->access.region == VFIO_PCI_BAR0_REGION_INDEX)
		regs_write(c->d, offset, data, n);
	else if (c->access.region == VFIO_PCI_BAR2_REGION_INDEX)
		portal_write(c->d, offset, data, n);
	else if (pci_write(c->d, offset, data, n))
		device_reset(c->d, true);
	return 0;
}

static int do_reset(struct connection *c)
{
	device_reset(c->d, true);
	c->n = 0;
	return 0;
}

static int dispatch(struct connection *c)
{
	switch (c->h.message) {
	case M_VERSION:
		return do_version(c);
	case M_DMA_MAP:
		return do_map(c);
	case M_DMA_UNMAP:
		return do_unmap(c);
	case M_DEVICE_INFO:
		return do_device_info(c);
	case M_REGION_INFO:
		return do_region_info(c);
	case M_IRQ_INFO:
		return do_irq_info(c);
	case M_SET_IRQS:
		return do_set_irqs(c);
	case M_REGION_READ:
		return do_read(c);
	case M_REGION_WRITE:
		return do_write(c);
	case M_RESET:
		return do_reset(c);
	default:
		return -ENOSYS;
	}
}

/* --------------------------------------------------------------- transport */

static void fds_close(struct connection *c)
{
	for (unsigned int i = 0; i < c->fds; i++)
		if (c->fd[i] >= 0)
			close(c->fd[i]);
	c->fds = 0;
}

/* File descriptors come with the first bytes of their message. */
static void fds_take(struct connection *c, struct msghdr *m)
{
	for (struct cmsghdr *h = CMSG_FIRSTHDR(m); h; h = CMSG_NXTHDR(m, h)) {
		size_t n = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(h) + i * sizeof(fd), sizeof(fd));
			if (c->fds < FDS_MAX)
				c->fd[c->fds++] = fd;
			else
				close(fd);
		}
	}
}

static bool receive(struct connection *c, void *data, size_t n)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(FDS_MAX * sizeof(int))];
	} control;
	uint8_t *to = data;

	while (n) {
		struct iovec v = { to, n };
		struct msghdr m = { .msg_iov = &v,
				    .msg_iovlen = 1,
				    .msg_control = &control,
				    .msg_controllen = sizeof(control) };
		ssize_t got = recvmsg(c->socket, &m, MSG_CMSG_CLOEXEC);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return false;
		fds_take(c, &m);
		to += got;
		n -= (size_t)got;
	}
	return true;
}

static bool transmit(struct connection *c, const void *data, size_t n)
{
	const uint8_t *from = data;

	while (n) {
		ssize_t put = send(c->socket, from, n, MSG_NOSIGNAL);

		if (put < 0 && errno == EINTR)
			continue;
		if (put <= 0)
			return false;
		from += put;
		n -= (size_t)put;
	}
	return true;
}

static bool reply(struct connection *c, int error)
{
	if (c->h.flags & F_NO_REPLY)
		return true;
	c->h.flags = F_REPLY | (error ? F_ERROR : 0);
	c->h.error = (uint32_t)-error;
	if (error)
		c->n = 0;
	c->h.size = (uint32_t)sizeof(c->h) + c->n;
	return transmit(c, &c->h, sizeof(c->h)) && transmit(c, c->body, c->n);
}

static bool serve_one(struct connection *c)
{
	int error;

	if (!receive(c, &c->h, sizeof(c->h)))
		return false;
	if (c->h.size < sizeof(c->h) || c->h.size - sizeof(c->h) > BODY_MAX ||
	    (c->h.flags & F_TYPE)) {
		fprintf(stderr,
			"dsa-model: a message of %u bytes, type %u: connection closed\n",
			c->h.size, c->h.flags & F_TYPE);
		return false;
	}
	c->n = c->h.size - (uint32_t)sizeof(c->h);
	memset(c->body, 0, sizeof(c->unmap) + sizeof(c->map));
	if (!receive(c, c->body, c->n))
		return false;
	error = dispatch(c);
	return reply(c, error);
}

void vfio_user_serve(struct device *d, int fd)
{
	struct connection c = { .d = d, .socket = fd };

	while (serve_one(&c))
		fds_close(&c);
	fds_close(&c);
	close(fd);
	/* Nothing of the guest may be touched any more, by whatever is under way. */
	device_reset(d, true);
	pthread_mutex_lock(&d->lock);
	irq_clear(&d->irq);
	pthread_mutex_unlock(&d->lock);
	mem_end(&d->mem);
	iommu_init(&d->iommu, &d->mem, d->options.viommu);
}
