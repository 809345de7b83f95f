/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * hold.h - which DMA channels are held: acquired on demand, given back on request, when their
 * device loses its driver, and at the end.
 *
 * Owner: module state.  Threads: process context, under a mutex of hold.c; the notices of
 * leaving drivers come in whatever task unbinds them.
 */
#ifndef ACCELMUX_HOLD_H
#define ACCELMUX_HOLD_H

#include <linux/types.h>

#include "uapi/accelmux.h"

int hold_init(void);
/* Releases everything; the module cannot be unloaded while anything is quarantined. */
void hold_exit(void);

/* Behind device index a->dev; fills a->n_channels.  -ENODEV: no such channel is free. */
int hold_acquire(struct amux_acquire *a);
/* Take no new work, wait for what is in flight, give the channels back.  AMUX_DEV_ALL too. */
int hold_release(u32 dev);
int hold_info(struct amux_info *info);

#endif /* ACCELMUX_HOLD_H */
