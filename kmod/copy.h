/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * copy.h - the kernel's own folio_mc_copy(), which survives poisoned memory, past any hook of
 * ours.  0 or -EHWPOISON.  May sleep.
 */
#ifndef ACCELMUX_COPY_H
#define ACCELMUX_COPY_H

struct folio;

int copy_by_cpu(struct folio *dst, struct folio *src);

#endif /* ACCELMUX_COPY_H */
