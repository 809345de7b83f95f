// SPDX-License-Identifier: MIT
/*
 * crc.c - CRC-32C by the CPU's own instruction, or by table.
 */
#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#include "crc.h"

#define CRC_POLY 0x82f63b78u /* Castagnoli, reflected */

static uint32_t crc_table[256];
static pthread_once_t crc_once = PTHREAD_ONCE_INIT;

static void crc_table_make(void)
{
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t c = i;

		for (unsigned int bit = 0; bit < 8; bit++)
			c = c & 1 ? c >> 1 ^ CRC_POLY : c >> 1;
		crc_table[i] = c;
	}
}

uint32_t amux_crc32c_table(uint32_t crc, const void *p, size_t len)
{
	const uint8_t *b = p;

	pthread_once(&crc_once, crc_table_make);
	crc = ~crc;
	while (len--)
		crc = crc >> 8 ^ crc_table[(crc ^ *b++) & 0xff];
	return ~crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t crc32c_sse42(uint32_t crc, const uint8_t *b,
							       size_t len)
{
	uint64_t c = ~crc;

	for (; len >= 8; len -= 8, b += 8) {
		uint64_t word;

		memcpy(&word, b, sizeof(word));
		c = __builtin_ia32_crc32di(c, word);
	}
	while (len--)
		c = __builtin_ia32_crc32qi((uint32_t)c, *b++);
	return ~(uint32_t)c;
}
#endif

uint32_t amux_crc32c(uint32_t crc, const void *p, size_t len)
{
#if defined(__x86_64__)
	if (__builtin_cpu_supports("sse4.2"))
		return crc32c_sse42(crc, p, len);
#endif
	return amux_crc32c_table(crc, p, len);
}
