// SPDX-License-Identifier: MIT
/*
 * builtin.c - the table of built-in policies.
 *
 * `partitioned` comes first because it is what replaces a policy that erred: it needs no
 * history and no judgement, and no client can take from another what is not its own.
 */
#include "builtin.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

const struct amux_policy_ops *const amux_policies[] = {
	&amux_policy_partitioned,
	&amux_policy_dynamic,
	&amux_policy_shared,
	&amux_policy_cpu,
	NULL,
};

int amux_check_chunk(uint64_t chunk, char *err, size_t errlen)
{
	if (chunk % AMUX_CHUNK_STEP == 0)
		return 0;
	snprintf(err, errlen, "chunk = %" PRIu64 ": expected a multiple of %u bytes", chunk,
		 AMUX_CHUNK_STEP);
	return -EINVAL;
}
