#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Make the traces again, the same bytes every time: generate.sh [DIRECTORY]
#
# What was recorded (tests/lab/lab.sh record) is taken from the files beside this script and
# given the same times as they have.  mixed is an interleave of them, burst is made up.
# ACCELMUX: the command (default build/accelmux).
set -eu

here=$(cd "$(dirname "$0")" && pwd)
dir=${1:-$here}
: "${ACCELMUX:=$here/../../build/accelmux}"
recorded="mbind syscall compaction damon demotion thp"

# pace NAME RATE SEED [FROM]
pace()
{
	"$ACCELMUX" trace pace "${4:-$here/$1.trace}" "$dir/$1.trace" --rate "$2" --seed "$3" --force
}

# burst: 64 pages every 10 ms, 200 times
burst()
{
	awk 'BEGIN {
		print "# SPDX-License-Identifier: MIT"
		print "accelmux-trace 1 synthetic"
		print "# burst.trace: made by generate.sh, not recorded on any host: a load pattern"
		print "# time_ns reason pages order runs"
		for (i = 0; i < 200; i++)
			printf "%d compaction 64 0 64\n", i * 10000000
	}' >"$dir/burst.trace"
}

# mixed SEED BATCHES: so many batches of a hundred of each file, its next one each time
mixed()
{
	# shellcheck disable=SC2046,SC2086 # names without blanks
	(cd "$here" && awk -v seed="$1" -v batches="$2" '
	# Lehmer: exact in the doubles of every awk, unlike rand()
	function random(n) { seed = seed * 48271 % 2147483647; return seed % n }

	FNR == 1 { name = FILENAME; sub(/\.trace$/, "", name) }
	/^# recorded on / { sub(/,.*/, ""); on = $0 }
	/^[0-9]/ { line[name, n[name]++] = $2 " " $3 " " $4 " " $5 }
	END {
		print "# SPDX-License-Identifier: MIT"
		print "# mixed.trace: made by generate.sh of the recorded ones"
		print on
		print "accelmux-trace 1 paced"
		for (i = 0; i < batches; i++) {
			r = random(100)
			name = r < 25 ? "mbind" : r < 40 ? "syscall" : r < 60 ? "compaction" : \
				r < 75 ? "damon" : r < 85 ? "demotion" : "thp"
			print "0 " line[name, next_of[name]++ % n[name]]
		}
	}' $(printf '%s.trace ' $recorded)) >"$dir/mixed.tmp"
	pace mixed 10G "$1" "$dir/mixed.tmp"
	rm -f "$dir/mixed.tmp"
}

pace mbind 5G 1
pace syscall 5G 2
pace compaction 2G 3
pace damon 1G 4
pace demotion 1G 5
pace thp 5G 6
mixed 7 2400
burst
