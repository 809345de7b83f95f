// SPDX-License-Identifier: MIT
/*
 * test_boot.c - does the guest have what the other tests stand on?
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../../lib/tap.h"

static void has(const char *path, const char *why)
{
	tap_ok(!access(path, F_OK), "%s (%s)", path, why);
}

int main(int argc, char **argv)
{
	tap_init(argc, argv, 60);
	has("/sys/devices/system/node/node1", "a second NUMA node");
	has("/sys/devices/virtual/memory_tiering", "memory tiers");
	has("/sys/kernel/mm/numa/demotion_enabled", "demotion");
	has("/sys/kernel/mm/damon/admin", "DAMON");
	has("/sys/kernel/mm/ksm/run", "KSM");
	has("/sys/kernel/mm/transparent_hugepage/enabled", "THP");
	has("/proc/sys/vm/compact_memory", "compaction");
	has("/sys/kernel/tracing/events", "tracefs");
	has("/sys/kernel/debug", "debugfs");
	has("/dev/vda", "a disk");
	return tap_done();
}
