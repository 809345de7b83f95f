/* SPDX-License-Identifier: MIT */
/*
 * dma.h - what the guest's tests do with the modules: load, unload, read and set numbers in
 * debugfs.  Errors are -errno.
 */
#ifndef LAB_DMA_H
#define LAB_DMA_H

#include <stdbool.h>
#include <stdint.h>

#define STATS  "/sys/kernel/debug/accelmux/stats"
#define FAULTS "/sys/kernel/debug/amux_testdma/"

int dma_load(const char *path, const char *params);
int dma_unload(const char *name);
/* Test engine and accelmux.ko default=share, which has channels when it returns. */
int dma_load_both(const char *testdma_params, const char *accelmux_params);
void dma_unload_both(void);

/* A number called @name in the "name value" lines of @file; 0 if there is none. */
uint64_t dma_stat(const char *name);
uint64_t dma_reason(const char *reason, unsigned int column);
int file_write(const char *path, const char *text);
/* The number that a file holds; 0: none. */
uint64_t file_number(const char *path);
int fault_set(const char *name, unsigned int value);
uint64_t fault_get(const char *name);
/* Wait until stat @name is @value, at most @ms. */
bool dma_stat_becomes(const char *name, uint64_t value, unsigned int ms);
void sleep_ms(unsigned int ms);

#endif /* LAB_DMA_H */
