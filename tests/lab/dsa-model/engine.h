/* SPDX-License-Identifier: MIT */
/*
 * engine.h - the engines: each a thread that takes descriptors of its group's WQs, executes
 * them, lets modelled time pass, and answers.
 *
 * Owner: struct device.  Threads: makes and ends its own.
 */
#ifndef DSA_MODEL_ENGINE_H
#define DSA_MODEL_ENGINE_H

#include "device.h"

int engines_start(struct device *d);
/* Locked: wait until no engine has anything started of the WQs in @mask. */
void engines_settle(struct device *d, uint32_t mask);

#endif /* DSA_MODEL_ENGINE_H */
