// SPDX-License-Identifier: MIT
/*
 * command.c - see command.h.
 */
#include "command.h"

#include <string.h>

#include "bits.h"
#include "engine.h"
#include "pci.h"
#include "report.h"
#include "wq.h"

#define ALL_WQS ((1u << WQS) - 1)

static void finish(struct device *d, enum command_error error, uint32_t result)
{
	d->cmdsts = (uint32_t)error | CMDSTS_RESULT(result);
	if (d->command & CMD_INT)
		report_cause(d, CAUSE_CMD);
}

/* The WQs named by an operand: sixteen bits, and which sixteen. */
static uint32_t operand_mask(uint32_t operand)
{
	return operand >> 16 ? 0 : operand & 0xffff;
}

void command_reset_device(struct device *d)
{
	for (unsigned int i = 0; i < WQS; i++)
		wq_reset(&d->wq[i], false);
	d->state = STATE_DISABLED;
	__atomic_store_n(&d->epoch, d->epoch + 1, __ATOMIC_RELEASE);
	pthread_cond_broadcast(&d->work);
	pthread_cond_broadcast(&d->quiet);
	engines_settle(d, ALL_WQS);
	memset(d->group, 0, sizeof(d->group));
	memset(d->swerr, 0, sizeof(d->swerr));
	memset(d->evlcfg, 0, sizeof(d->evlcfg));
	memset(d->msix_perm, 0, sizeof(d->msix_perm));
	d->evl_head = d->evl_tail = d->evl_pending = 0;
	d->gencfg = d->genctrl = d->intcause = 0;
	d->handles = 0;
	d->reset_type = 0;
}

/* Until the WQs of @mask are empty and at rest, or the device is reset. */
static bool drained(struct device *d, uint32_t mask, uint64_t epoch)
{
	for (unsigned int i = 0; i < WQS; i++)
		while ((mask >> i & 1) && !wq_idle(&d->wq[i])) {
			if (d->epoch != epoch)
				return false;
			pthread_cond_wait(&d->quiet, &d->lock);
		}
	return d->epoch == epoch;
}

/* Until no descriptor of @pasid is queued or being executed, or the device is reset. */
static bool drained_pasid(struct device *d, uint32_t pasid, uint64_t epoch)
{
	bool found = true;

	while (found && d->epoch == epoch) {
		found = false;
		for (unsigned int i = 0; i < WQS; i++)
			found |= wq_has_pasid(&d->wq[i], pasid);
		for (unsigned int i = 0; i < ENGINES; i++)
			found |= d->engine[i].busy && d->engine[i].pasid == pasid;
		if (found)
			pthread_cond_wait(&d->quiet, &d->lock);
	}
	return d->epoch == epoch;
}

static void wqs_stop(struct device *d, uint32_t mask, bool disable, bool reset)
{
	for (unsigned int i = 0; i < WQS; i++) {
		if (!(mask >> i & 1))
			continue;
		if (reset)
			wq_reset(&d->wq[i], true);
		else if (disable)
			d->wq[i].enabled = false;
		else
			wq_abort(&d->wq[i]);
	}
}

/* Commands that wait; the thread's part. */
static void perform(struct device *d)
{
	uint32_t code = CMD_CODE(d->command), mask = operand_mask(CMD_OPERAND(d->command));
	bool abort = code == C_ABORT_ALL || code == C_ABORT_WQ || code == C_RESET_WQ;
	uint64_t epoch = d->epoch;

	switch (code) {
	case C_RESET_DEVICE:
		command_reset_device(d);
		finish(d, E_NONE, 0);
		return;
	case C_DISABLE_DEVICE:
	case C_DRAIN_ALL:
	case C_ABORT_ALL:
		mask = ALL_WQS;
		break;
	case C_DRAIN_PASID:
	case C_ABORT_PASID:
		/* What is being copied is copied to its end, what is queued, too. */
		if (drained_pasid(d, CMD_OPERAND(d->command), epoch))
			finish(d, E_NONE, 0);
		return;
	default:
		break;
	}
	/* Nobody can submit any more to what is to be disabled. */
	if (code == C_DISABLE_WQ || code == C_DISABLE_DEVICE || abort)
		wqs_stop(d, abort ? mask : 0, false, false);
	if (!drained(d, mask, epoch))
		return;
	if (code == C_DISABLE_WQ || code == C_DISABLE_DEVICE || code == C_RESET_WQ)
		wqs_stop(d, mask, true, code == C_RESET_WQ);
	if (code == C_DISABLE_DEVICE)
		d->state = STATE_DISABLED;
	finish(d, E_NONE, 0);
}

