#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Make the synthetic traces again, the same bytes every time: generate.sh [DIRECTORY]
# Their shape is that of the batch sizes seen with stock kernels, see docs/kernel-replay.md;
# their times are made up.
set -eu

dir=${1:-$(dirname "$0")}

# generate NAME SEED BATCHES: what the function NAME below makes, one batch a call
generate()
{
	awk -v name="$1" -v seed="$2" -v batches="$3" '
	# Lehmer: exact in the doubles of every awk, unlike rand()
	function random(n) { seed = seed * 48271 % 2147483647; return seed % n }
	function between(lo, hi) { return lo + random(hi - lo + 1) }

	function put(reason, pages, order, runs)
	{
		printf "%d %s %d %d %d\n", now, reason, pages, order, runs
		bytes = pages * 4096
	}
	# the next batch comes when this one would be done at so many MB/s, give or take half
	function pace(mbps) { now += int(bytes * 1000 / mbps * between(50, 150) / 100) }

	# 75 to 99 % of neighbouring pages are contiguous
	function mbind(reason) { put(reason, 512, 0, 512 - int(511 * between(75, 99) / 100)) }
	# two modes, never contiguous: source and destination run in opposite directions
	function compaction(n)
	{
		n = random(2) ? between(128, 255) : between(32, 63)
		put("compaction", n, 0, n)
	}
	function damon() { put("damon", 512, 0, 512) }
	# 1 to 127 pages, 85 % of them below 32
	function demotion(n)
	{
		n = random(100) < 85 ? between(1, 31) : between(32, 127)
		put("demotion", n, 0, n)
	}
	function thp() { put(random(4) ? "syscall" : "numa_misplaced", 512, 9, 1) }
	function mixed(r)
	{
		r = random(100)
		if (r < 40)
			mbind(r < 25 ? "mbind" : "syscall")
		else if (r < 60)
			compaction()
		else if (r < 75)
			damon()
		else if (r < 85)
			demotion()
		else
			thp()
	}

	BEGIN {
		print "# SPDX-License-Identifier: MIT"
		print "accelmux-trace 1 synthetic"
		print "# " name ".trace: made by generate.sh, not recorded on any host"
		print "# time_ns reason pages order runs"
		for (i = 0; i < batches; i++) {
			if (name == "mbind") {
				mbind("mbind")
				pace(5000)
			} else if (name == "compaction") {
				compaction()
				pace(2000)
			} else if (name == "damon") {	# 16 at once, every 50 ms
				damon()
				if (i % 16 == 15)
					now += 50000000
			} else if (name == "demotion") {
				demotion()
				pace(1000)
			} else if (name == "thp") {
				thp()
				pace(5000)
			} else if (name == "mixed") {
				mixed()
				pace(10000)
			} else if (name == "burst") {
				put("compaction", 64, 0, 64)
				now += 10000000
			}
		}
	}' > "$dir/$1.trace"
}

generate mbind 1 1000
generate compaction 2 1500
generate damon 3 640
generate demotion 4 1500
generate thp 5 1000
generate mixed 6 2400
generate burst 7 200
