/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * uevent.h - hear from the kernel that something about a dsa device, its WQs or their drivers
 * has changed: a WQ was disabled or enabled.
 *
 * Only that something happened is told, not what: whoever hears it looks.  Where the kernel tells
 * nothing (in a container) there is only what the mux threads notice.
 *
 * Owner and thread: control.
 */
#ifndef BROKER_UEVENT_H
#define BROKER_UEVENT_H

#include <stdbool.h>

/* A socket that becomes readable with every event of this host, or -errno. */
int uevent_open(void);

/* Read what is there: was any of it about dsa?  True also if some was lost. */
bool uevent_read(int fd);

#endif /* BROKER_UEVENT_H */
