// SPDX-License-Identifier: GPL-2.0-only
/*
 * cli_doctor_host.c - the snapshot of this host that doctor judges.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/idxd.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "cli_doctor.h"

/* PCI functions that idxd drives as DSA (its table of ids): SPR and later, GNR-D, DMR. */
static const char *const pci_ids[] = { "0x0b25", "0x11fb", "0x1212" };

/* The first line of a file, without its end; false and "": there is none to read. */
__attribute__((format(printf, 3, 4))) static bool line_of(char *to, size_t len, const char *fmt,
							  ...)
{
	char path[PATH_MAX];
	va_list ap;
	bool good;
	FILE *f;

	va_start(ap, fmt);
	vsnprintf(path, sizeof(path), fmt, ap);
	va_end(ap);
	f = fopen(path, "re");
	good = f && fgets(to, (int)len, f);
	if (!good)
		to[0] = '\0';
	to[strcspn(to, "\n")] = '\0';
	if (f)
		fclose(f);
	return good;
}

/* Is @word one of the blank-separated words of @line? */
static bool has_word(const char *line, const char *word)
{
	size_t n = strlen(word);

	for (const char *p = strstr(line, word); p; p = strstr(p + 1, word))
		if ((p == line || strchr(" \t,", p[-1])) && (!p[n] || strchr(" \t\n,", p[n])))
			return true;
	return false;
}

/* Does a line of @path hold @text?  UNKNOWN: it cannot be read. */
static enum doctor_known grep(const char *path, const char *text)
{
	enum doctor_known found = DOCTOR_NO;
	char *line = NULL;
	size_t size = 0;
	FILE *f = fopen(path, "re");

	if (!f)
		return DOCTOR_UNKNOWN;
	while (found == DOCTOR_NO && getline(&line, &size, f) > 0)
		if (strstr(line, text))
			found = DOCTOR_YES;
	free(line);
	fclose(f);
	return found;
}

/* -------------------------------------------------------------------- the kernel */

static enum doctor_known module_built(const struct doctor_host *h, const char *name)
{
	enum doctor_known modular, builtin;
	char path[PATH_MAX], text[64];

	snprintf(text, sizeof(text), "/%s.ko", name);
	snprintf(path, sizeof(path), "/lib/modules/%s/modules.dep", h->release);
	modular = grep(path, text);
	snprintf(path, sizeof(path), "/lib/modules/%s/modules.builtin", h->release);
	builtin = grep(path, text);
	if (modular == DOCTOR_YES || builtin == DOCTOR_YES)
		return DOCTOR_YES;
	return modular == DOCTOR_NO ? DOCTOR_NO : DOCTOR_UNKNOWN;
}

static void cpu_read(struct doctor_host *h)
{
	FILE *f = fopen("/proc/cpuinfo", "re");
	char *line = NULL;
	size_t size = 0;

	while (f && getline(&line, &size, f) > 0) {
		if (strncmp(line, "flags", 5))
			continue;
		h->movdir64b = has_word(line, "movdir64b");
		h->enqcmd = has_word(line, "enqcmd");
		break;
	}
	free(line);
	if (f)
		fclose(f);
}

static bool directory_has_entries(const char *path)
{
	DIR *dir = opendir(path);
	bool some = false;
	struct dirent *d;

	while (dir && !some && (d = readdir(dir)))
		some = d->d_name[0] != '.';
	if (dir)
		closedir(dir);
	return some;
}

