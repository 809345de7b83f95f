// SPDX-License-Identifier: MIT
/*
 * test_doctor.c - each verdict of doctor on a snapshot that is good but for one thing.
 */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../broker/doctor.h"

static struct doctor_host h;
static struct doctor_report r;

/* A host on which nothing is missing: a device of node 0 laid out, module, broker. */
static void good(void)
{
	static struct idxd_host bare;
	struct layout_options opt = { 0 };
	struct idxd_device *dev = &bare.device[0];
	struct layout_channel channel[4] = { 0 };
	char err[256];

	memset(&h, 0, sizeof(h));
	bare.n_devices = 1;
	*dev = (struct idxd_device){ .name = "dsa0",
				     .max_groups = 4,
				     .n_engines = 4,
				     .n_wqs = 8,
				     .max_wq_size = 128,
				     .max_batch = 1024,
				     .max_xfer = 2ull << 30,
				     .version = 0x100,
				     .configurable = true,
				     .pasid = true };
	for (unsigned int i = 0; i < 8; i++)
		dev->wq[i] = (struct idxd_wq){ .id = i, .group = -1 };
	ck_assert_int_eq(layout_plan(&bare, &opt, &h.idxd, err, sizeof(err)), 0);
	for (unsigned int i = 0; i < 4; i++) {
		strcpy(channel[i].device, "dsa0");
		channel[i].index = channel[i].wq = i;
		h.idxd.device[0].wq[i].clients = 1;
	}
	layout_record_add(&h.record, &h.idxd.device[0], dev, channel, 4);
	strcpy(h.release, "6.12.1");
	h.major = 6;
	h.minor = 12;
	h.movdir64b = h.enqcmd = h.idxd_loaded = h.iommu = h.sm_on = true;
	h.pci_devices = 1;
	h.idxd_built = h.idxd_svm = h.module_built = DOCTOR_YES;
	strcpy(h.device[0].iommu_type, "identity");
	for (unsigned int i = 4; i < 8; i++)
		h.device[0].node[i] = (struct doctor_node){ true, 0020660, 0, 7 };
	h.nodes = 1;
	h.hugepages = 8;
	h.module_loaded = true;
	strcpy(h.module_default, "cpu");
	h.module_channels = 4;
	strcpy(h.socket, "/run/accelmux/control.sock");
	h.broker_pid = 99;
	h.broker_uid = 1000;
	h.broker_group[0] = 7;
	h.n_broker_groups = 1;
	h.broker_rawio = true;
	h.systemd = h.unit = h.unit_enabled = h.group = true;
	h.control = (struct doctor_node){ true, 0140660, 0, 7 };
	h.session = (struct doctor_node){ true, 0140666, 0, 7 };
}

static const struct doctor_finding *find(enum doctor_level level, const char *check)
{
	for (unsigned int i = 0; i < r.n; i++)
		if (r.finding[i].level == level && !strcmp(r.finding[i].check, check))
			return &r.finding[i];
	return NULL;
}

/* Exactly @warn and @bad; one of @level and @check with @text in it, and a cure with @cure. */
static void verdict(enum doctor_level level, const char *check, const char *text,
		    const char *cure, unsigned int warn, unsigned int bad)
{
	const struct doctor_finding *f;
	unsigned int counted = 0;

	doctor_check(&h, &r);
	f = find(level, check);
	ck_assert_msg(f, "no %d of %s", level, check);
	ck_assert_msg(strstr(f->text, text), "%s", f->text);
	ck_assert_msg(strstr(f->cure, cure), "%s", f->cure);
	for (unsigned int i = 0; i < r.n; i++) {
		ck_assert_msg(r.finding[i].level == DOCTOR_OK || r.finding[i].cure[0],
			      "no cure: %s", r.finding[i].text);
		ck_assert(!strchr(r.finding[i].text, '\n'));
		counted += r.finding[i].level != DOCTOR_OK;
	}
	ck_assert_uint_eq(counted, r.count[DOCTOR_WARN] + r.count[DOCTOR_BAD]);
	ck_assert_uint_eq(r.count[DOCTOR_WARN], warn);
	ck_assert_uint_eq(r.count[DOCTOR_BAD], bad);
}

START_TEST(all_good)
{
	static const char *const checks[] = { "kernel", "cpu",	  "device", "sva",   "portal",
					      "layout", "module", "broker", "memory" };

	good();
	doctor_check(&h, &r);
	ck_assert_uint_eq(r.count[DOCTOR_WARN], 0);
	ck_assert_uint_eq(r.count[DOCTOR_BAD], 0);
	for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++)
		ck_assert_msg(find(DOCTOR_OK, checks[i]), "%s", checks[i]);
}
END_TEST

