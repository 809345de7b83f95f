// SPDX-License-Identifier: MIT
/*
 * regs.c - see regs.h.
 */
#include "regs.h"

#include <string.h>

#include "bits.h"
#include "command.h"
#include "op.h"
#include "report.h"

#define BLOCK_ON_FAULT 0u /* no page requests */
#define GENCAP_COMMON                                                                 \
	(BIT64(0) * BLOCK_ON_FAULT | BIT64(1) /* overlapping copies */ | BIT64(2) |   \
	 BIT64(3) /* cache control */ | BIT64(4) /* CMDCAP */ | BIT64(8) | BIT64(9) | \
	 (uint64_t)XFER_SHIFT_MAX << 16 | (uint64_t)BATCH_SHIFT_MAX << 21 |           \
	 BIT64(31) /* configurable */)
#define GENCAP_EVL BIT64(13)

#define WQCAP_COMMON                                                                \
	((uint64_t)WQS << 16 | BIT64(48) /* shared */ | BIT64(49) /* dedicated */ | \
	 BIT64(50) /* ATS */ | BIT64(51) /* priority */)
#define WQCAP_WIDE	(1ull << 24) /* 64 bytes of WQCFG */
#define WQCAP_OP_CONFIG BIT64(54)

#define READ_BUFFERS 96u

/* 1 .. 14 */
#define COMMANDS 0x7ffeu

static unsigned int wqcfg_words(const struct device *d)
{
	return d->options.version >= 2 ? 16 : 8;
}

/* Registers of 64 bits and more that never change. */
static uint64_t capability(const struct device *d, uint32_t offset)
{
	bool two = d->options.version >= 2;

	switch (offset) {
	case R_VERSION:
		return d->options.version << 8;
	case R_GENCAP:
		return GENCAP_COMMON | (two ? GENCAP_EVL : 0);
	case R_WQCAP:
		return WQCAP_COMMON | d->entries | (two ? WQCAP_WIDE | WQCAP_OP_CONFIG : 0);
	case R_GRPCAP:
		return GROUPS | READ_BUFFERS << 8 | BIT64(16) | BIT64(17);
	case R_ENGCAP:
		return ENGINES;
	case R_OPCAP:
		return op_known(d);
	case R_TABLES:
		return T_GRPCFG / TABLE_UNIT | T_WQCFG / TABLE_UNIT << 16 |
		       (uint64_t)(T_MSIX_PERM / TABLE_UNIT) << 32;
	case R_CMDCAP:
		return COMMANDS;
	default:
		return 0;
	}
}

static uint32_t word_of(const uint64_t *table, uint32_t offset)
{
	return (uint32_t)(table[offset / 8] >> offset % 8 * 8);
}

static void word_set(uint64_t *table, uint32_t offset, uint32_t value)
{
	memcpy((uint8_t *)table + offset, &value, sizeof(value));
}

/* A group's bytes in the table: four words of WQs, engines, flags; the rest is reserved. */
static uint64_t *group_at(struct device *d, uint32_t offset)
{
	struct group *g = &d->group[offset / GRPCFG_BYTES];
	uint32_t at = offset % GRPCFG_BYTES / 8;

	return at < 4 ? &g->wqs[at] : at == 4 ? &g->engines : at == 5 ? &g->flags : NULL;
}

static uint32_t wqcfg_read(const struct device *d, uint32_t word)
{
	const struct wq *w = &d->wq[word / wqcfg_words(d)];
	uint32_t at = word % wqcfg_words(d);

	if (at != WQ_STATE_DWORD)
		return w->cfg[at];
	return w->queued | WQ_MODE_SUPPORT | (w->enabled ? WQ_STATE_ENABLED : 0);
}

static void wqcfg_write(struct device *d, uint32_t word, uint32_t value)
{
	struct wq *w = &d->wq[word / wqcfg_words(d)];
	uint32_t at = word % wqcfg_words(d);

	/* Read-only: everything of an enabled WQ, the size in an enabled device. */
	if (w->enabled || at == WQ_STATE_DWORD || (at == 0 && d->state != STATE_DISABLED))
		return;
	w->cfg[at] = value;
}

static bool within(uint32_t offset, uint32_t base, uint32_t bytes)
{
	return offset >= base && offset < base + bytes;
}

