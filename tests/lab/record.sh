# SPDX-License-Identifier: MIT
# shellcheck shell=sh
#
# record.sh - make the traces of tests/traces: recorded in a guest by guest/test_trace.sh, with
# times by `accelmux trace pace`, since those of an emulated machine mean nothing.

# select_batches FILE REASONS ORDERS MAX: the trace with only these, the first so many
select_batches()
{
	awk -v reasons=" $2 " -v orders=" $3 " -v max="$4" '
		!/^[0-9]/ { print; next }
		index(reasons, " " $2 " ") && index(orders, " " $4 " ") && n++ < max' "$1"
}

# shipped NAME RATE SEED REASONS ORDERS MAX
shipped()
{
	raw=$recorded/$1.trace
	{
		echo "# SPDX-License-Identifier: MIT"
		echo "# $1.trace: made by tests/lab/lab.sh record"
		select_batches "$raw" "$4" "$5" "$6" |
			sed "s/^# recorded on Linux [^,]*/& in QEMU without KVM/"
	} >"$raw.selected"
	"$O/accelmux" trace pace "$raw.selected" "$top/tests/traces/$1.trace" \
		--rate "$2" --seed "$3" --force || return 1
	"$O/accelmux" trace show "$top/tests/traces/$1.trace"
	echo
}

# lab_record KERNEL
lab_record()
{
	recorded=$O/lab/$1/recorded
	rm -rf "$recorded"
	mkdir -p "$recorded"
	pack "$1" || return 1
	# shellcheck disable=SC2034 # boot.sh looks at it
	AMUX_LAB_DISK=$recorded/disk
	: "${AMUX_LAB_TIMEOUT:=1800}"
	boot "$1" "amux.tests=trace AMUX_LAB_RECORD=1"
	judge "$1" trace || return 1
	tar -C "$recorded" -xf "$recorded/disk" || return 1
	rm -f "$recorded/disk"
	shipped mbind 5G 1 mbind 0 800 || return 1
	shipped syscall 5G 2 syscall 0 400 || return 1
	shipped compaction 2G 3 compaction 0 1200 || return 1
	shipped damon 1G 4 damon 0 640 || return 1
	shipped demotion 1G 5 demotion 0 1200 || return 1
	shipped thp 5G 6 "syscall mbind numa_misplaced" 9 500 || return 1
	ACCELMUX=$O/accelmux "$top/tests/traces/generate.sh"
}
