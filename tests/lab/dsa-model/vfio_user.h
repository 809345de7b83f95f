/* SPDX-License-Identifier: MIT */
/*
 * vfio_user.h - the protocol between QEMU and the device (QEMU's docs/interop/vfio-user.rst):
 * messages on a Unix socket, file descriptors with some of them.  A message that makes no
 * sense is answered by an error; one whose length makes none ends the connection.
 *
 * Threads: the caller's.
 */
#ifndef DSA_MODEL_VFIO_USER_H
#define DSA_MODEL_VFIO_USER_H

#include "device.h"

/* Serve the client on @fd until it leaves; closes @fd. */
void vfio_user_serve(struct device *d, int fd);

#endif /* DSA_MODEL_VFIO_USER_H */