static uint32_t read32(struct device *d, uint32_t offset)
{
	const uint64_t *g;

	if (within(offset, T_GRPCFG, GROUPS * GRPCFG_BYTES)) {
		g = group_at(d, offset - T_GRPCFG);
		return g ? word_of(g, offset % 8) : 0;
	}
	if (within(offset, T_WQCFG, WQS * wqcfg_words(d) * 4))
		return wqcfg_read(d, (offset - T_WQCFG) / 4);
	if (within(offset, T_MSIX_PERM, IRQ_VECTORS * 8))
		return offset % 8 ? 0 : d->msix_perm[(offset - T_MSIX_PERM) / 8];
	if (within(offset, R_SWERR, sizeof(d->swerr)))
		return word_of(d->swerr, offset - R_SWERR);
	if (within(offset, R_EVLCFG, sizeof(d->evlcfg)))
		return word_of(d->evlcfg, offset - R_EVLCFG);
	switch (offset) {
	case R_GENCFG:
		return d->gencfg;
	case R_GENCTRL:
		return d->genctrl;
	case R_GENSTS:
		return (uint32_t)d->state | d->reset_type << 2;
	case R_INTCAUSE:
		return d->intcause;
	case R_CMD:
		return d->command;
	case R_CMDSTS:
		return d->cmdsts;
	case R_EVLSTATUS:
		return d->evl_head;
	case R_EVLSTATUS + 4:
		return d->evl_tail | d->evl_pending << 30;
	default:
		return (uint32_t)(capability(d, offset & ~7u) >> offset % 8 * 8);
	}
}

static void write32(struct device *d, uint32_t offset, uint32_t value)
{
	bool configurable = d->state == STATE_DISABLED;
	uint64_t *g;

	if (within(offset, T_GRPCFG, GROUPS * GRPCFG_BYTES)) {
		g = group_at(d, offset - T_GRPCFG);
		if (g && configurable)
			word_set(g, offset % 8, value);
		return;
	}
	if (within(offset, T_WQCFG, WQS * wqcfg_words(d) * 4)) {
		wqcfg_write(d, (offset - T_WQCFG) / 4, value);
		return;
	}
	if (within(offset, T_MSIX_PERM, IRQ_VECTORS * 8)) {
		if (offset % 8 == 0)
			d->msix_perm[(offset - T_MSIX_PERM) / 8] = value;
		return;
	}
	if (within(offset, R_EVLCFG, sizeof(d->evlcfg))) {
		if (!(d->gencfg & GENCFG_EVL_EN) && d->options.version >= 2)
			word_set(d->evlcfg, offset - R_EVLCFG, value);
		return;
	}
	switch (offset) {
	case R_GENCFG:
		/* The log begins anew. */
		if (value & ~d->gencfg & GENCFG_EVL_EN)
			d->evl_head = d->evl_tail = d->evl_pending = 0;
		d->gencfg = value;
		return;
	case R_GENCTRL:
		d->genctrl = value;
		return;
	case R_INTCAUSE:
		d->intcause &= ~value;
		return;
	case R_CMD:
		command_write(d, value);
		return;
	case R_SWERR:
		/* Valid and overflow are cleared by writing them. */
		d->swerr[0] &= ~(uint64_t)(value & 3);
		return;
	case R_EVLSTATUS:
		d->evl_head = value & 0xffff;
		return;
	case R_EVLSTATUS + 4:
		d->evl_pending &= ~(value >> 30 & 1);
		return;
	default:
		return;
	}
}

void regs_read(struct device *d, uint32_t offset, void *data, uint32_t n)
{
	uint8_t *to = data;

	pthread_mutex_lock(&d->lock);
	for (uint32_t done = 0; done < n;) {
		uint32_t at = offset + done, skip = at % 4, part = 4 - skip;
		uint32_t word = read32(d, at - skip);

		if (part > n - done)
			part = n - done;
		memcpy(to + done, (uint8_t *)&word + skip, part);
		done += part;
	}
	pthread_mutex_unlock(&d->lock);
}

void regs_write(struct device *d, uint32_t offset, const void *data, uint32_t n)
{
	const uint8_t *from = data;

	if (offset % 4 || n % 4)
		return;
	pthread_mutex_lock(&d->lock);
	for (uint32_t done = 0; done < n; done += 4) {
		uint32_t word;

		memcpy(&word, from + done, sizeof(word));
		write32(d, offset + done, word);
	}
	pthread_mutex_unlock(&d->lock);
}