/* No driver, or nothing for it. */
START_TEST(device_missing)
{
	good();
	h.idxd.n_devices = h.record.plan.n_devices = h.record.n_channels = 0;
	h.record_error = -ENOENT;
	verdict(DOCTOR_BAD, "device", "idxd took none", "dmesg", 0, 1);
	h.idxd_loaded = false;
	verdict(DOCTOR_BAD, "device", "idxd is not loaded", "modprobe idxd", 0, 1);
	h.idxd_built = DOCTOR_NO;
	verdict(DOCTOR_BAD, "device", "no driver for its 1", "CONFIG_INTEL_IDXD", 0, 1);
	h.pci_devices = 0;
	verdict(DOCTOR_BAD, "device", "no DSA device", "firmware", 0, 1);
	strcpy(h.idxd_error, "because");
	verdict(DOCTOR_BAD, "device", "cannot be read: because", "root", 0, 1);
}
END_TEST

START_TEST(device_disabled)
{
	good();
	h.idxd.device[0].enabled = false;
	for (unsigned int i = 0; i < 8; i++)
		h.idxd.device[0].wq[i].enabled = false;
	/* The layout has drifted as well. */
	verdict(DOCTOR_BAD, "device", "dsa0 is disabled", "accelmux setup --devices dsa0", 0,
		2);
	h.idxd.device[0].enabled = true;
	verdict(DOCTOR_BAD, "device", "no enabled WQ", "accelmux setup", 0, 2);
	h.record.plan.n_devices = h.record.n_channels = 0;
	verdict(DOCTOR_WARN, "layout", "no record", "accelmux setup", 1, 1);
	good();
	h.idxd.device[0].configurable = false;
	verdict(DOCTOR_WARN, "device", "configuration is fixed", "hypervisor", 1, 0);
}
END_TEST

START_TEST(cpu_and_kernel)
{
	good();
	h.enqcmd = false;
	verdict(DOCTOR_WARN, "cpu", "no ENQCMD", "--user-mode dedicated", 1, 0);
	h.movdir64b = false;
	verdict(DOCTOR_WARN, "cpu", "no MOVDIR64B", "Xeon", 2, 0);
	h.idxd_loaded = false;
	verdict(DOCTOR_BAD, "cpu", "no MOVDIR64B", "Xeon", 1, 1);
	good();
	h.minor = 1;
	strcpy(h.release, "6.1.0");
	verdict(DOCTOR_WARN, "kernel", "Linux 6.1.0", "newer", 1, 0);
}
END_TEST

START_TEST(sva)
{
	good();
	h.idxd.device[0].pasid = false;
	verdict(DOCTOR_WARN, "sva", "dsa0: no shared virtual", "firmware may hide", 1, 0);
	h.iommu = false;
	verdict(DOCTOR_WARN, "sva", "dsa0", "enable VT-d", 1, 0);
	h.sm_on = false;
	verdict(DOCTOR_WARN, "sva", "dsa0",
		"intel_iommu=on,sm_on on the kernel's command line,", 1, 0);
	h.idxd_svm = DOCTOR_NO;
	verdict(DOCTOR_WARN, "sva", "dsa0", "CONFIG_INTEL_IDXD_SVM", 1, 0);
	good();
	strcpy(h.device[0].iommu_type, "DMA-FQ");
	verdict(DOCTOR_WARN, "iommu", "dsa0: the IOMMU maps each", "iommu=pt", 1, 0);
	strcpy(h.device[0].iommu_type, "");
	h.swiotlb_force = true;
	verdict(DOCTOR_WARN, "iommu", "swiotlb=force", "without", 1, 0);
}
END_TEST

START_TEST(portal)
{
	good();
	h.broker_rawio = false;
	verdict(DOCTOR_WARN, "portal",
		"CVE-2024-21823): portals are mapped with CAP_SYS_RAWIO alone, and batches",
		"AmbientCapabilities=CAP_SYS_RAWIO", 1, 0);
	h.device[0].batch = true;
	verdict(DOCTOR_WARN, "portal", "alone; the broker has to write()", "CAP_SYS_RAWIO", 1,
		0);
	h.minor = 6;
	verdict(DOCTOR_WARN, "portal", "may lack the restriction", "newer kernel", 2, 0);
	/* Without a user WQ there is nothing to map. */
	good();
	h.broker_rawio = false;
	for (unsigned int i = 4; i < 8; i++)
		h.idxd.device[0].wq[i].type = IDXD_TYPE_NONE;
	doctor_check(&h, &r);
	ck_assert_ptr_null(find(DOCTOR_WARN, "portal"));
}
END_TEST

