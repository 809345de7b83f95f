// SPDX-License-Identifier: GPL-2.0-only
/*
 * kmod_link.c - see kmod_link.h.
 */
#include "kmod_link.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define GRANT_PAGE (AMUX_GRANT_MAP_BYTES / 2)

static const char *open_why(int error)
{
	switch (error) {
	case ENOENT:
	case ENODEV:
	case ENXIO:
		return "no such device: is accelmux.ko loaded?";
	case EACCES:
	case EPERM:
		return "not permitted: the kernel side needs root (CAP_SYS_ADMIN)";
	case EBUSY:
		return "another broker holds it";
	default:
		return strerror(error);
	}
}

static int fail(char *err, size_t errlen, const char *path, const char *what, int error)
{
	snprintf(err, errlen, "%s: %s: %s", path, what, strerror(error));
	return -error;
}

/* Both pages side by side: the grant to be written, the demand to be read alone. */
static int pages_map(struct kmod_link *k)
{
	char *base =
		mmap(NULL, AMUX_GRANT_MAP_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (base == MAP_FAILED)
		return -errno;
	k->map = base;
	if (mmap(base, GRANT_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, k->fd, 0) ==
		    MAP_FAILED ||
	    mmap(base + GRANT_PAGE, GRANT_PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, k->fd,
		 GRANT_PAGE) == MAP_FAILED)
		return -errno;
	return 0;
}

static int device_acquire(struct kmod_link *k, const struct device *dev, unsigned int i,
			  int node)
{
	struct amux_acquire a = {
		.dev = i,
		.node = dev->pci_id ? -1 : node,
		.pci_id = dev->pci_id,
		.max_channels = dev->engines,
	};

	if (ioctl(k->fd, AMUX_IOC_ACQUIRE, &a))
		return -errno;
	if (a.n_channels > k->had[i])
		k->had[i] = a.n_channels;
	return (int)a.n_channels;
}

/*
 * Each device gets channels of its own node; what is left then goes to those that got none: a
 * DMA device need not say where it is.
 */
static int channels_acquire(struct kmod_link *k, struct device *const *dev, unsigned int n)
{
	bool served[AMUX_GRANT_DEVS] = { false };

	for (int own = 1; own >= 0; own--) {
		for (unsigned int i = 0; i < n; i++) {
			int got;

			if (served[i] || (own && dev[i]->node < 0 && !dev[i]->pci_id))
				continue;
			got = device_acquire(k, dev[i], i, own ? dev[i]->node : -1);
			if (got < 0 && got != -ENODEV)
				return got;
			if (got >= 0) {
				k->n_channels += (unsigned int)got;
				served[i] = true;
			}
		}
	}
	return 0;
}

int kmod_link_open(struct kmod_link *k, const char *path, struct device *const *dev,
		   unsigned int n_devs, char *err, size_t errlen)
{
	struct amux_hello hello = { .version = AMUX_GRANT_VERSION };
	int ret;

	*k = (struct kmod_link){ .fd = open(path, O_RDWR | O_CLOEXEC) };
	if (k->fd < 0) {
		ret = -errno;
		snprintf(err, errlen, "%s: %s", path, open_why(errno));
		return ret;
	}
	if (ioctl(k->fd, AMUX_IOC_HELLO, &hello)) {
		ret = fail(err, errlen, path,
			   errno == ENOTTY
				   ? "not the device of accelmux.ko"
				   : "the module speaks another version of the grant ABI",
			   errno);
		goto close;
	}
	ret = pages_map(k);
	if (ret) {
		fail(err, errlen, path, "cannot map the grant page", -ret);
		goto close;
	}
	ret = channels_acquire(k, dev, n_devs < AMUX_GRANT_DEVS ? n_devs : AMUX_GRANT_DEVS);
	if (ret) {
		fail(err, errlen, path, "cannot acquire DMA channels", -ret);
		goto close;
	}
	return 0;

close:
	kmod_link_close(k);
	return ret;
}

int kmod_link_attach(struct kmod_link *k, const char *path, char *err, size_t errlen)
{
	if (ioctl(k->fd, AMUX_IOC_ATTACH))
		return fail(err, errlen, path, "cannot attach", errno);
	return 0;
}

bool kmod_link_renew(struct kmod_link *k, struct device *const *dev, unsigned int n)
{
	bool missing = false;

	for (unsigned int i = 0; i < n && i < AMUX_GRANT_DEVS; i++) {
		struct amux_info info = { .dev = i };
		int got;

		if (ioctl(k->fd, AMUX_IOC_INFO, &info) || info.n_channels >= dev[i]->engines)
			continue;
		/* What was never there is asked for only when something has happened. */
		got = device_acquire(k, dev[i], i, dev[i]->node);
		missing |= (got < 0 ? 0 : (unsigned int)got) < k->had[i];
	}
	return missing;
}

void kmod_link_close(struct kmod_link *k)
{
	if (k->map)
		munmap(k->map, AMUX_GRANT_MAP_BYTES);
	k->map = NULL;
	if (k->fd >= 0)
		close(k->fd);
	k->fd = -1;
}
