/* SPDX-License-Identifier: MIT */
/*
 * command.h - the command register.  What must wait for engines is done by a thread of its
 * own, so that the guest's other accesses go on: the command is active meanwhile.
 *
 * Owner: struct device.  Threads: command_write() the connection's, under the device's lock.
 */
#ifndef DSA_MODEL_COMMAND_H
#define DSA_MODEL_COMMAND_H

#include "device.h"

int command_start(struct device *d);
void command_write(struct device *d, uint32_t value);
/* The registers and WQs as after Reset Device; locked, waits for the engines. */
void command_reset_device(struct device *d);

#endif /* DSA_MODEL_COMMAND_H */
