/* SPDX-License-Identifier: MIT */
/*
 * builtin.h - what the built-in policies share: their ops, and arithmetic that each of them
 * would otherwise repeat.  A third party's policy needs policy.h alone.
 *
 * Owner: none, constants and pure functions only.  Any thread.
 */
#ifndef AMUX_BUILTIN_H
#define AMUX_BUILTIN_H

#include "policy.h"

#define AMUX_CHUNK_STEP 4096u /* chunk sizes are multiples of this, bytes */

/* The built-in ones, ended by NULL. */
extern const struct amux_policy_ops *const amux_policies[];

extern const struct amux_policy_ops amux_policy_partitioned;
extern const struct amux_policy_ops amux_policy_dynamic;
extern const struct amux_policy_ops amux_policy_shared;
extern const struct amux_policy_ops amux_policy_cpu;

/* Mask of engines 0 .. @n-1. */
static inline uint64_t amux_engine_mask(uint32_t n)
{
	return n >= 64 ? UINT64_MAX : (UINT64_C(1) << n) - 1;
}

/* @percent (0 .. 100) of @value, rounded down, without overflow. */
static inline uint64_t amux_percent_of(uint64_t value, uint64_t percent)
{
	return value / 100 * percent + value % 100 * percent / 100;
}

/* 0 if @chunk bytes is a multiple of AMUX_CHUNK_STEP, else -EINVAL and one line in @err. */
int amux_check_chunk(uint64_t chunk, char *err, size_t errlen);

#endif /* AMUX_BUILTIN_H */