static void *command_main(void *arg)
{
	struct device *d = arg;

	pthread_mutex_lock(&d->lock);
	for (;;) {
		while (!d->command_waits)
			pthread_cond_wait(&d->ordered, &d->lock);
		perform(d);
		d->command_waits = false;
		pthread_cond_broadcast(&d->quiet);
	}
	return NULL;
}

int command_start(struct device *d)
{
	return -pthread_create(&d->command_thread, NULL, command_main, d);
}

static enum command_error enable_device(struct device *d)
{
	enum command_error error;

	if (d->state != STATE_DISABLED)
		return E_DEVICE_ENABLED;
	if (!pci_bus_master(d))
		return E_BUS_MASTER;
	error = wq_check_device(d);
	if (error == E_NONE)
		d->state = STATE_ENABLED;
	return error;
}

static enum command_error enable_wq(struct device *d, uint32_t wq)
{
	enum command_error error;

	if (wq >= WQS)
		return E_WQ_INDEX;
	if (d->state != STATE_ENABLED)
		return E_DEVICE_DISABLED;
	if (d->wq[wq].enabled)
		return E_WQ_ENABLED;
	error = wq_check(d, wq);
	if (error == E_NONE)
		d->wq[wq].enabled = true;
	return error;
}

static enum command_error handle_request(struct device *d, uint32_t operand)
{
	/* One handle a vector, of the vector's number; there is no IMS. */
	if (operand >= IRQ_VECTORS)
		return E_HANDLE_INDEX;
	d->handles |= 1u << operand;
	return E_NONE;
}

static enum command_error handle_release(struct device *d, uint32_t operand)
{
	if (operand >= IRQ_VECTORS || !(d->handles >> operand & 1))
		return E_HANDLE_INDEX;
	d->handles &= ~(1u << operand);
	return E_NONE;
}

/* What a waiting command needs before it begins. */
static enum command_error check(const struct device *d, uint32_t code, uint32_t operand)
{
	switch (code) {
	case C_RESET_DEVICE:
		return E_NONE;
	case C_DISABLE_DEVICE:
		return d->state == STATE_ENABLED ? E_NONE : E_DISABLE_DISABLED;
	case C_DRAIN_ALL:
	case C_ABORT_ALL:
	case C_DRAIN_PASID:
	case C_ABORT_PASID:
		return d->state == STATE_ENABLED ? E_NONE : E_NOT_ENABLED;
	case C_DISABLE_WQ:
	case C_DRAIN_WQ:
	case C_ABORT_WQ:
	case C_RESET_WQ:
		if (!operand_mask(operand) || operand_mask(operand) & ~ALL_WQS)
			return E_WQ_INDEX;
		return d->state == STATE_ENABLED ? E_NONE : E_NOT_ENABLED;
	default:
		return E_COMMAND;
	}
}

void command_write(struct device *d, uint32_t value)
{
	uint32_t operand = CMD_OPERAND(value), code = CMD_CODE(value);
	enum command_error error;

	if (d->command_waits)
		return; /* one at a time: who does not wait is not heard */
	d->command = value;
	switch (code) {
	case C_ENABLE_DEVICE:
		finish(d, enable_device(d), 0);
		return;
	case C_ENABLE_WQ:
		finish(d, enable_wq(d, operand), 0);
		return;
	case C_REQUEST_HANDLE:
		finish(d, handle_request(d, operand), operand);
		return;
	case C_RELEASE_HANDLE:
		finish(d, handle_release(d, operand), 0);
		return;
	default:
		break;
	}
	error = check(d, code, operand);
	if (error != E_NONE) {
		finish(d, error, 0);
		return;
	}
	d->cmdsts = CMDSTS_ACTIVE;
	d->command_waits = true;
	pthread_cond_signal(&d->ordered);
}
