/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * cdev.h - /dev/accelmux, the broker's end: one opener at a time, see uapi/accelmux.h.
 * Process context.
 */
#ifndef ACCELMUX_CDEV_H
#define ACCELMUX_CDEV_H

int cdev_start(void);
void cdev_stop(void);

#endif /* ACCELMUX_CDEV_H */
