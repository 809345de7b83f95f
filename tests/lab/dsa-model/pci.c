// SPDX-License-Identifier: MIT
/*
 * pci.c - see pci.h.
 */
#include "pci.h"

#include <string.h>

#include "bits.h"

#define CAP_EXPRESS 0x40u
#define CAP_MSIX    0x80u
#define CAP_PM	    0x90u
#define ECAP_ATS    0x100u
#define ECAP_PASID  0x110u

#define COMMAND	       0x04u
#define COMMAND_MASTER 0x0004u
#define COMMAND_WRITE  0x0546u /* memory, master, parity, SERR, no INTx */
#define DEVCTL	       (CAP_EXPRESS + 8)
#define DEVCTL_FLR     0x8000u
#define ENDPOINT       0u
#define RCIEP	       9u
#define LINK_X1	       0x0011u /* 2.5 GT/s */

#define DEVCAP_FLR	  (1u << 28)
#define DEVCAP_ROLE_ERROR (1u << 15)
#define DEVCAP2_PREFIX	  (1u << 21) /* else Linux never enables PASID */

/* Dwords that the guest may change, and which of their bits. */
static const struct {
	uint16_t offset;
	uint32_t mask;
} writable[] = {
	{ COMMAND, COMMAND_WRITE },
	{ 0x0c, 0x000000ff }, /* cache line */
	{ 0x3c, 0x000000ff } /* interrupt line */,
	{ DEVCTL, 0x0000ffff & ~DEVCTL_FLR },
	{ CAP_EXPRESS + 40, 0x0000ffff }, /* DEVCTL2 */
	{ CAP_MSIX, 0xc0000000 },
	{ CAP_PM + 4, 0x00008103 },
	{ ECAP_ATS + 4, 0x801f0000 },
	{ ECAP_PASID + 4, 0x00070000 },
};

static void put16(struct device *d, uint32_t at, uint32_t v)
{
	uint16_t x = (uint16_t)v;

	memcpy(d->config + at, &x, sizeof(x));
}

static void put32(struct device *d, uint32_t at, uint32_t v)
{
	memcpy(d->config + at, &v, sizeof(v));
}

void pci_reset(struct device *d)
{
	memset(d->config, 0, sizeof(d->config));
	put16(d, 0x00, 0x8086);
	put16(d, 0x02, 0x0b25);
	put16(d, 0x06, 0x0010);	    /* has capabilities */
	put32(d, 0x08, 0x08800000); /* base system peripheral, other */
	put32(d, 0x10, 0xc);	    /* BAR 0, BAR 2: 64 bits, prefetchable */
	put32(d, 0x18, 0xc);
	put16(d, 0x2c, 0x8086);
	put16(d, 0x2e, d->options.id);
	d->config[0x34] = CAP_EXPRESS;

	put16(d, CAP_EXPRESS, 0x10 | CAP_MSIX << 8);
	put16(d, CAP_EXPRESS + 2, 2 | (d->options.endpoint ? ENDPOINT : RCIEP) << 4);
	if (d->options.endpoint) {
		put32(d, CAP_EXPRESS + 12, LINK_X1);
		put16(d, CAP_EXPRESS + 18, LINK_X1);
	}
	put32(d, CAP_EXPRESS + 4, DEVCAP_FLR | DEVCAP_ROLE_ERROR);
	put32(d, CAP_EXPRESS + 36, DEVCAP2_PREFIX);
	put16(d, CAP_MSIX, 0x11 | CAP_PM << 8);
	put16(d, CAP_MSIX + 2, IRQ_VECTORS - 1);
	put32(d, CAP_MSIX + 4, T_MSIX);
	put32(d, CAP_MSIX + 8, T_PBA);
	put16(d, CAP_PM, 0x01);
	put16(d, CAP_PM + 2, 0x0003);
	put16(d, CAP_PM + 4, 0x0008); /* no soft reset */

	put32(d, ECAP_ATS, 0x000f | 1u << 16 | ECAP_PASID << 20);
	put16(d, ECAP_ATS + 4, 0x0020); /* page aligned */
	put32(d, ECAP_PASID, 0x001b | 1u << 16);
	put16(d, ECAP_PASID + 4, 0x0004 | 20 << 8); /* privileged mode; 20 bits */
}

void pci_read(struct device *d, uint32_t offset, void *data, uint32_t n)
{
	memcpy(data, d->config + offset, n);
}

bool pci_write(struct device *d, uint32_t offset, const void *data, uint32_t n)
{
	const uint8_t *from = data;
	bool flr = false;

	for (uint32_t i = 0; i < n; i++) {
		uint32_t at = offset + i, mask = 0;

		for (unsigned int k = 0; k < sizeof(writable) / sizeof(writable[0]); k++)
			if (writable[k].offset == (at & ~3u))
				mask = writable[k].mask >> (at & 3) * 8 & 0xff;
		d->config[at] = (uint8_t)((d->config[at] & ~mask) | (from[i] & mask));
		flr |= at == DEVCTL + 1 && (from[i] & DEVCTL_FLR >> 8);
	}
	return flr;
}

bool pci_bus_master(const struct device *d)
{
	return d->config[COMMAND] & COMMAND_MASTER;
}
