/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * notify.h - what the service manager (systemd) is told: ready, reloading, stopping, and that the
 * broker lives.  Without one (no NOTIFY_SOCKET, no WATCHDOG_USEC) nothing happens.
 *
 * The watchdog is pinged by the control thread, and only while every mux thread has gone round
 * since the last look, or sleeps by its own account with no mail before its door: a thread that
 * hangs, or has missed a wake-up, stops the pings, and the manager ends the broker.
 *
 * Owner: the broker.  Thread: the control thread.
 */
#ifndef BROKER_NOTIFY_H
#define BROKER_NOTIFY_H

#include <uv.h>

#include "mux.h"
#include "tenant.h"

struct notify {
	uv_timer_t timer;
	struct mux *mux;
	unsigned int n_mux;
	uint64_t loops[TENANT_NODES]; /* of each mux thread at the last look */
	bool stuck;		      /* one was at the last look; said once */
};

/* Ping for @mux, @n started ones, if the manager asks for it; the loop closes the timer. */
void notify_watch(struct notify *n, uv_loop_t *loop, struct mux *mux, unsigned int n_mux);

void notify_ready(void);
void notify_reloading(void); /* notify_ready() ends it, however it went */
void notify_stopping(void);

#endif /* BROKER_NOTIFY_H */
