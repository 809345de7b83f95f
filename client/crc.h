/* SPDX-License-Identifier: MIT */
/*
 * crc.h - CRC-32C (Castagnoli, reflected), chainable; shared by the library's CPU path and the
 * broker's software engine.
 *
 * Owner: none, pure functions.  Any thread.
 */
#ifndef AMUX_CRC_H
#define AMUX_CRC_H

#include <stddef.h>
#include <stdint.h>

/*
 * Continue the standard CRC-32C @crc (0 to begin) over @len bytes:
 *   amux_crc32c(0, "123456789", 9) == 0xe3069283
 *   amux_crc32c(amux_crc32c(0, a), b) == amux_crc32c(0, a followed by b)
 */
uint32_t amux_crc32c(uint32_t crc, const void *p, size_t len);

/* The same without the CPU's instruction.  Exposed for tests. */
uint32_t amux_crc32c_table(uint32_t crc, const void *p, size_t len);

#endif /* AMUX_CRC_H */
