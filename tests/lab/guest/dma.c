// SPDX-License-Identifier: MIT
/*
 * dma.c - see dma.h.
 */
#include "dma.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

void sleep_ms(unsigned int ms)
{
	struct timespec ts = { ms / 1000, (long)(ms % 1000) * 1000000 };

	nanosleep(&ts, NULL);
}

int dma_load(const char *path, const char *params)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), ret;

	if (fd < 0)
		return -errno;
	ret = syscall(SYS_finit_module, fd, params, 0) ? -errno : 0;
	close(fd);
	return ret;
}

int dma_unload(const char *name)
{
	return syscall(SYS_delete_module, name, O_NONBLOCK) ? -errno : 0;
}

int dma_load_both(const char *testdma_params, const char *accelmux_params)
{
	char params[256];
	int ret = dma_load("/m/amux_testdma.ko", testdma_params);

	if (ret)
		return ret;
	/* A guest may be slow, a debug kernel ever so much: not every delay is a fault. */
	snprintf(params, sizeof(params), "default=share timeout_ms=10000 %s", accelmux_params);
	ret = dma_load("/m/accelmux.ko", params);
	if (!ret && !dma_stat_becomes("armed", 1, 5000))
		ret = -ETIMEDOUT;
	return ret;
}

void dma_unload_both(void)
{
	dma_unload("accelmux");
	dma_unload("amux_testdma");
}

uint64_t dma_stat(const char *name)
{
	FILE *f = fopen(STATS, "r");
	char word[64];
	unsigned long long v, found = 0;

	while (f && fscanf(f, "%63s %llu", word, &v) == 2)
		if (!strcmp(word, name))
			found = v;
	if (f)
		fclose(f);
	return found;
}

uint64_t dma_reason(const char *reason, unsigned int column)
{
	FILE *f = fopen("/sys/kernel/debug/accelmux/reasons", "r");
	unsigned long long v[5], found = 0;
	char word[64];

	while (f && fscanf(f, "%63s %llu %llu %llu %llu %llu", word, &v[0], &v[1], &v[2], &v[3],
			   &v[4]) == 6)
		if (!strcmp(word, reason) && column < 5)
			found = v[column];
	if (f)
		fclose(f);
	return found;
}

int file_write(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), ret = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		ret = -errno;
	close(fd);
	return ret;
}

int fault_set(const char *name, unsigned int value)
{
	char path[128], text[32];

	snprintf(path, sizeof(path), FAULTS "%s", name);
	snprintf(text, sizeof(text), "%u", value);
	return file_write(path, text);
}

uint64_t file_number(const char *path)
{
	unsigned long long v = 0;
	FILE *f = fopen(path, "r");

	if (f && fscanf(f, "%llu", &v) != 1)
		v = 0;
	if (f)
		fclose(f);
	return v;
}

uint64_t fault_get(const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), FAULTS "%s", name);
	return file_number(path);
}

bool dma_stat_becomes(const char *name, uint64_t value, unsigned int ms)
{
	unsigned int waited;

	for (waited = 0; dma_stat(name) != value; waited += 20) {
		if (waited >= ms)
			return false;
		sleep_ms(20);
	}
	return true;
}
