// SPDX-License-Identifier: MIT
/*
 * rows.c - see row.h.  The first probe of a row is accelmux; ratios are accelmux / peer.
 */
#include "probe.h"
#include "row.h"

#define K (1ul << 10)
#define M (1ul << 20)

#define RATE(nm, fn, d)                                                             \
	{                                                                           \
		.name = nm, .run = fn, .unit = UNIT_MOPS, .depth = d, .polls = true \
	}
#define TRIP(nm, fn)                                                              \
	{                                                                         \
		.name = nm, .run = fn, .unit = UNIT_NS, .depth = 1, .polls = true \
	}
#define SLEEP(nm, fn)                                                                     \
	{                                                                                 \
		.name = nm, .run = fn, .unit = UNIT_NS, .depth = 1, .waiting = WAIT_SLEEP \
	}
#define COPY(nm, fn, sz, d)                                                       \
	{                                                                         \
		.name = nm, .run = fn, .unit = UNIT_GBPS, .size = sz, .depth = d, \
		.polls = true                                                     \
	}
#define TOUCH(nm, fn, sz, d)                                                      \
	{                                                                         \
		.name = nm, .run = fn, .unit = UNIT_GBPS, .size = sz, .depth = d, \
		.touch = true, .polls = true                                      \
	}

#define RATIO(peer, rel, lim, best)                                                     \
	{                                                                               \
		.judge = JUDGE_RATIO, .a = 0, .b = peer, .relation = rel, .limit = lim, \
		.aim = best                                                             \
	}

const struct row rows[] = {
	{
		.name = "noop_qd32",
		.what = "NOOP, 32 in flight",
		.n_probes = 3,
		.probes = { RATE("accelmux", amux_noop_rate, 32),
			    RATE("io_uring SQPOLL NOP", uring_rate, 32),
			    RATE("rte_ring 64 B echo", dpdk_rate, 32) },
		.n_targets = 2,
		.targets = { RATIO(1, AT_LEAST, 2.5, 4), RATIO(2, AT_LEAST, 0.8, 1) },
	},
	{
		.name = "noop_trip",
		.what = "NOOP round trip p50, polling",
		.n_probes = 4,
		.probes = { TRIP("accelmux", amux_noop_trip), TRIP("cache line", line_trip),
			    TRIP("io_uring SQPOLL NOP", uring_trip),
			    TRIP("rte_ring 64 B echo", dpdk_trip) },
		.n_targets = 2,
		.targets = { RATIO(1, AT_MOST, 1.8, 1.4), RATIO(2, AT_MOST, 0.8, 0.5) },
	},
	{
		.name = "sleep_trip",
		.what = "NOOP round trip p50, sleeping, spinning off",
		.spin = "0ns",
		.n_probes = 2,
		.probes = { SLEEP("accelmux", amux_noop_trip), SLEEP("eventfd", eventfd_trip) },
		.n_targets = 1,
		.targets = { RATIO(1, AT_MOST, 1.15, 0) },
	},
	{
		.name = "hot_4k",
		.what = "copies of 4K, 32 in flight, in cache",
		.set = 32 * 4 * K,
		.n_probes = 2,
		.probes = { COPY("accelmux", amux_copies, 4 * K, 32),
			    COPY("memcpy", plain_copies, 4 * K, 32) },
		.n_targets = 1,
		.targets = { RATIO(1, AT_LEAST, 0.5, 0) },
	},
	{
		.name = "hot_64k",
		.what = "copies of 64K, 32 in flight, in cache",
		.set = 32 * 64 * K,
		.n_probes = 2,
		.probes = { COPY("accelmux", amux_copies, 64 * K, 32),
			    COPY("memcpy", plain_copies, 64 * K, 32) },
		.n_targets = 1,
		.targets = { RATIO(1, AT_LEAST, 0.9, 0) },
	},
	{
		.name = "hot_4k_touch",
		.what = "the same of 4K, the client writes each source and reads each "
			"destination",
		.set = 32 * 4 * K,
		.n_probes = 2,
		.probes = { TOUCH("accelmux", amux_copies, 4 * K, 32),
			    TOUCH("memcpy", plain_copies, 4 * K, 32) },
	},
	{
		.name = "hot_64k_touch",
		.what = "the same of 64K, the client writes each source and reads each "
			"destination",
		.set = 32 * 64 * K,
		.n_probes = 2,
		.probes = { TOUCH("accelmux", amux_copies, 64 * K, 32),
			    TOUCH("memcpy", plain_copies, 64 * K, 32) },
	},
	{
		.name = "large_64k",
		.what = "copies of 64K, 32 in flight, 1 GiB set (half source, half "
			"destination)",
		.set = 512 * M,
		.n_probes = 3,
		.probes = { COPY("accelmux", amux_copies, 64 * K, 32),
			    COPY("memcpy", plain_copies, 64 * K, 32),
			    COPY("non-temporal loop", stream_copies, 64 * K, 32) },
		.n_targets = 2,
		.targets = { RATIO(1, AT_LEAST, 1.6, 0), RATIO(2, AT_LEAST, 0.9, 0) },
	},
	{
		.name = "large_2m",
		.what = "copies of 2M, 32 in flight, 1 GiB set (half source, half destination)",
		.set = 512 * M,
		.n_probes = 3,
		.probes = { COPY("accelmux", amux_copies, 2 * M, 32),
			    COPY("memcpy", plain_copies, 2 * M, 32),
			    COPY("non-temporal loop", stream_copies, 2 * M, 32) },
		.n_targets = 2,
		.targets = { RATIO(1, AT_LEAST, 1.6, 0), RATIO(2, AT_LEAST, 0.9, 0) },
	},
};

const unsigned int n_rows = sizeof(rows) / sizeof(rows[0]);
