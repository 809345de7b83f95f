// SPDX-License-Identifier: MIT
/*
 * rows.c - see row.h.  The first probe of a row is accelmux; ratios are accelmux / peer.
 */
#include "probe.h"
#include "row.h"

#define K (1ul << 10)
#define M (1ul << 20)

#define RATE(nm, fn, d)                                              \
	{                                                            \
		.name = nm, .run = fn, .unit = UNIT_MOPS, .depth = d \
	}
#define TRIP(nm, fn)                                               \
	{                                                          \
		.name = nm, .run = fn, .unit = UNIT_NS, .depth = 1 \
	}
#define SLEEP(nm, fn)                                                                     \
	{                                                                                 \
		.name = nm, .run = fn, .unit = UNIT_NS, .depth = 1, .waiting = WAIT_SLEEP \
	}
#define COPY(nm, fn, sz, d)                                                      \
	{                                                                        \
		.name = nm, .run = fn, .unit = UNIT_GBPS, .size = sz, .depth = d \
	}
#define TOUCH(nm, fn, sz, d)                                                      \
	{                                                                         \
		.name = nm, .run = fn, .unit = UNIT_GBPS, .size = sz, .depth = d, \
		.touch = true                                                     \
	}
#define CROWD(nm, fn, d, n)                                                         \
	{                                                                           \
		.name = nm, .run = fn, .unit = UNIT_MOPS, .depth = d, .sessions = n \
	}

#define RATIO(peer, rel, lim, best)                                                     \
	{                                                                               \
		.judge = JUDGE_RATIO, .a = 0, .b = peer, .relation = rel, .limit = lim, \
		.aim = best                                                             \
	}

/* amux_copy() where the engine is a broker with a core of its own: the library's choice counts. */
#define SYNC(sz, text, u, ...)                                                            \
	{                                                                                 \
		.name = "copy_" text, .what = "amux_copy() of " text " bytes", .set = sz, \
		.n_probes = 2,                                                            \
		.probes = { { .name = "amux_copy()",                                      \
			      .run = amux_sync,                                           \
			      .unit = u,                                                  \
			      .size = sz,                                                 \
			      .depth = 1 },                                               \
			    { .name = "memcpy",                                           \
			      .run = plain_sync,                                          \
			      .unit = u,                                                  \
			      .size = sz,                                                 \
			      .depth = 1 } },                                             \
		.n_targets = 1, .targets = { { .a = 0, .b = 1, __VA_ARGS__ } },           \
	}
#define SYNC_NS(sz, text) \
	SYNC(sz, text, UNIT_NS, .judge = JUDGE_DIFFERENCE, .relation = AT_MOST, .limit = 5)
#define SYNC_RATE(sz, text) \
	SYNC(sz, text, UNIT_GBPS, .judge = JUDGE_RATIO, .relation = AT_LEAST, .limit = 0.97)

#define ACROSS(sz, text, n, ...)                                                            \
	{                                                                                   \
		.name = "across_" text,                                                     \
		.what = "copies of " text ", one in flight, 64 MiB source and destination", \
		.set = 64 * M, .n_probes = 7,                                               \
		.probes = { COPY("accelmux", amux_copies, sz, 1),                           \
			    COPY("vmsplice, pipe, read", vmsplice_copies, sz, 1),           \
			    COPY("seqpacket server", seqpacket_copies, sz, 1),              \
			    COPY("eventfd server", eventfd_copies, sz, 1),                  \
			    COPY("polled server", polled_copies, sz, 1),                    \
			    COPY("process_vm_readv", readv_copies, sz, 1),                  \
			    COPY("memcpy", plain_copies, sz, 1) },                          \
		.n_targets = n, .targets = { __VA_ARGS__ },                                 \
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
	SYNC_NS(64, "64"),
	SYNC_NS(256, "256"),
	SYNC_NS(1024, "1k"),
	SYNC_RATE(4 * K, "4k"),
	SYNC_RATE(64 * K, "64k"),
	SYNC_RATE(1 * M, "1m"),
	SYNC_RATE(16 * M, "16m"),
	{
		.name = "sessions",
		.what = "NOOP, 32 in flight, of one session while 255 others are connected and "
			"idle",
		.n_probes = 2,
		.probes = { CROWD("256 sessions", amux_noop_rate, 32, 255),
			    RATE("one session", amux_noop_rate, 32) },
		.n_targets = 1,
		.targets = { RATIO(1, AT_LEAST, 0.97, 0) },
	},
	{
		.name = "idle",
		.what = "an idle broker with one session, for 10 s",
		.set = 64 * K,
		.once = true,
		.n_probes = 2,
		.probes = { { .name = "wake-ups", .run = amux_wakeups, .unit = UNIT_COUNT },
			    { .name = "RssAnon", .run = amux_memory, .unit = UNIT_MIB } },
		.n_targets = 2,
		.targets = { { .judge = JUDGE_VALUE, .a = 0, .relation = AT_MOST, .limit = 0 },
			     { .judge = JUDGE_VALUE,
			       .a = 1,
			       .relation = AT_MOST,
			       .limit = 8 } },
	},
	ACROSS(4 * K, "4k", 0),
	ACROSS(64 * K, "64k", 2, RATIO(1, AT_LEAST, 1.1, 0), RATIO(2, AT_LEAST, 3.5, 0)),
	ACROSS(2 * M, "2m", 0),
};

const unsigned int n_rows = sizeof(rows) / sizeof(rows[0]);
