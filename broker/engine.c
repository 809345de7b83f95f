// SPDX-License-Identifier: GPL-2.0-only
/*
 * engine.c - what every device has, whoever implements it: the kernel completion event.
 */
#include "engine.h"

#include "../client/barrier.h"
#include "futex.h"

uint32_t device_kernel_seq(const struct device *dev)
{
	/* acquire: pairs with the increment in device_kernel_completed() */
	return amux_load_acquire(&dev->kernel_seq);
}

void device_kernel_completed(struct device *dev)
{
	/* release: the records' statuses before the new count, see device_kernel_seq() */
	__atomic_fetch_add(&dev->kernel_seq, 1, __ATOMIC_RELEASE);
	/* the waker's half of NEED_WAKEUP; the sleeper's is in device_wait_kernel() */
	amux_full_barrier();
	if (amux_load_relaxed(&dev->kernel_waiting))
		futex_wake_all(&dev->kernel_seq);
}

int device_wait_kernel(struct device *dev, uint32_t seq, uint64_t timeout_ns)
{
	int ret = 0;

	amux_store_relaxed(&dev->kernel_waiting, 1);
	/* the sleeper's half of NEED_WAKEUP; the waker's is in device_kernel_completed() */
	amux_full_barrier();
	if (device_kernel_seq(dev) == seq)
		ret = futex_wait(&dev->kernel_seq, seq, timeout_ns);
	amux_store_relaxed(&dev->kernel_waiting, 0);
	return ret;
}
