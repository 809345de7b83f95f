/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * proto.h - does the running kernel's own description of its types (BTF) say what this module
 * was compiled for?  A function that is hooked but not exported has no symbol version, and a
 * wrong prototype would be noticed by nobody until it corrupts.
 *
 * Owner: nothing is kept.  Process context, at load.
 */
#ifndef ACCELMUX_PROTO_H
#define ACCELMUX_PROTO_H

/*
 * A function and the prototypes that will do, up to a NULL: C without parameter names and
 * spaces after commas, integers as s32, u64 and so on.
 */
struct proto {
	const char *name;
	const char *const *expected;
};

/*
 * 0; -ENOEXEC, after one line that names the function: not described, or not as expected.
 * A kernel without BTF (CONFIG_DEBUG_INFO_BTF=n) passes: there the headers that this module
 * was built with are all there is, and it says so.
 */
int proto_check(const struct proto *p, unsigned int n);

#endif /* ACCELMUX_PROTO_H */
