/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * crc32c.h - CRC-32C (Castagnoli), chainable.  Pure, any thread.
 */
#ifndef BROKER_CRC32C_H
#define BROKER_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/*
 * Continue the standard CRC-32C @crc (0 to begin) over @len bytes:
 *   crc32c(0, "123456789", 9) == 0xe3069283
 *   crc32c(crc32c(0, a), b) == crc32c(0, a followed by b)
 */
uint32_t crc32c(uint32_t crc, const void *buf, size_t len);

/* The same without the CPU's CRC instruction.  Exposed for tests. */
uint32_t crc32c_table(uint32_t crc, const void *buf, size_t len);

#endif /* BROKER_CRC32C_H */