static void kernel_read(struct doctor_host *h)
{
	char cmdline[4096], path[PATH_MAX], *swiotlb;
	struct utsname u;

	uname(&u);
	snprintf(h->release, sizeof(h->release), "%.63s", u.release);
	sscanf(u.release, "%u.%u", &h->major, &h->minor);
	cpu_read(h);
	h->idxd_loaded = !access("/sys/bus/dsa/drivers/idxd", F_OK);
	h->idxd_built = module_built(h, "idxd");
	snprintf(path, sizeof(path), "/boot/config-%s", h->release);
	h->idxd_svm = grep(path, "CONFIG_INTEL_IDXD_SVM=y");
	h->iommu = directory_has_entries("/sys/class/iommu");
	line_of(cmdline, sizeof(cmdline), "/proc/cmdline");
	h->sm_on = has_word(cmdline, "sm_on") || strstr(cmdline, "intel_iommu=sm_on") ||
		   grep(path, "CONFIG_INTEL_IOMMU_SCALABLE_MODE_DEFAULT_ON=y") == DOCTOR_YES;
	swiotlb = strstr(cmdline, "swiotlb=");
	if (swiotlb) {
		swiotlb[strcspn(swiotlb, " ")] = '\0';
		h->swiotlb_force = has_word(swiotlb + strlen("swiotlb="), "force");
	}
}

static void pci_read(struct doctor_host *h)
{
	DIR *dir = opendir("/sys/bus/pci/devices");
	struct dirent *d;
	char id[16];

	while (dir && (d = readdir(dir))) {
		line_of(id, sizeof(id), "/sys/bus/pci/devices/%s/vendor", d->d_name);
		if (strcmp(id, "0x8086"))
			continue;
		line_of(id, sizeof(id), "/sys/bus/pci/devices/%s/device", d->d_name);
		for (size_t i = 0; i < sizeof(pci_ids) / sizeof(pci_ids[0]); i++)
			h->pci_devices += !strcmp(id, pci_ids[i]);
	}
	if (dir)
		closedir(dir);
}

/* "0-1,3" as a mask. */
static unsigned long mask_of(const char *list)
{
	unsigned long mask = 0, first, last;
	char *end;

	while (*list >= '0' && *list <= '9') {
		first = last = strtoul(list, &end, 10);
		if (*end == '-')
			last = strtoul(end + 1, &end, 10);
		for (; first <= last && first < 8 * sizeof(mask); first++)
			mask |= 1ul << first;
		list = *end == ',' ? end + 1 : end;
	}
	return mask;
}

static void memory_read(struct doctor_host *h)
{
	char line[256];

	if (line_of(line, sizeof(line), "/sys/devices/system/node/has_memory"))
		h->nodes = mask_of(line);
	if (line_of(line, sizeof(line),
		    "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"))
		h->hugepages = strtoul(line, NULL, 10);
}

/* ------------------------------------------------------------------- the devices */

static void node_read(struct doctor_node *node, const char *path)
{
	struct stat st;

	node->there = !stat(path, &st);
	if (!node->there)
		return;
	node->mode = st.st_mode;
	node->uid = st.st_uid;
	node->gid = st.st_gid;
}

static void device_read(struct doctor_device *to, const struct idxd_device *dev)
{
	const char *last;
	char line[256];

	/* 256 bits as hexadecimal words, the lowest one last. */
	line_of(line, sizeof(line), "/sys/bus/dsa/devices/%s/op_cap", dev->name);
	last = strrchr(line, ',');
	to->batch = !last || strtoul(last + 1, NULL, 16) >> DSA_OPCODE_BATCH & 1;
	line_of(to->iommu_type, sizeof(to->iommu_type),
		"/sys/bus/dsa/devices/%s/../iommu_group/type", dev->name);
	for (unsigned int i = 0; i < dev->n_wqs; i++) {
		snprintf(line, sizeof(line), "/dev/dsa/wq%u.%u", dev->id, dev->wq[i].id);
		node_read(&to->node[i], line);
	}
}

static void devices_read(struct doctor_host *h)
{
	const struct layout_channel *c;
	uint64_t inode;

	pci_read(h);
	h->idxd_error[0] = '\0';
	idxd_scan(&h->idxd, h->idxd_error, sizeof(h->idxd_error));
	for (unsigned int i = 0; i < h->idxd.n_devices; i++)
		device_read(&h->device[i], &h->idxd.device[i]);
	h->record_error = layout_record_read(LAYOUT_RECORD, &h->record, h->record_text,
					     sizeof(h->record_text));
	for (unsigned int i = 0; i < h->record.n_channels; i++) {
		c = &h->record.channel[i];
		h->channel_lost[i] = layout_channel_inode(c->name, &inode) || inode != c->inode;
	}
}

