/* SPDX-License-Identifier: MIT */
/*
 * wq.h - work queues: what is queued in which order, what a group's configuration allows, and
 * which descriptor an engine takes next.  All under the device's lock.
 *
 * Owner: struct device.  Threads: the connection's, the engines', the command thread.
 */
#ifndef DSA_MODEL_WQ_H
#define DSA_MODEL_WQ_H

#include "bits.h"
#include "device.h"

/* Is the configuration one that Enable Device accepts, and that of @wq one for Enable WQ? */
enum command_error wq_check_device(const struct device *d);
enum command_error wq_check(const struct device *d, unsigned int wq);

/* Back to what it is after a reset; its size stays if @keep_size. */
void wq_reset(struct wq *w, bool keep_size);
/* Throw away what no engine has started. */
void wq_abort(struct wq *w);
bool wq_idle(const struct wq *w);
/* Is there a descriptor of @pasid queued? */
bool wq_has_pasid(const struct wq *w, uint32_t pasid);

/* Room for one more, through a limited portal or not? */
bool wq_has_room(const struct wq *w, bool limited);
void wq_push(struct wq *w, const uint32_t *words);

/*
 * The WQ that @engine serves next, by weighted round robin over the WQs of its group, one
 * descriptor a turn; takes the descriptor.  -1: there is nothing.
 */
int wq_take(struct device *d, unsigned int engine, struct dsa_hw_desc *desc);

#endif /* DSA_MODEL_WQ_H */
