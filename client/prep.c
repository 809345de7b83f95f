// SPDX-License-Identifier: MIT
/*
 * prep.c - fill in requests from addresses.
 */
#include <errno.h>
#include <string.h>

#include "handle.h"

/* Which of the three operands an op has. */
#define USE(i) (1u << (i))

/*
 * Start @sqe over as @op on the operands in @used.  A range in no region leaves a NOOP, so
 * that a caller who misses the error moves no wrong bytes.
 */
static int prep(struct amux *a, struct amux_sqe *sqe, enum amux_op op, unsigned int used,
		const void *const ptr[3], size_t len)
{
	int err;

	if (!sqe)
		return -EINVAL;
	memset(sqe, 0, sizeof(*sqe));
	for (unsigned int i = 0; i < 3; i++) {
		if (!(used & USE(i)))
			continue;
		err = amux_locate(a, ptr[i], len, &sqe->region[i], &sqe->offset[i]);
		if (err) {
			memset(sqe, 0, sizeof(*sqe));
			return err;
		}
	}
	sqe->op = (uint8_t)op;
	sqe->len = len;
	return 0;
}

int amux_prep_noop(struct amux_sqe *sqe)
{
	if (!sqe)
		return -EINVAL;
	memset(sqe, 0, sizeof(*sqe));
	return 0;
}

int amux_prep_cancel(struct amux_sqe *sqe, uint64_t user_data, unsigned int flags)
{
	if (!sqe || flags & ~AMUX_CANCEL_LATER)
		return -EINVAL;
	memset(sqe, 0, sizeof(*sqe));
	sqe->op = AMUX_OP_CANCEL;
	/* As the library takes it; the broker knows requests by other names (cancel.c). */
	sqe->offset[0] = user_data;
	sqe->offset[2] = flags;
	return 0;
}

int amux_prep_copy(struct amux *a, struct amux_sqe *sqe, void *dst, const void *src, size_t len)
{
	const void *const ptr[3] = { src, dst, NULL };

	return prep(a, sqe, AMUX_OP_COPY, USE(0) | USE(1), ptr, len);
}

int amux_prep_fill(struct amux *a, struct amux_sqe *sqe, void *dst, uint64_t pattern,
		   size_t len)
{
	const void *const ptr[3] = { NULL, dst, NULL };
	int err = prep(a, sqe, AMUX_OP_FILL, USE(1), ptr, len);

	if (!err)
		sqe->offset[2] = pattern;
	return err;
}

int amux_prep_compare(struct amux *a, struct amux_sqe *sqe, const void *x, const void *y,
		      size_t len)
{
	const void *const ptr[3] = { x, y, NULL };

	return prep(a, sqe, AMUX_OP_COMPARE, USE(0) | USE(1), ptr, len);
}

int amux_prep_dualcast(struct amux *a, struct amux_sqe *sqe, void *dst1, void *dst2,
		       const void *src, size_t len)
{
	const void *const ptr[3] = { src, dst1, dst2 };

	return prep(a, sqe, AMUX_OP_DUALCAST, USE(0) | USE(1) | USE(2), ptr, len);
}

int amux_prep_crc32c(struct amux *a, struct amux_sqe *sqe, const void *src, uint32_t seed,
		     size_t len)
{
	const void *const ptr[3] = { src, NULL, NULL };
	int err = prep(a, sqe, AMUX_OP_CRC32C, USE(0), ptr, len);

	if (!err)
		sqe->offset[2] = seed;
	return err;
}

int amux_prep_copy_crc(struct amux *a, struct amux_sqe *sqe, void *dst, const void *src,
		       uint32_t seed, size_t len)
{
	const void *const ptr[3] = { src, dst, NULL };
	int err = prep(a, sqe, AMUX_OP_COPY_CRC, USE(0) | USE(1), ptr, len);

	if (!err)
		sqe->offset[2] = seed;
	return err;
}