/* --------------------------------------------------------- the module, the broker */

/* The module's last line in the kernel's log that is not the one of a good start. */
static void module_log(struct doctor_host *h)
{
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	char record[8192], *text;
	ssize_t n;

	while (fd >= 0) {
		n = read(fd, record, sizeof(record) - 1);
		if (n < 0 && errno == EPIPE)
			continue; /* it was overwritten meanwhile */
		if (n <= 0)
			break;
		record[n] = '\0';
		text = strchr(record, ';');
		if (!text || strncmp(text + 1, "accelmux: ", 10))
			continue;
		text += 11;
		text[strcspn(text, "\n")] = '\0';
		if (strncmp(text, "batches of migrate_pages", 24))
			snprintf(h->module_said, sizeof(h->module_said), "%s", text);
		else
			h->module_said[0] = '\0';
	}
	if (fd >= 0)
		close(fd);
}

static int lines_with(const char *path, const char *text)
{
	FILE *f = fopen(path, "re");
	char line[256];
	int n = 0;

	if (!f)
		return -1;
	while (fgets(line, sizeof(line), f))
		n += strstr(line, text) != NULL;
	fclose(f);
	return n;
}

static void module_read(struct doctor_host *h)
{
	h->module_loaded = !access("/sys/module/accelmux", F_OK);
	h->module_built = module_built(h, "accelmux");
	line_of(h->module_default, sizeof(h->module_default),
		"/sys/module/accelmux/parameters/default");
	h->module_channels = lines_with("/sys/kernel/debug/accelmux/channels", " open ");
	module_log(h);
}

/* What @pid is allowed. */
static void process_read(struct doctor_host *h, int pid)
{
	unsigned long long caps;
	char path[64], line[1024], *p;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "CapEff: %llx", &caps) == 1)
			h->broker_rawio = caps >> CAP_SYS_RAWIO & 1;
		if (strncmp(line, "Gid:", 4) && strncmp(line, "Groups:", 7))
			continue;
		for (p = strtok(strchr(line, ':') + 1, " \t\n"); p; p = strtok(NULL, " \t\n"))
			if (h->n_broker_groups <
			    sizeof(h->broker_group) / sizeof(h->broker_group[0]))
				h->broker_group[h->n_broker_groups++] =
					(gid_t)strtoul(p, NULL, 10);
	}
	if (f)
		fclose(f);
}

static void broker_read(const struct cli *cli, struct doctor_host *h)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	char buf[256];
	const char *path = cli_control(cli, buf, sizeof(buf));
	struct ucred peer;
	socklen_t len = sizeof(peer);
	int fd;

	snprintf(h->socket, sizeof(h->socket), "%s", path);
	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&sun, sizeof(sun)) < 0) {
		h->broker_error = errno;
	} else if (!getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len)) {
		h->broker_pid = peer.pid;
		h->broker_uid = peer.uid;
		process_read(h, peer.pid);
	}
	if (fd >= 0)
		close(fd);
}

static void service_read(struct doctor_host *h)
{
	static const char *const units[] = { "/etc/systemd/system", "/run/systemd/system",
					     "/usr/local/lib/systemd/system",
					     "/usr/lib/systemd/system", "/lib/systemd/system" };
	char path[128];
	struct stat st;

	h->systemd = !access("/run/systemd/system", F_OK);
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		snprintf(path, sizeof(path), "%s/accelmuxd.service", units[i]);
		h->unit |= !access(path, F_OK);
	}
	/* A link, which may point anywhere. */
	h->unit_enabled =
		!lstat("/etc/systemd/system/multi-user.target.wants/accelmuxd.service", &st);
	h->group = getgrnam("accelmux") != NULL;
	node_read(&h->control, "/run/accelmux/control.sock");
	node_read(&h->session, "/run/accelmux/accelmux.sock");
}

void doctor_host_read(const struct cli *cli, struct doctor_host *h)
{
	memset(h, 0, sizeof(*h));
	kernel_read(h);
	memory_read(h);
	devices_read(h);
	module_read(h);
	broker_read(cli, h);
	service_read(h);
}
