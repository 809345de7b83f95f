// SPDX-License-Identifier: GPL-2.0-only
/*
 * dsa_wq.c - see dsa_wq.h.
 */
#include "dsa_wq.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "clock.h"
#include "stats.h"

#define PROBE_NAP_NS 20000

unsigned int dsa_wq_capacity(const struct idxd_wq *from)
{
	return from->shared && from->threshold && from->threshold < from->size ? from->threshold
									       : from->size;
}

/* Does a NOOP come back? */
static int wq_probe(struct dsa_wq *w, uint64_t timeout_ns, char *err, size_t errlen)
{
	struct dsa_hw_desc desc __attribute__((aligned(64))) = {
		.opcode = DSA_OPCODE_NOOP,
		.flags = IDXD_OP_FLAG_CRAV | IDXD_OP_FLAG_RCR,
		.completion_addr = (uintptr_t)&w->rec,
	};
	uint64_t end = clock_ns() + timeout_ns;
	uint8_t status;
	int ret;

	memset(&w->rec, 0, sizeof(w->rec));
	while ((ret = dsa_portal_put(&w->portal, &desc)) == 0 && clock_ns() < end)
		clock_sleep_until(clock_ns() + PROBE_NAP_NS);
	if (ret < 0) {
		snprintf(err, errlen, "%s does not work: %s", dsa_submit_names[w->how],
			 ret == -EOPNOTSUPP ? "the CPU does not have it" : strerror(-ret));
		return ret;
	}
	if (!ret) {
		snprintf(err, errlen, "it is full, and stays so");
		return -EAGAIN;
	}
	while (!(status = record_status(&w->rec)) && clock_ns() < end)
		clock_sleep_until(clock_ns() + PROBE_NAP_NS);
	status &= DSA_COMP_STATUS_MASK;
	if (status == DSA_COMP_SUCCESS)
		return 0;
	if (status)
		snprintf(err, errlen, "a NOOP by %s was answered with status 0x%02x",
			 dsa_submit_names[w->how], status);
	else
		snprintf(err, errlen, "a NOOP by %s was not answered",
			 dsa_submit_names[w->how]);
	return -EIO;
}

static int wq_try(struct dsa_wq *w, const struct idxd_wq *from, enum dsa_submit how, bool force,
		  uint64_t timeout_ns, char *err, size_t errlen)
{
	int ret = dsa_portal_open(&w->portal, from->path, how, force, err, errlen);

	if (ret)
		return ret;
	w->how = how;
	ret = wq_probe(w, timeout_ns, err, errlen);
	if (ret)
		dsa_portal_close(&w->portal);
	return ret;
}

int dsa_wq_open(struct dsa_wq *w, const char *name, const struct idxd_wq *from,
		enum dsa_submit want, uint64_t timeout_ns, char *err, size_t errlen)
{
	enum dsa_submit own = from->shared ? DSA_ENQCMD : DSA_MOVDIR64B;
	bool any = want == DSA_AUTO;
	char why[160], last[160];
	int ret;

	snprintf(w->name, sizeof(w->name), "%s", name);
	w->id = from->id;
	w->capacity = dsa_wq_capacity(from);
	w->inflight = 0;
	w->last_ns = w->refused_ns = 0;
	if (!any && want != DSA_WRITE && want != own) {
		snprintf(err, errlen,
			 "%s is a %s WQ: [dsa] submit = %s: expected auto, %s or write", name,
			 from->shared ? "shared" : "dedicated", dsa_submit_names[want],
			 dsa_submit_names[own]);
		return -EINVAL;
	}
	ret = wq_try(w, from, any ? own : want, !any, timeout_ns, why, sizeof(why));
	if (!ret)
		return 0;
	/* One that is another's is so by any way. */
	if (!any || ret == -EBUSY || ret == -EACCES) {
		snprintf(err, errlen, "%s: %s", name, why);
		return ret;
	}
	ret = wq_try(w, from, DSA_WRITE, false, timeout_ns, last, sizeof(last));
	if (ret)
		snprintf(err, errlen, "%s: %s; %s", name, why, last);
	return ret;
}

/* It is full.  For how long may it say so, with nothing of ours in it? */
static int wq_refused(struct dsa_wq *w, uint64_t now, uint64_t timeout_ns)
{
	if (!w->refused_ns)
		w->refused_ns = now;
	return timeout_ns && !w->inflight && now - w->refused_ns > timeout_ns ? -EIO : 0;
}

int dsa_wq_submit(struct dsa_wq *w, const struct dsa_hw_desc *desc, unsigned int n,
		  uint64_t timeout_ns)
{
	uint64_t now = clock_ns();
	unsigned int taken = 0;
	int ret = 0;

	while (taken < n && w->inflight < w->capacity) {
		ret = dsa_portal_put(&w->portal, &desc[taken]);
		if (ret <= 0)
			break;
		if (!w->inflight++)
			w->last_ns = now;
		taken++;
	}
	if (taken) {
		w->refused_ns = 0;
	} else if (!ret) {
		ret = wq_refused(w, now, timeout_ns);
	}
	if (taken < n && ret >= 0)
		stat_add(&w->count.full[ENGINE_WQ_USER], n - taken);
	return taken ? (int)taken : ret < 0 ? -EIO : 0;
}

void dsa_wq_completed(struct dsa_wq *w, const struct dsa_hw_desc *desc,
		      const struct dsa_completion_record *rec)
{
	uint8_t status = record_status(rec) & DSA_COMP_STATUS_MASK;
	uint64_t now = clock_ns(), bytes = desc->xfer_size;

	if (w->inflight)
		w->inflight--;
	/* The device does not tell when it is busy: with something in it, it is taken to be. */
	if (now > w->last_ns)
		stat_add(&w->count.busy_ns, now - w->last_ns);
	w->last_ns = now;
	stat_add(&w->count.descriptors[ENGINE_WQ_USER], 1);
	if (status == DSA_COMP_PAGE_FAULT_NOBOF) {
		bytes = rec->bytes_completed < bytes ? rec->bytes_completed : bytes;
		stat_add(&w->count.partial, 1);
		stat_add(&w->count.status[status], 1);
	} else if (status != DSA_COMP_SUCCESS && status != DSA_COMP_SUCCESS_PRED) {
		bytes = 0;
		stat_add(&w->count.errors, 1);
		stat_add(&w->count.status[status], 1);
	}
	stat_add(&w->count.bytes[ENGINE_WQ_USER], bytes);
}
