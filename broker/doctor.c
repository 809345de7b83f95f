// SPDX-License-Identifier: GPL-2.0-only
/*
 * doctor.c - see doctor.h.  Each check is a function of the snapshot alone.
 */
#include "doctor.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* What the kernel module is tested on, and needs: docs/kernel.md. */
#define KERNEL_MAJOR 6
#define KERNEL_MINOR 12
/* Since when the driver has the restriction of INTEL-SA-01084, released kernels. */
#define SAFE_MAJOR 6
#define SAFE_MINOR 10

/* Add a finding; its cure is set by the caller, if there is one. */
__attribute__((format(printf, 4, 5))) static char *
found(struct doctor_report *r, enum doctor_level level, const char *check, const char *fmt, ...)
{
	/* The last place is taken again and again: the counts still say how many there are. */
	struct doctor_finding *f = &r->finding[r->n < DOCTOR_FINDINGS ? r->n++ : r->n - 1];
	va_list ap;

	*f = (struct doctor_finding){ .level = level, .check = check };
	r->count[level]++;
	va_start(ap, fmt);
	vsnprintf(f->text, sizeof(f->text), fmt, ap);
	va_end(ap);
	return f->cure;
}

__attribute__((format(printf, 2, 3))) static void cure(char *of, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(of, DOCTOR_TEXT, fmt, ap);
	va_end(ap);
}

static bool kernel_before(const struct doctor_host *h, unsigned int major, unsigned int minor)
{
	return h->major < major || (h->major == major && h->minor < minor);
}

/* --------------------------------------------------------------- kernel and CPU */

static void check_kernel(const struct doctor_host *h, struct doctor_report *r)
{
	if (kernel_before(h, KERNEL_MAJOR, KERNEL_MINOR))
		cure(found(r, DOCTOR_WARN, "kernel",
			   "Linux %s: accelmux.ko needs %d.%d or later", h->release,
			   KERNEL_MAJOR, KERNEL_MINOR),
		     "a newer kernel; programs are served without it");
	else
		found(r, DOCTOR_OK, "kernel", "Linux %s", h->release);
}

static void check_cpu(const struct doctor_host *h, struct doctor_report *r)
{
	if (!h->movdir64b)
		cure(found(r, h->idxd_loaded ? DOCTOR_WARN : DOCTOR_BAD, "cpu",
			   "the CPU has no MOVDIR64B (/proc/cpuinfo), by which work reaches a "
			   "dedicated WQ"),
		     "a CPU with DSA (4th generation Xeon or later), or a hypervisor that "
		     "passes the instruction on");
	if (!h->enqcmd)
		cure(found(r, DOCTOR_WARN, "cpu",
			   "the CPU has no ENQCMD (/proc/cpuinfo), by which work reaches a "
			   "shared WQ"),
		     "accelmux setup --user-mode dedicated, which is the default");
	if (h->movdir64b && h->enqcmd)
		found(r, DOCTOR_OK, "cpu", "MOVDIR64B and ENQCMD");
}

/* ------------------------------------------------------------- driver and devices */

static void check_driver(const struct doctor_host *h, struct doctor_report *r)
{
	if (h->idxd_error[0])
		cure(found(r, DOCTOR_BAD, "device", "the devices cannot be read: %s",
			   h->idxd_error),
		     "run it as root");
	else if (h->idxd.n_devices)
		return;
	else if (!h->pci_devices)
		cure(found(r, DOCTOR_BAD, "device", "no DSA device on the PCI bus"),
		     "enable it in the firmware (some parts need it licensed); without one the "
		     "broker has its software engine");
	else if (h->idxd_loaded)
		cure(found(r, DOCTOR_BAD, "device",
			   "%u DSA device%s on the PCI bus, but idxd took none", h->pci_devices,
			   h->pci_devices > 1 ? "s" : ""),
		     "dmesg | grep idxd says why");
	else if (h->idxd_built == DOCTOR_NO)
		cure(found(r, DOCTOR_BAD, "device",
			   "this kernel has no driver for its %u DSA devices", h->pci_devices),
		     "a kernel with CONFIG_INTEL_IDXD");
	else
		cure(found(r, DOCTOR_BAD, "device", "the driver idxd is not loaded"),
		     "modprobe idxd");
}

