/* SPDX-License-Identifier: MIT */
/*
 * pci.h - the configuration space: a PCIe root complex integrated endpoint with FLR, MSI-X,
 * ATS and PASID.
 *
 * Owner: struct device.  Threads: the connection's.
 */
#ifndef DSA_MODEL_PCI_H
#define DSA_MODEL_PCI_H

#include "device.h"

void pci_reset(struct device *d);
/* Within CONFIG_BYTES. */
void pci_read(struct device *d, uint32_t offset, void *data, uint32_t n);
/* true: the guest asks for a function level reset. */
bool pci_write(struct device *d, uint32_t offset, const void *data, uint32_t n);
bool pci_bus_master(const struct device *d);

#endif /* DSA_MODEL_PCI_H */
