/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * mux_parts.h - inside the mux: what mux.c (the loop and its sleep), mux_epoch.c (plans, and what
 * clients are told), mux_kernel.c (the kernel class) and mux_mail.c (the control thread's wishes)
 * share.  Not for others.
 *
 * Owner: a mux.  Thread: the mux thread.
 */
#ifndef BROKER_MUX_PARTS_H
#define BROKER_MUX_PARTS_H

#include "mux.h"

#define KERNEL_HOLD_NS 50000 /* the kernel class stays active this long after its last copy */
#define BEAT_NS	       10000000	    /* clients with work hear from us this often: real time */
#define DRAIN_STALL_NS NSEC_PER_SEC /* a drain waits this long for clients to make room */

const struct amux_plan *mux_kernel_plan(struct mux *m);
/* Write the kernel class's grant as the plan in force has it. */
void mux_kernel_grant(struct mux *m, uint64_t now);
void mux_kernel_poll(struct mux *m, uint64_t now);
void mux_kernel_view(struct mux *m, struct amux_view_class *k, uint64_t elapsed);

/* Refresh the headers of hot queues, and of @most others in turn. */
void mux_tell(struct mux *m, unsigned int most, uint64_t now);
void mux_beat(struct mux *m, uint64_t now);
void mux_epoch(struct mux *m, uint64_t now);
/* Between epochs: has a plan that was asked for come? */
void mux_look(struct mux *m, uint64_t now);

/* Act on @mail; mux_mail_settle() answers it, at once or when what it waits for is over. */
void mux_mail_act(struct mux *m, struct mail *mail, uint64_t now);
void mux_mail_settle(struct mux *m);

void mux_session_break(struct mux *m, struct session *s, enum cutoff cut, const char *why,
		       uint64_t now);
void mux_cut_offender(struct mux *m, uint64_t now);

#endif /* BROKER_MUX_PARTS_H */