static unsigned int wqs_enabled(const struct idxd_device *dev, enum idxd_type type)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < dev->n_wqs; i++)
		n += dev->wq[i].enabled && dev->wq[i].type == type;
	return n;
}

static void check_device(const struct idxd_device *dev, struct doctor_report *r)
{
	unsigned int kernel = wqs_enabled(dev, IDXD_TYPE_KERNEL);
	unsigned int user = wqs_enabled(dev, IDXD_TYPE_USER);

	if (!dev->configurable)
		cure(found(r, DOCTOR_WARN, "device", "%s: its configuration is fixed",
			   dev->name),
		     "whoever gave it to this host (firmware, hypervisor) must lay it out");
	if (!dev->enabled)
		cure(found(r, DOCTOR_BAD, "device", "%s is disabled", dev->name),
		     "accelmux setup --devices %s", dev->name);
	else if (!kernel && !user)
		cure(found(r, DOCTOR_BAD, "device", "%s has no enabled WQ", dev->name),
		     "accelmux setup --devices %s", dev->name);
	else
		found(r, DOCTOR_OK, "device",
		      "%s: node %d, %u engines, %u kernel WQs, %u user WQs", dev->name,
		      dev->node, dev->n_engines, kernel, user);
}

static void check_numa(const struct doctor_host *h, struct doctor_report *r)
{
	unsigned long with = 0;
	unsigned int i;

	for (i = 0; i < h->idxd.n_devices; i++) {
		/* Where it is not known every node could be its own. */
		if (h->idxd.device[i].node < 0)
			return;
		with |= 1ul << h->idxd.device[i].node % 64;
	}
	for (i = 0; with && i < 8 * sizeof(with); i++)
		if (h->nodes & ~with & 1ul << i)
			cure(found(r, DOCTOR_WARN, "numa",
				   "node %u has memory and no DSA device: its copies cross "
				   "nodes",
				   i),
			     "enable one there in the firmware, if the socket has any");
}

/* ------------------------------------------------------------------ IOMMU, SVA */

static void check_sva(const struct doctor_host *h, const struct idxd_device *dev,
		      struct doctor_report *r)
{
	char *c;

	if (dev->pasid) {
		found(r, DOCTOR_OK, "sva", "%s: the IOMMU translates by PASID", dev->name);
		return;
	}
	c = found(r, DOCTOR_WARN, "sva",
		  "%s: no shared virtual addresses (PASIDs are off): no user WQs, programs are "
		  "served by software",
		  dev->name);
	if (h->idxd_svm == DOCTOR_NO)
		cure(c, "a kernel with CONFIG_INTEL_IDXD_SVM");
	else if (!h->sm_on)
		cure(c, "boot with intel_iommu=on,sm_on on the kernel's command line%s",
		     h->iommu ? "" : ", VT-d enabled in the firmware");
	else if (!h->iommu)
		cure(c, "enable VT-d in the firmware");
	else
		cure(c, "dmesg | grep -e DMAR -e idxd says why; the firmware may hide scalable "
			"mode");
}

static void check_iommu(const struct doctor_host *h, unsigned int i, struct doctor_report *r)
{
	const char *type = h->device[i].iommu_type;

	if (h->swiotlb_force)
		cure(found(r, DOCTOR_WARN, "iommu",
			   "%s: swiotlb=force copies what the kernel gives it once more, by "
			   "CPU",
			   h->idxd.device[i].name),
		     "boot without swiotlb=force");
	if (strncmp(type, "DMA", 3))
		return;
	cure(found(r, DOCTOR_WARN, "iommu",
		   "%s: the IOMMU maps each copy of the kernel (domain type %s), which costs "
		   "CPU time",
		   h->idxd.device[i].name, type),
	     "boot with iommu=pt if its devices are trusted");
}

/* ------------------------------------------------------- INTEL-SA-01084, nodes */

static bool broker_in_group(const struct doctor_host *h, gid_t gid)
{
	for (unsigned int i = 0; i < h->n_broker_groups; i++)
		if (h->broker_group[i] == gid)
			return true;
	return false;
}

static bool broker_may_open(const struct doctor_host *h, const struct doctor_node *node)
{
	if (!h->broker_uid)
		return true;
	if (h->broker_uid == node->uid)
		return (node->mode & 0600) == 0600;
	if (broker_in_group(h, node->gid))
		return (node->mode & 0060) == 0060;
	return (node->mode & 0006) == 0006;
}