START_TEST(nodes)
{
	good();
	h.device[0].node[5].there = false;
	verdict(DOCTOR_BAD, "node", "/dev/dsa/wq0.5 is missing", "devtmpfs", 0, 1);
	good();
	h.device[0].node[6].mode = 0020666;
	verdict(DOCTOR_WARN, "node", "/dev/dsa/wq0.6: mode 0666", "chmod 0660 /dev/dsa/wq0.6",
		1, 0);
	good();
	h.device[0].node[7].mode = 0020600;
	verdict(DOCTOR_BAD, "node", "wq0.7: uid 0, gid 7, mode 0600: the broker (uid 1000)",
		"--group", 0, 1);
	h.broker_uid = 0;
	doctor_check(&h, &r);
	ck_assert_uint_eq(r.count[DOCTOR_BAD], 0);
	good();
	h.n_broker_groups = 0;
	verdict(DOCTOR_BAD, "node", "cannot open it", "--group", 0, 4);
}
END_TEST

START_TEST(layout)
{
	good();
	h.idxd.device[0].wq[1].priority = 15;
	verdict(DOCTOR_BAD, "layout", "wq0.1: priority 15, planned 8", "setup --replace", 0, 1);
	good();
	h.channel_lost[2] = true;
	verdict(DOCTOR_BAD, "layout", "wq0.2 was disabled and enabled anew: channel 2",
		"accelmux setup", 0, 1);
	good();
	h.idxd.device[0].name[3] = '1';
	verdict(DOCTOR_BAD, "layout", "dsa0 was laid out, and is gone", "--undo", 4, 5);
	good();
	h.record_error = -EINVAL;
	strcpy(h.record_text, "layout.json: damaged");
	memset(&h.record, 0, sizeof(h.record));
	verdict(DOCTOR_BAD, "layout", "layout.json: damaged", "remove it", 4, 5);
}
END_TEST

/* WQs that nobody arbitrates. */
START_TEST(stray)
{
	good();
	memset(&h.record, 0, sizeof(h.record));
	h.record_error = -ENOENT;
	for (unsigned int i = 0; i < 4; i++)
		h.idxd.device[0].wq[i].clients = 0;
	verdict(DOCTOR_WARN, "arbitration",
		"wq0.0 (kernel, 'dmaengine', 0 clients) is nobody's",
		"accel-config disable-wq dsa0/wq0.0", 9, 0);
	h.idxd.device[0].wq[6].clients = 2;
	verdict(DOCTOR_BAD, "arbitration", "wq0.6 (user, 'accelmux', 2 clients)",
		"accel-config disable-wq dsa0/wq0.6", 8, 1);
	/* Of the layout, but not with the module. */
	good();
	h.module_loaded = false;
	verdict(DOCTOR_BAD, "arbitration", "the channel of wq0.0 is taken", "modprobe accelmux",
		1, 4);
}
END_TEST

START_TEST(numa)
{
	good();
	h.nodes = 7;
	verdict(DOCTOR_WARN, "numa", "node 1 has memory and no DSA device", "firmware", 2, 0);
	h.idxd.device[0].node = -1;
	doctor_check(&h, &r);
	ck_assert_ptr_null(find(DOCTOR_WARN, "numa"));
}
END_TEST

START_TEST(module)
{
	good();
	h.module_channels = 0;
	verdict(DOCTOR_WARN, "module", "holds no channel (default=cpu)", "kernel = device:", 1,
		0);
	good();
	for (unsigned int i = 0; i < 4; i++)
		h.idxd.device[0].wq[i].clients = 0;
	h.module_loaded = false;
	verdict(DOCTOR_WARN, "module", "stay on the CPU", "modprobe accelmux", 1, 0);
	h.module_built = DOCTOR_NO;
	verdict(DOCTOR_WARN, "module", "not loaded", "make install-kmod", 1, 0);
	strcpy(h.module_said, "migrate_pages: inlined");
	verdict(DOCTOR_BAD, "module", "it said: migrate_pages: inlined", "docs/kernel.md", 0,
		1);
}
END_TEST

