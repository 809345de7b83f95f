/* SPDX-License-Identifier: MIT */
/*
 * control.h - the control socket: lines of text in, lines of text out, "." on a line of its own
 * after each answer.  README.md has the commands.
 *
 * Threads: one that accepts, one per connection.
 */
#ifndef DSA_MODEL_CONTROL_H
#define DSA_MODEL_CONTROL_H

#include "device.h"

/* Listen on @path, which is made anew.  0 or -errno. */
int control_start(struct device *d, const char *path);
/* Also of the device's own socket: listen on @path. */
int socket_listen(const char *path);

#endif /* DSA_MODEL_CONTROL_H */
