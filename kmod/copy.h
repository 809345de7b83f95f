/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * copy.h - the kernel's own folio_mc_copy(), which survives poisoned memory, past any hook of
 * ours.
 *
 * Owner: module state.  A provider that redirects folio_mc_copy() sets in its probe() where the
 * original begins behind the redirection; without one the plain function is what is called.
 */
#ifndef ACCELMUX_COPY_H
#define ACCELMUX_COPY_H

#include <linux/mm.h>
#include <linux/static_call.h>

DECLARE_STATIC_CALL(copy_original, folio_mc_copy);

/* 0 or -EHWPOISON.  May sleep. */
static inline int copy_by_cpu(struct folio *dst, struct folio *src)
{
	return static_call(copy_original)(dst, src);
}

/* From now on folio_mc_copy() is called at @address. */
void copy_set_original(unsigned long address);

#endif /* ACCELMUX_COPY_H */
