#!/bin/busybox sh
# SPDX-License-Identifier: MIT
#
# Recorded traces, on a host without any engine: accelmux.ko with default=cpu, no broker, and
# `accelmux trace record` beside migrations of every kind.  What is recorded must have the shape
# of docs/kernel-replay.md.  AMUX_LAB_RECORD: record for longer, and leave the traces on
# the disk as a tar archive (lab.sh record).
. /t/lib_tap.sh

seconds=3 fresh=2
[ -z "$AMUX_LAB_QUICK" ] || seconds=1
[ -z "$AMUX_LAB_RECORD" ] || seconds=15 fresh=20
tracing=/sys/kernel/tracing

# hooked: is folio_mc_copy() redirected?
hooked()
{
	grep -q '^folio_mc_copy ' $tracing/enabled_functions
}

# becomes COMMAND...: within five seconds
becomes()
{
	i=0
	until "$@"; do
		[ $i -lt 50 ] || return 1
		i=$((i + 1))
		sleep 0.1
	done
}

not()
{
	! "$@"
}

recorder_start()
{
	accelmux trace record "/tmp/$1.trace" --time 300s --force >/tmp/said 2>&1 &
	recorder=$!
	becomes hooked
}

# recorder_stop: its exit status
recorder_stop()
{
	kill -INT $recorder
	wait $recorder
}

# record NAME LOAD...: the loads, one after the other, each "WAY KIND MIB", or fresh: memory that
# is moved for the first time
record()
{
	name=$1 bad=""
	shift
	recorder_start "$name" || bad="not armed"
	for load; do
		# shellcheck disable=SC2086 # words
		set -- $load
		time=$seconds
		[ "$load" != fresh ] || { time=0 && set -- mbind anon 64; }
		/t/migload "$time" "$3" "$1" "$2" >/tmp/load 2>&1 || bad="$bad $1: $(cat /tmp/load)"
	done
	recorder_stop || bad="$bad exit $?"
	[ -z "$bad" ] && grep -q ', 0 lost$' /tmp/said
	result $? "$name: $(cat /tmp/said) $bad"
	accelmux trace show "/tmp/$name.trace" >/tmp/show 2>&1 &&
		grep -q '^Provenance   recorded' /tmp/show
	result $? "$name: it loads"
	sed 's/^/# /' /tmp/show
}

# share NAME REASON CONDITION: percent of the pages of batches with this reason for which the
# awk condition on pages (p), order (o) and runs per folio (r) holds; -1 if there are none
share()
{
	awk -v reason="$2" '/^[0-9]/ && $2 == reason {
		p = $3; o = $4; r = $5 * (o == 9 ? 512 : 1) / p
		all += p
		if ('"$3"') some += p
	}
	END { print all ? int(100 * some / all) : -1 }' "/tmp/$1.trace"
}

# shape NAME REASON CONDITION PERCENT WHAT: at least so many
shape()
{
	s=$(share "$1" "$2" "$3")
	[ "$s" -ge "$4" ]
	result $? "$1: $5: $s % of the pages, expected $4 or more"
}

accelmux trace record /tmp/none.trace >/tmp/said 2>&1
[ $? = 1 ] && grep -q 'expected the kernel module accelmux to be loaded' /tmp/said &&
	[ ! -e /tmp/none.trace ]
result $? "without the module: $(cat /tmp/said)"

# Else it brings back at once what is moved away from the CPUs.
echo 0 >/proc/sys/kernel/numa_balancing
insmod /m/accelmux.ko default=cpu && not hooked
result $? "the module loads, and does not look at any page"
# shellcheck disable=SC2046 # words
record mbind $(yes fresh | head -n $fresh) "mbind anon 16"
shape mbind mbind "p == 512 && o == 0" 80 "512 pages a batch"
becomes not hooked
result $? "when nobody records it looks at no page"
[ -z "$(ls $tracing/instances)" ]
result $? "the tracefs instance is gone"
record syscall "move_pages anon 16" "move_pages anon 16"
shape syscall syscall "p == 512 && o == 0" 80 "512 pages a batch"
record compaction "compact_memory anon 4" "kcompactd anon 4"
shape compaction compaction "p >= 32 && p <= 512" 90 "32 pages a batch or more"
shape compaction compaction "r > 0.9" 80 "hardly anything contiguous"
record damon "migrate_cold anon 40"
shape damon damon "p >= 128" 80 "128 pages a batch or more"
record demotion "demotion anon 32"
shape demotion demotion "p < 128" 80 "fewer than 128 pages a batch"
record thp "numa_balancing THP 64" "move_pages THP 32" "mbind THP 32"
shape thp syscall "o == 9 && p % 512 == 0" 80 "2 MiB folios"
shape thp numa_misplaced "o == 9 && p == 512" 50 "one 2 MiB folio a batch"

if [ -z "$AMUX_LAB_RECORD" ]; then
	recorder_start short
	/t/migload 1 8 >/tmp/load
	rmmod accelmux
	result $? "the module unloads while it is traced"
	recorder_stop
	result $? "what was recorded until then is kept: $(cat /tmp/said)"
	insmod /m/accelmux.ko && not hooked
	result $? "it loads again"
	echo 1 >$tracing/events/accelmux/accelmux_batch/enable
	becomes hooked && /t/migload 1 8 >/tmp/load
	result $? "tracing without accelmux trace: $(cat /tmp/load)"
	rmmod accelmux && insmod /m/accelmux.ko
	result $? "unloaded and loaded while its event is enabled"
	recorder_start lost
	dir=$(echo $tracing/instances/accelmux-*)
	echo 4 >"$dir/buffer_size_kb"
	kill -STOP $recorder
	/t/migload 4 32 demotion >/tmp/load
	kill -CONT $recorder
	recorder_stop
	lost=$?
	if [ -e /sys/kernel/debug/kmemleak ]; then # a debug kernel is too slow to lose any
		echo "# no batches lost: $(tail -n 1 /tmp/said)"
	else
		[ $lost = 1 ] && grep -q 'batches were lost; expected none' /tmp/said
		result $? "batches lost are told: $(tail -n 1 /tmp/said)"
	fi
fi
rmmod accelmux
result $? "the module unloads"
[ -z "$AMUX_LAB_RECORD" ] || tar -C /tmp -cf /dev/vda mbind.trace syscall.trace compaction.trace \
	damon.trace demotion.trace thp.trace
echo "1..$n"
