#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Run the fuzz targets: run.sh [SECONDS [TARGET...]]
#
# Each target (rpc or fuzz_rpc; without any, all) runs for SECONDS (default 60), as many at a
# time as there are CPUs, from its committed corpus, tests/fuzz/corpus/TARGET, and from what
# earlier runs have found, O/fuzz/corpus/TARGET.  0 seconds: the committed corpus, once.
#
# A finding is exit status 1; the input that does it lies in O/fuzz, and its path is printed.
#
# Environment: O (build directory, default build), BIN (the targets, default O-fuzz/fuzz).
set -u

: "${O:=build}"
: "${BIN:=$O-fuzz/fuzz}"
here=tests/fuzz
out=$O/fuzz
seconds=${1:-60}
[ $# = 0 ] || shift

case $seconds in
'' | *[!0-9]*)
	echo "run.sh: '$seconds': expected a number of seconds" >&2
	exit 2
	;;
esac

if [ $# = 0 ]; then
	set -- "$here"/fuzz_*.c
fi
names=""
for name; do
	name=$(basename "$name" .c)
	name=${name#fuzz_}
	if [ ! -x "$BIN/fuzz_$name" ]; then
		echo "run.sh: '$name': expected the NAME of a $here/fuzz_NAME.c, built in $BIN" >&2
		exit 2
	fi
	names="$names $name"
done

mkdir -p "$out" || exit 1
trap 'exit 130' HUP INT TERM

# one NAME: run it, leave its log and its status
one()
{
	mkdir -p "$out/corpus/$1" "$here/corpus/$1"
	dict=""
	[ ! -e "$here/$1.dict" ] || dict=-dict=$here/$1.dict
	if [ "$seconds" = 0 ]; then
		set -- "$1" -runs=0 "$here/corpus/$1"
	else
		# shellcheck disable=SC2086 # an option or nothing
		set -- "$1" -max_total_time="$seconds" $dict "$out/corpus/$1" "$here/corpus/$1"
	fi
	name=$1
	shift
	ASAN_OPTIONS="detect_leaks=1:allocator_may_return_null=1:${ASAN_OPTIONS:-}" \
		"$BIN/fuzz_$name" -artifact_prefix="$out/$name-" -print_final_stats=1 -print_funcs=0 \
		-timeout=120 -report_slow_units=120 -rss_limit_mb=1024 -close_fd_mask=2 "$@" \
		>"$out/$name.log" 2>&1 </dev/null
	echo $? >"$out/$name.status"
}

# tell NAME: one line of what its run came to
tell()
{
	log=$out/$1.log
	executions=$(sed -n 's/^stat::number_of_executed_units: //p' "$log")
	new=$(sed -n 's/^stat::new_units_added: *//p' "$log")
	edges=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -n 1)
	if [ "$(cat "$out/$1.status")" = 0 ] && [ "$executions" ]; then
		printf 'ok %s: %s executions, %s edges, %s new units\n' "$1" "$executions" \
			"${edges:-?}" "${new:-?}"
		return
	fi
	bad="$bad $1"
	artifact=$(sed -n 's/.*Test unit written to //p' "$log" | tail -n 1)
	printf 'not ok %s: %s (log: %s)\n' "$1" "${artifact:-no input written}" "$log"
	grep -E -m 8 'ERROR: |SUMMARY: |runtime error: |must hold' "$log" | sed 's/^/    /'
}

jobs=$(nproc)
bad=""
# shellcheck disable=SC2086 # names without blanks
set -- $names
while [ $# -gt 0 ]; do
	batch="" n=0
	while [ $# -gt 0 ] && [ $n -lt "$jobs" ]; do
		rm -f "$out/$1.status"
		one "$1" &
		batch="$batch $1"
		n=$((n + 1))
		shift
	done
	wait
	for name in $batch; do
		tell "$name"
	done
done
[ -z "$bad" ] || echo "failed:$bad"
[ -z "$bad" ]
