// SPDX-License-Identifier: MIT
/*
 * test_node.c - two DMA devices on two nodes: work goes to the one where the pages go, while it
 * has room, and over to the other one when it has not; a broker gets the channels of the node
 * that it asks for.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../../kmod/uapi/accelmux.h"
#include "../../lib/tap.h"
#include "dma.h"
#include "move.h"
#include "pages.h"

#define CHANNELS 4     /* of a device, 12 slots each */
#define FEW	 40ul  /* pages: fewer than the slots of one device */
#define MANY	 512ul /* far more, and none next to another */

/* Descriptors submitted so far to channels on @node. */
static unsigned long long submitted(int node)
{
	FILE *f = fopen("/sys/kernel/debug/accelmux/channels", "r");
	unsigned long long n, sum = 0;
	char device[64], state[16];
	int at;

	while (f &&
	       fscanf(f, "%*u %*u %63s %d %15s %*u %*u %*u %llu", device, &at, state, &n) == 4)
		if (at == node)
			sum += n;
	if (f)
		fclose(f);
	return sum;
}

/* A process that lets the engines answer when no more is submitted. */
static pid_t gate_keeper(void)
{
	pid_t pid;

	fault_set("gate", 1);
	pid = fork();
	if (!pid) {
		unsigned long long seen, now = submitted(0) + submitted(1);

		sleep_ms(200);
		do {
			seen = now;
			sleep_ms(200);
			now = submitted(0) + submitted(1);
		} while (now != seen);
		fault_set("gate", 0);
		_exit(0);
	}
	return pid;
}

/*
 * Move @n pages from one node to the other and back; descriptors on each by direction.  @gated:
 * nothing is answered as long as more can be submitted.
 */
static void moved(size_t n, bool gated, unsigned long long by[2][2])
{
	struct memory m;
	pid_t pid = -1;

	if (memory_make(&m, KIND_ANON, n * PAGE, gated))
		tap_bail("no memory");
	for (int to = 1; to >= 0; to--) {
		for (int node = 0; node < 2; node++)
			by[to][node] = submitted(node);
		if (gated)
			pid = gate_keeper();
		move_to_node(m.base, n * PAGE, to);
		if (gated)
			waitpid(pid, NULL, 0);
		for (int node = 0; node < 2; node++)
			by[to][node] = submitted(node) - by[to][node];
	}
	memory_free(&m);
}

static void acquired(int node, const char *device)
{
	struct amux_hello hello = { .version = AMUX_GRANT_VERSION };
	struct amux_acquire a = { .node = node, .max_channels = 32 };
	struct amux_info info = { 0 };
	int fd = open("/dev/accelmux", O_RDWR | O_CLOEXEC);

	if (fd < 0 || ioctl(fd, AMUX_IOC_HELLO, &hello) || ioctl(fd, AMUX_IOC_ACQUIRE, &a) ||
	    ioctl(fd, AMUX_IOC_INFO, &info))
		tap_bail("acquire: %s", strerror(errno));
	tap_ok(a.n_channels == CHANNELS && info.node == node && !strcmp(info.name, device),
	       "a broker asks for node %d: %u channels of %s", node, a.n_channels, info.name);
	close(fd);
}

int main(int argc, char **argv)
{
	unsigned long long by[2][2];
	int ret;

	tap_init(argc, argv, 600);
	ret = dma_load_both("devices=2 channels=4 node=0,1", "");
	if (ret)
		tap_bail("the modules do not load: %s", strerror(-ret));
	moved(FEW, false, by);
	for (int to = 0; to < 2; to++)
		tap_ok(by[to][to] && !by[to][!to],
		       "few pages to node %d: %llu descriptors there, %llu on the other node",
		       to, by[to][to], by[to][!to]);
	tap_ok(!dma_stat("cross_node"), "none of them crosses");
	/* Room is what decides. */
	moved(MANY, true, by);
	for (int to = 0; to < 2; to++)
		tap_ok(by[to][to] && by[to][!to],
		       "many pages to node %d: %llu descriptors there, %llu on the other node",
		       to, by[to][to], by[to][!to]);
	tap_ok(dma_stat("cross_node") == by[0][1] + by[1][0], "what crosses is counted: %lu",
	       (unsigned long)dma_stat("cross_node"));
	acquired(0, "amux-testdma.0");
	acquired(1, "amux-testdma.1");
	dma_unload_both();
	return tap_done();
}
