/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * doctor.h - what is missing or wrong on a host for accelmux, and what helps: pure verdicts on a
 * snapshot of the host.  cli_doctor_host.c takes the snapshot.
 *
 * Owner: the caller; both are plain memory.  Thread: a command's only one.
 */
#ifndef BROKER_DOCTOR_H
#define BROKER_DOCTOR_H

#include <sys/types.h>

#include "layout_record.h"

#define DOCTOR_FINDINGS 256
#define DOCTOR_TEXT	320

enum doctor_known { DOCTOR_UNKNOWN = 0, DOCTOR_NO, DOCTOR_YES };

/* The node of a user WQ. */
struct doctor_node {
	bool there;
	mode_t mode;
	uid_t uid;
	gid_t gid;
};

struct doctor_device {
	bool batch;	     /* op_cap has BATCH: the driver lets users submit batches */
	char iommu_type[16]; /* of its group: "DMA-FQ", "identity"; "": no IOMMU */
	struct doctor_node node[IDXD_WQS]; /* by index in idxd_device.wq */
};

struct doctor_host {
	char release[64]; /* of the kernel: "6.12.1-amd64", and its first two numbers */
	unsigned int major, minor;
	bool movdir64b, enqcmd;
	unsigned int pci_devices; /* DSA functions on the PCI bus */
	bool idxd_loaded;
	enum doctor_known idxd_built; /* is there such a module, or is it built in? */
	enum doctor_known idxd_svm;   /* CONFIG_INTEL_IDXD_SVM */
	bool iommu;		      /* there is one */
	bool sm_on;		      /* on the kernel's command line */
	bool swiotlb_force;	      /* likewise */
	struct idxd_host idxd;
	char idxd_error[256]; /* why it could not be read, or "" */
	struct doctor_device device[IDXD_DEVICES];
	unsigned long nodes;	 /* NUMA nodes with memory, a mask */
	unsigned long hugepages; /* of 2 MiB, reserved */
	int record_error;	 /* of layout_record_read() */
	char record_text[256];
	struct layout_record record;
	bool channel_lost[LAYOUT_CHANNELS]; /* by index in record.channel: it is another one */
	bool module_loaded;
	enum doctor_known module_built;
	char module_default[16]; /* parameter: "cpu", "share" */
	char module_said[200];	 /* its last complaint in the kernel's log, or "" */
	int module_channels;	 /* that it holds; -1: not known (debugfs is root's) */
	char socket[108];	 /* control socket of the broker */
	int broker_error;	 /* of connecting to it; 0: it answers */
	int broker_pid;		 /* 0: not known */
	uid_t broker_uid;
	unsigned int n_broker_groups;
	gid_t broker_group[64];
	bool broker_rawio;		     /* it has CAP_SYS_RAWIO */
	bool systemd;			     /* it manages this host */
	bool unit;			     /* accelmuxd.service is installed */
	bool unit_enabled;		     /* ... and started at boot */
	bool group;			     /* there is a group accelmux */
	struct doctor_node control, session; /* the host's sockets, in /run/accelmux */
};

enum doctor_level { DOCTOR_OK = 0, DOCTOR_WARN, DOCTOR_BAD };

struct doctor_finding {
	enum doctor_level level;
	const char *check; /* "cpu", "device", ...: a word for programs to look for */
	char text[DOCTOR_TEXT];
	char cure[DOCTOR_TEXT]; /* "" if there is nothing to do */
};

struct doctor_report {
	unsigned int n;
	unsigned int count[DOCTOR_BAD + 1]; /* by level */
	struct doctor_finding finding[DOCTOR_FINDINGS];
};

/* Judge @host: a finding at least of each check that applies to it. */
void doctor_check(const struct doctor_host *host, struct doctor_report *out);

#endif /* BROKER_DOCTOR_H */