static void check_nodes(const struct doctor_host *h, unsigned int i, struct doctor_report *r)
{
	const struct idxd_device *dev = &h->idxd.device[i];

	for (unsigned int k = 0; k < dev->n_wqs; k++) {
		const struct doctor_node *node = &h->device[i].node[k];

		if (!dev->wq[k].enabled || dev->wq[k].type != IDXD_TYPE_USER)
			continue;
		if (!node->there)
			cure(found(r, DOCTOR_BAD, "node",
				   "/dev/dsa/wq%u.%u is missing, though that WQ is enabled",
				   dev->id, dev->wq[k].id),
			     "mount devtmpfs on /dev, or let udev make it");
		else if (node->mode & 0006)
			cure(found(r, DOCTOR_WARN, "node",
				   "/dev/dsa/wq%u.%u: mode %04o: everybody can submit past the "
				   "broker",
				   dev->id, dev->wq[k].id, (unsigned int)node->mode & 07777),
			     "chmod 0660 /dev/dsa/wq%u.%u", dev->id, dev->wq[k].id);
		else if (h->broker_pid && !broker_may_open(h, node))
			cure(found(r, DOCTOR_BAD, "node",
				   "/dev/dsa/wq%u.%u: uid %u, gid %u, mode %04o: the broker "
				   "(uid "
				   "%u) cannot open it",
				   dev->id, dev->wq[k].id, (unsigned int)node->uid,
				   (unsigned int)node->gid, (unsigned int)node->mode & 07777,
				   (unsigned int)h->broker_uid),
			     "accelmux setup --group GROUP, with the broker's group");
	}
}

/* Portals: who may map them, whether batches may be written. */
static void check_portal(const struct doctor_host *h, unsigned int i, struct doctor_report *r)
{
	const struct idxd_device *dev = &h->idxd.device[i];
	const char *batch = h->device[i].batch ? "" : ", and batches only by a mapped portal";

	if (!wqs_enabled(dev, IDXD_TYPE_USER))
		return;
	if (h->device[i].batch && kernel_before(h, SAFE_MAJOR, SAFE_MINOR)) {
		cure(found(r, DOCTOR_WARN, "portal",
			   "%s: Linux %s may lack the restriction of INTEL-SA-01084 "
			   "(CVE-2024-21823): programs with a user WQ could do harm",
			   dev->name, h->release),
		     "a newer kernel; give user WQs to the broker alone");
		return;
	}
	if (h->broker_pid && h->broker_rawio)
		found(r, DOCTOR_OK, "portal",
		      "%s: INTEL-SA-01084: portals need CAP_SYS_RAWIO, which the broker has",
		      dev->name);
	else
		cure(found(r, DOCTOR_WARN, "portal",
			   "%s: INTEL-SA-01084 (CVE-2024-21823): portals are mapped with "
			   "CAP_SYS_RAWIO alone%s%s",
			   dev->name, batch,
			   h->broker_pid ? "; the broker has to write() each descriptor" : ""),
		     "run the broker with it: AmbientCapabilities=CAP_SYS_RAWIO in its unit");
}

/* ------------------------------------------------------------------------ layout */

/* An enabled WQ that is not of the record: whoever has it goes past the broker. */
static void check_stray(const struct idxd_device *dev, const struct idxd_device *plan,
			struct doctor_report *r)
{
	for (unsigned int i = 0; i < dev->n_wqs; i++) {
		const struct idxd_wq *wq = &dev->wq[i];
		const struct idxd_wq *of = plan ? layout_wq(plan, wq->id) : NULL;

		if (!wq->enabled || (of && layout_used(of)))
			continue;
		cure(found(r, wq->clients > 0 ? DOCTOR_BAD : DOCTOR_WARN, "arbitration",
			   "%s: wq%u.%u (%s, '%s', %d client%s) is nobody's to arbitrate: not "
			   "laid out by accelmux",
			   dev->name, dev->id, wq->id,
			   wq->type == IDXD_TYPE_KERNEL ? "kernel" : "user", wq->name,
			   wq->clients, wq->clients == 1 ? "" : "s"),
		     "accel-config disable-wq %s/wq%u.%u, then accelmux setup", dev->name,
		     dev->id, wq->id);
	}
}

