// SPDX-License-Identifier: GPL-2.0-only
/*
 * copy.c - see copy.h.
 */
#include "copy.h"

DEFINE_STATIC_CALL(copy_original, folio_mc_copy);

void copy_set_original(unsigned long address)
{
	static_call_update(copy_original, (typeof(&folio_mc_copy))address);
}