START_TEST(broker)
{
	good();
	h.broker_error = ENOENT;
	h.broker_pid = 0;
	verdict(DOCTOR_BAD, "broker", "/run/accelmux/control.sock: no broker", "start", 1, 1);
	h.broker_error = EACCES;
	verdict(DOCTOR_BAD, "broker", "Permission denied", "group", 1, 1);
	good();
	h.hugepages = 0;
	doctor_check(&h, &r);
	ck_assert_ptr_nonnull(strstr(find(DOCTOR_OK, "memory")->text, "no huge pages"));
}
END_TEST

/* More findings than there is room for: the last ones are counted, nothing is overrun. */
START_TEST(service)
{
	good();
	h.unit = h.unit_enabled = h.group = false;
	verdict(DOCTOR_WARN, "service", "not installed", "make install", 1, 0);
	h.unit = true;
	verdict(DOCTOR_BAD, "service", "no group accelmux", "systemd-sysusers", 0, 1);
	h.group = true;
	verdict(DOCTOR_WARN, "service", "not started at boot", "systemctl enable", 1, 0);
	h.systemd = false;
	doctor_check(&h, &r);
	ck_assert_uint_eq(r.count[DOCTOR_WARN], 0);
	good();
	h.control.mode |= 0002;
	verdict(DOCTOR_BAD, "socket", "everybody may operate", "chmod 0660", 0, 1);
	good();
	h.session.mode = 0140600;
	verdict(DOCTOR_WARN, "socket", "nobody else may connect", "clients = all", 1, 0);
	h.session.there = false;
	doctor_check(&h, &r);
	ck_assert_uint_eq(r.count[DOCTOR_WARN], 0);
}
END_TEST

/* However much is wrong, each finding says what helps. */
START_TEST(cures)
{
	for (unsigned int i = 0; i < 64; i++) {
		good();
		h.systemd = i & 1;
		h.unit = h.movdir64b = i & 2;
		h.module_loaded = i & 4;
		h.broker_error = i & 8 ? ENOENT : 0;
		h.idxd.n_devices = i & 16 ? 0 : 1;
		h.control.mode |= 0002;
		h.session.mode = 0600;
		h.group = h.enqcmd = false;
		h.major = i & 32 ? 5 : 6;
		h.swiotlb_force = true;
		h.nodes = 3;
		strcpy(h.device[0].iommu_type, "DMA-FQ");
		doctor_check(&h, &r);
		ck_assert_uint_gt(r.count[DOCTOR_BAD], 0);
		for (unsigned int k = 0; k < r.n; k++)
			ck_assert_msg(r.finding[k].level == DOCTOR_OK || r.finding[k].cure[0],
				      "%s: no cure", r.finding[k].text);
	}
}
END_TEST

START_TEST(many)
{
	good();
	h.idxd.n_devices = IDXD_DEVICES;
	for (unsigned int i = 1; i < IDXD_DEVICES; i++) {
		h.idxd.device[i] = h.idxd.device[0];
		h.device[i] = h.device[0];
		h.idxd.device[i].id = i;
		snprintf(h.idxd.device[i].name, IDXD_NAME, "dsa%u", i);
		h.idxd.device[i].n_wqs = IDXD_WQS;
		for (unsigned int k = 0; k < IDXD_WQS; k++) {
			h.idxd.device[i].wq[k] = h.idxd.device[0].wq[5];
			h.idxd.device[i].wq[k].clients = 1;
		}
	}
	doctor_check(&h, &r);
	ck_assert_uint_eq(r.n, DOCTOR_FINDINGS);
	ck_assert_uint_ge(r.count[DOCTOR_BAD], (IDXD_DEVICES - 1) * IDXD_WQS);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("doctor");
	TCase *tc = tcase_create("verdicts");
	SRunner *sr;
	int failed;

	tcase_add_test(tc, all_good);
	tcase_add_test(tc, device_missing);
	tcase_add_test(tc, device_disabled);
	tcase_add_test(tc, cpu_and_kernel);
	tcase_add_test(tc, sva);
	tcase_add_test(tc, portal);
	tcase_add_test(tc, nodes);
	tcase_add_test(tc, layout);
	tcase_add_test(tc, stray);
	tcase_add_test(tc, numa);
	tcase_add_test(tc, module);
	tcase_add_test(tc, broker);
	tcase_add_test(tc, service);
	tcase_add_test(tc, cures);
	tcase_add_test(tc, many);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
