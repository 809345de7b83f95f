// SPDX-License-Identifier: GPL-2.0-only
/*
 * dsa_portal.c - see dsa_portal.h.
 */
#include "dsa_portal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include "../client/barrier.h"
#include "fault_fixup.h"

#define PORTAL_BYTES 4096u
#define SLOT_BYTES   64u

#define CPUID7_ECX_MOVDIR64B (1u << 28)
#define CPUID7_ECX_ENQCMD    (1u << 29)

bool dsa_cpu_has(enum dsa_submit how)
{
#if defined(__x86_64__)
	unsigned int a, b, c, d;

	if (how == DSA_WRITE)
		return true;
	if (!__get_cpuid_count(7, 0, &a, &b, &c, &d))
		return false;
	return c & (how == DSA_ENQCMD ? CPUID7_ECX_ENQCMD : CPUID7_ECX_MOVDIR64B);
#else
	return how == DSA_WRITE;
#endif
}

#if defined(__x86_64__)
/* As bytes: assemblers and compilers without the instructions can build this, too. */
static int store_movdir64b(void *slot, const struct dsa_hw_desc *desc)
{
	__asm__ __volatile__(".byte 0x66, 0x0f, 0x38, 0xf8, 0x02" /* movdir64b (%rdx), %rax */
			     :
			     : "a"(slot), "d"(desc)
			     : "memory");
	return 1;
}

static int store_enqcmd(void *slot, const struct dsa_hw_desc *desc)
{
	uint8_t retry;

	__asm__ __volatile__(".byte 0xf2, 0x0f, 0x38, 0xf8, 0x02\n\t" /* enqcmd (%rdx), %rax */
			     "setz %0"
			     : "=q"(retry)
			     : "a"(slot), "d"(desc)
			     : "memory", "cc");
	return !retry;
}
#else
static int store_movdir64b(void *slot, const struct dsa_hw_desc *desc)
{
	(void)slot;
	(void)desc;
	return -EOPNOTSUPP;
}
#define store_enqcmd store_movdir64b
#endif

int dsa_portal_open(struct dsa_portal *p, const char *path, enum dsa_submit how, bool force,
		    char *err, size_t errlen)
{
	int ret;

	*p = (struct dsa_portal){ .fd = -1 };
	if (!force && !dsa_cpu_has(how)) {
		snprintf(err, errlen, "the CPU does not have %s", dsa_submit_names[how]);
		return -EOPNOTSUPP;
	}
	/* The driver knows no blocking; whatever else is there must not hold the mux up. */
	p->fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (p->fd < 0) {
		ret = -errno;
		snprintf(err, errlen, "%s: %s", path,
			 errno == EBUSY	   ? "another program has it open"
			 : errno == EACCES ? "not permitted: expected to be root, or its owner"
			 : errno == EOPNOTSUPP ? "the IOMMU offers no SVA"
					       : strerror(errno));
		return ret;
	}
	if (how == DSA_WRITE)
		return 0;
	p->page = mmap(NULL, PORTAL_BYTES, PROT_WRITE, MAP_SHARED | MAP_POPULATE, p->fd, 0);
	if (p->page == MAP_FAILED) {
		ret = -errno;
		p->page = NULL;
		snprintf(err, errlen, "%s: its portal cannot be mapped: %s", path,
			 errno == EPERM
				 ? "not permitted: expected CAP_SYS_RAWIO on this device "
				   "(INTEL-SA-01084), or submit = write"
				 : strerror(errno));
		dsa_portal_close(p);
		return ret;
	}
	p->store = how == DSA_ENQCMD ? store_enqcmd : store_movdir64b;
	return 0;
}

struct put {
	const struct dsa_portal *portal;
	const struct dsa_hw_desc *desc;
	volatile int taken;
};

static void do_put(void *arg)
{
	struct put *put = arg;

	put->taken = put->portal->store(put->portal->page + put->portal->slot, put->desc);
}

static int put_mapped(struct dsa_portal *p, const struct dsa_hw_desc *desc)
{
	struct put put = { .portal = p, .desc = desc };
	struct fixup_fault fault;

	p->slot = (p->slot + SLOT_BYTES) % PORTAL_BYTES;
	/* Neither instruction waits for earlier stores: the zeroed record must be there first. */
	amux_nt_fence();
	if (fixup_run(do_put, &put, &fault))
		return fault.illegal ? -EOPNOTSUPP : -ENXIO;
	return put.taken;
}

static int put_written(struct dsa_portal *p, const struct dsa_hw_desc *desc)
{
	ssize_t n;

	/* The stock driver does not look, and falls over the portal that it has given up. */
	if (dsa_portal_gone(p))
		return -ENXIO;
	n = write(p->fd, desc, sizeof(*desc));
	if (n == (ssize_t)sizeof(*desc))
		return 1;
	if (n >= 0 || errno == EAGAIN || errno == EINTR)
		return 0;
	return -errno;
}

int dsa_portal_put(struct dsa_portal *p, const struct dsa_hw_desc *desc)
{
	return p->page ? put_mapped(p, desc) : put_written(p, desc);
}

bool dsa_portal_gone(const struct dsa_portal *p)
{
	struct stat st;

	return p->fd >= 0 && !fstat(p->fd, &st) && !st.st_nlink;
}

void dsa_portal_unmap(struct dsa_portal *p)
{
	if (p->page)
		munmap(p->page, PORTAL_BYTES);
	p->page = NULL;
}

void dsa_portal_close(struct dsa_portal *p)
{
	dsa_portal_unmap(p);
	if (p->fd >= 0)
		close(p->fd);
	p->fd = -1;
}