/* Channels of the layout that somebody else's client has. */
static void check_taken(const struct doctor_host *h, const struct idxd_device *dev,
			struct doctor_report *r)
{
	for (unsigned int i = 0; i < dev->n_wqs && !h->module_loaded; i++)
		if (dev->wq[i].enabled && dev->wq[i].type == IDXD_TYPE_KERNEL &&
		    dev->wq[i].clients > 0)
			cure(found(r, DOCTOR_BAD, "arbitration",
				   "%s: the channel of wq%u.%u is taken, not by accelmux.ko, "
				   "which is not loaded",
				   dev->name, dev->id, dev->wq[i].id),
			     "unload what took it (/sys/class/dma/*/in_use), then modprobe "
			     "accelmux");
}

static void check_recorded(const struct doctor_host *h, const struct idxd_device *plan,
			   struct doctor_report *r)
{
	const struct idxd_device *dev = idxd_find(&h->idxd, plan->name);
	char why[200];
	bool good;

	if (!dev) {
		cure(found(r, DOCTOR_BAD, "layout", "%s was laid out, and is gone", plan->name),
		     "accelmux setup --undo --devices %s forgets it", plan->name);
		return;
	}
	good = layout_same(dev, plan, why, sizeof(why));
	if (!good)
		cure(found(r, DOCTOR_BAD, "layout", "%s is not as it was laid out: %s",
			   plan->name, why),
		     "accelmux setup --replace --devices %s, once nobody uses it", plan->name);
	for (unsigned int i = 0; i < h->record.n_channels && good; i++) {
		const struct layout_channel *c = &h->record.channel[i];

		good = strcmp(c->device, plan->name) || !h->channel_lost[i];
		if (!good)
			cure(found(r, DOCTOR_BAD, "layout",
				   "%s: wq%u.%u was disabled and enabled anew: channel %u is "
				   "not "
				   "its any more",
				   plan->name, dev->id, c->wq, c->index),
			     "accelmux setup --devices %s, once nobody uses it", plan->name);
	}
	if (good)
		found(r, DOCTOR_OK, "layout", "%s is as it was laid out", plan->name);
	check_taken(h, dev, r);
}

static void check_layout(const struct doctor_host *h, struct doctor_report *r)
{
	const struct idxd_device *dev;
	unsigned int i;

	if (h->record_error && h->record_error != -ENOENT)
		cure(found(r, DOCTOR_BAD, "layout", "%s", h->record_text),
		     "remove it, then accelmux setup");
	else if (!h->record.plan.n_devices && h->idxd.n_devices)
		cure(found(r, DOCTOR_WARN, "layout",
			   "no record of a layout (" LAYOUT_RECORD "): which channel is which "
			   "engine is not known"),
		     "accelmux setup");
	for (i = 0; i < h->record.plan.n_devices; i++)
		check_recorded(h, &h->record.plan.device[i], r);
	for (i = 0; i < h->idxd.n_devices; i++) {
		dev = &h->idxd.device[i];
		check_stray(dev, idxd_find(&h->record.plan, dev->name), r);
	}
}

/* ------------------------------------------------------------- module and broker */

static bool have_kernel_wqs(const struct doctor_host *h)
{
	for (unsigned int i = 0; i < h->idxd.n_devices; i++)
		if (wqs_enabled(&h->idxd.device[i], IDXD_TYPE_KERNEL))
			return true;
	return false;
}

static void check_module(const struct doctor_host *h, struct doctor_report *r)
{
	bool share = !strcmp(h->module_default, "share");

	if (!h->module_loaded && h->module_said[0]) {
		cure(found(r, DOCTOR_BAD, "module", "accelmux.ko is not loaded; it said: %s",
			   h->module_said),
		     "docs/kernel.md, Conflicts and removal");
		return;
	}
	if (!h->module_loaded) {
		cure(found(r, DOCTOR_WARN, "module",
			   "accelmux.ko is not loaded: the kernel's migrations stay on the "
			   "CPU"),
		     "%s",
		     h->module_built == DOCTOR_NO
			     ? "make install-kmod, dkms install accelmux/VERSION, modprobe "
			       "accelmux"
			     : "modprobe accelmux");
		return;
	}
	if (h->module_channels == 0 && have_kernel_wqs(h))
		cure(found(r, DOCTOR_WARN, "module",
			   "accelmux.ko is loaded and holds no channel (default=%s)",
			   h->module_default),
		     "kernel = device:/dev/accelmux in the broker's configuration");
	else if (h->broker_error && !share)
		found(r, DOCTOR_OK, "module",
		      "accelmux.ko is loaded; without a broker nothing is granted (default=%s)",
		      h->module_default);
	else
		found(r, DOCTOR_OK, "module", "accelmux.ko is loaded, default=%s%s",
		      h->module_default, share ? ", which needs no broker" : "");
}

