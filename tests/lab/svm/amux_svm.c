// SPDX-License-Identifier: GPL-2.0-only
/*
 * amux_svm.c - let QEMU's Intel IOMMU pass for one that can share a process's page tables.
 *
 * Of the lab alone, never to be used on a real machine.  QEMU's IOMMU walks first-stage tables,
 * but does not claim that its walks of its own tables are coherent, and the kernel's
 * intel_svm_check() asks for that.  In an emulated machine everything is coherent: what the
 * check would have found is set here, before idxd loads.
 */
#include <linux/module.h>
#include <linux/pci.h>
#include <asm/cpufeature.h>

#include "iommu.h"

static int __init svm_init(void)
{
	struct pci_dev *pdev = NULL;
	unsigned int found = 0;

	if (!boot_cpu_has(X86_FEATURE_HYPERVISOR)) {
		pr_err("this is not a virtual machine\n");
		return -ENODEV;
	}
	for_each_pci_dev(pdev)
	{
		struct device_domain_info *info;

		if (!device_iommu_mapped(&pdev->dev))
			continue;
		info = dev_iommu_priv_get(&pdev->dev);
		if (!info || !info->iommu || strncmp(info->iommu->name, "dmar", 4))
			continue;
		if (!ecap_smts(info->iommu->ecap) || !info->pasid_supported)
			continue;
		info->iommu->flags |= VTD_FLAG_SVM_CAPABLE;
		found++;
	}
	if (!found) {
		pr_err("no device is behind an Intel IOMMU in scalable mode with PASID\n");
		return -ENODEV;
	}
	return 0;
}

static void __exit svm_exit(void)
{
}

module_init(svm_init);
module_exit(svm_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("SVM on QEMU's IOMMU for the accelmux test lab; of no use elsewhere");
