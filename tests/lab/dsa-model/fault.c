// SPDX-License-Identifier: MIT
/*
 * fault.c - see fault.h.
 */
#include "fault.h"

#include <inttypes.h>
#include <linux/idxd.h>
#include <string.h>

static const char *const names[FAULT_COUNT] = {
	[FAULT_ERROR_EVERY] = "error_every",
	[FAULT_ERROR_STATUS] = "error_status",
	[FAULT_PARTIAL_EVERY] = "partial_every",
	[FAULT_LOSE_EVERY] = "lose_every",
	[FAULT_LOSE_IRQ_EVERY] = "lose_irq_every",
	[FAULT_HANG] = "hang",
	[FAULT_DELAY_US] = "delay_us",
	[FAULT_WQ] = "wq",
};

void fault_init(struct fault *f)
{
	*f = (struct fault){ 0 };
	f->set[FAULT_ERROR_STATUS] = DSA_COMP_HW_ERR1;
	f->set[FAULT_WQ] = -1;
}

bool fault_set(struct fault *f, const char *name, int64_t value)
{
	for (unsigned int i = 0; i < FAULT_COUNT; i++) {
		if (strcmp(names[i], name))
			continue;
		if (value < (i == FAULT_WQ ? -1 : 0) || value > UINT32_MAX ||
		    (i == FAULT_ERROR_STATUS && (value < 1 || value > UINT8_MAX)))
			return false;
		f->set[i] = value;
		f->seen[i] = 0;
		return true;
	}
	return false;
}

void fault_show(const struct fault *f, FILE *out)
{
	for (unsigned int i = 0; i < FAULT_COUNT; i++)
		fprintf(out, "fault %s %" PRId64 "\n", names[i], f->set[i]);
}

static bool every(struct fault *f, enum fault_name name)
{
	return f->set[name] && ++f->seen[name] % (uint64_t)f->set[name] == 0;
}

struct verdict fault_judge(struct fault *f, unsigned int wq)
{
	struct verdict v = { 0 };

	if (f->set[FAULT_WQ] >= 0 && f->set[FAULT_WQ] != wq)
		return v;
	if (every(f, FAULT_ERROR_EVERY))
		v.status = (uint8_t)f->set[FAULT_ERROR_STATUS];
	v.partial = every(f, FAULT_PARTIAL_EVERY);
	v.lose = every(f, FAULT_LOSE_EVERY);
	v.lose_irq = every(f, FAULT_LOSE_IRQ_EVERY);
	v.hang = f->set[FAULT_HANG];
	v.delay_us = (uint32_t)f->set[FAULT_DELAY_US];
	return v;
}
