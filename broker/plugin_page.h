/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * plugin_page.h - what passes between the broker and the process that runs a plug-in policy:
 * three messages over a socket while it is loaded, then one shared page set.
 *
 *	host   ── hello: what it is, or why it cannot be ──>	broker
 *	host  <── values of its parameters ──			broker
 *	host   ── ready: check() and start() are done, or an error ──>	broker
 *	then, for every slot:
 *	broker: view; asked = n (release); kick; wake	host: waits for kick to change
 *	host: plan, ret; answered = n (release)		broker: looks at its next epoch
 *
 * There is one slot for each mux thread.  A slot is the host's from asked = n until it has
 * answered n, and the broker's the rest of the time: nothing is written while it is read, by
 * a host that keeps to this.  For one that does not, everything that it writes is hostile: the
 * broker reads answered and copies the answer once, judges the copy, and never reads back what
 * it wrote itself.
 *
 * Owner: the broker, which makes the memfd, sized and sealed.  Threads: see the writers below.
 */
#ifndef BROKER_PLUGIN_PAGE_H
#define BROKER_PLUGIN_PAGE_H

#include "../policies/policy.h"

/* Descriptors of the host, beside 0 to 2 on /dev/null. */
enum { PLUGIN_FD_TALK = 3, PLUGIN_FD_FILE, PLUGIN_FD_PAGE, PLUGIN_FD_END };

#define PLUGIN_ERR_LEN 256

struct plugin_answer {
	int32_t ret; /* what plan() returned */
	uint32_t rsvd;
	struct amux_plan plan;
};

struct plugin_slot {
	/* Writer: the mux thread. */
	_Alignas(64) uint32_t asked; /* release; pairs with the acquire in the host */
	struct amux_view view;
	/* Writer: the host. */
	_Alignas(64) uint32_t answered; /* release; pairs with the acquire in plugin_take() */
	struct plugin_answer answer;
};

struct plugin_page {
	/* Writer: the broker, whose mux threads add to it atomically.  The host sleeps on it. */
	_Alignas(64) uint32_t kick;
	/* Writer: the broker, before the host runs. */
	uint32_t slots;
	int32_t owner; /* process id of the broker */
	struct plugin_slot slot[];
};

/* A parameter, with its text in place of pointers. */
struct plugin_param {
	char name[32], help[96];
	uint32_t unit, rsvd;
	uint64_t min, max, def;
};

struct plugin_hello {
	char err[PLUGIN_ERR_LEN]; /* "": it was loaded, and the rest holds */
	char name[24];
	char summary[128];
	uint32_t n_params, rsvd;
	struct plugin_param params[AMUX_POLICY_PARAMS];
};

struct plugin_values {
	uint64_t value[AMUX_POLICY_PARAMS];
};

struct plugin_ready {
	char err[PLUGIN_ERR_LEN]; /* "": it waits for views */
};

#endif /* BROKER_PLUGIN_PAGE_H */
