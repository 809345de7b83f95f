/* SPDX-License-Identifier: MIT */
/*
 * cancel.h - CANCEL as the library does its part of it: the application names a request by its
 * user_data, the broker knows it by its slot and generation, and some are here, declined.
 *
 * Owner and thread: those of the queue.
 */
#ifndef CLIENT_CANCEL_H
#define CLIENT_CANCEL_H

#include "queue.h"

/* Slot @i is a CANCEL on its way to the broker: put names of the broker's into it, and take back
 * what was declined.  Everything before it has been sent. */
void amux_cancel_name(struct amux_queue *q, uint32_t i);

/* The broker has answered the CANCEL in @slot: add what was declined since it was sent. */
void amux_cancel_answered(struct amux_queue *q, struct amux_slot *slot, struct amux_cqe *cqe);

/* There is no broker: take back what was submitted by now and comes before a CANCEL of it. */
void amux_cancel_ready(struct amux_queue *q);

/* The answer to a CANCEL that amux_cancel_ready() has done. */
void amux_cancel_answer(const struct amux_slot *slot, struct amux_cqe *cqe);

#endif /* CLIENT_CANCEL_H */