static void check_broker(const struct doctor_host *h, struct doctor_report *r)
{
	if (!h->broker_error)
		found(r, DOCTOR_OK, "broker", "%s: the broker listens (pid %d)", h->socket,
		      h->broker_pid);
	else if (h->broker_error == EACCES || h->broker_error == EPERM)
		cure(found(r, DOCTOR_BAD, "broker", "%s: %s", h->socket,
			   strerror(h->broker_error)),
		     "run it as root, or as a member of the socket's group");
	else
		cure(found(r, DOCTOR_BAD, "broker", "%s: no broker listens there (%s)",
			   h->socket, strerror(h->broker_error)),
		     "start accelmuxd (systemctl start accelmuxd)");
}

/* The host's broker as a service: a user's own needs neither unit nor group. */
static void check_service(const struct doctor_host *h, struct doctor_report *r)
{
	if (!h->systemd)
		return;
	if (!h->unit)
		cure(found(r, DOCTOR_WARN, "service",
			   "accelmuxd.service is not installed: no broker is started at boot"),
		     "make install, then systemctl enable --now accelmuxd");
	else if (!h->group)
		cure(found(r, DOCTOR_BAD, "service",
			   "there is no group accelmux: accelmuxd.service cannot run as it"),
		     "systemd-sysusers, and systemd-tmpfiles --create");
	else if (!h->unit_enabled)
		cure(found(r, DOCTOR_WARN, "service",
			   "accelmuxd.service is installed, but not started at boot"),
		     "systemctl enable accelmuxd");
	else
		found(r, DOCTOR_OK, "service", "accelmuxd.service is started at boot");
}

static void check_sockets(const struct doctor_host *h, struct doctor_report *r)
{
	if (h->control.there && (h->control.mode & 0002))
		cure(found(r, DOCTOR_BAD, "socket",
			   "/run/accelmux/control.sock: mode %04o: everybody may operate the "
			   "broker",
			   (unsigned int)h->control.mode & 07777),
		     "chmod 0660 /run/accelmux/control.sock");
	if (!h->session.there || h->broker_error)
		return;
	if ((h->session.mode & 0002))
		found(r, DOCTOR_OK, "socket",
		      "/run/accelmux/accelmux.sock: every local user may connect");
	else
		cure(found(r, DOCTOR_WARN, "socket",
			   "/run/accelmux/accelmux.sock: mode %04o, uid %u, gid %u: nobody "
			   "else "
			   "may connect",
			   (unsigned int)h->session.mode & 07777, (unsigned int)h->session.uid,
			   (unsigned int)h->session.gid),
		     "clients = all in the broker's configuration, and a restart, if they "
		     "shall");
}

static void check_memory(const struct doctor_host *h, struct doctor_report *r)
{
	if (h->hugepages)
		found(r, DOCTOR_OK, "memory", "%lu huge pages of 2 MiB", h->hugepages);
	else
		cure(found(r, DOCTOR_OK, "memory",
			   "no huge pages are reserved; regions of them have fewer page "
			   "faults"),
		     "sysctl vm.nr_hugepages=N, if programs want them");
}

void doctor_check(const struct doctor_host *host, struct doctor_report *out)
{
	unsigned int i;

	memset(out, 0, sizeof(*out));
	check_kernel(host, out);
	check_cpu(host, out);
	check_driver(host, out);
	for (i = 0; i < host->idxd.n_devices; i++) {
		check_device(&host->idxd.device[i], out);
		check_sva(host, &host->idxd.device[i], out);
		check_iommu(host, i, out);
		check_portal(host, i, out);
		check_nodes(host, i, out);
	}
	check_layout(host, out);
	check_numa(host, out);
	check_module(host, out);
	check_broker(host, out);
	check_service(host, out);
	check_sockets(host, out);
	check_memory(host, out);
}
