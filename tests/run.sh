#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Run integration tests: run.sh [TEST...]
#
# TEST is a name (test_ops, ops) or a path; without any, all of O/integration (O: the build
# directory, default build).  Each must print TAP with a plan ("1..N") and as many results, and
# exit with 0, or 77 if it was skipped: silence is failure.  Results are shown indented, the
# counts come last; exit status 1 if anything failed.
#
# Environment: TIMEOUT (seconds of a test, default 300), SEED, AMUX_TEST_LONG; see lib/tap.h.
set -u

O=${O:-build}
TIMEOUT=${TIMEOUT:-300}
[ -z "${AMUX_TEST_LONG:-}" ] || TIMEOUT=$((TIMEOUT * 10))

if [ $# = 0 ]; then
	set -- "$O"/integration/test_*
	if [ ! -x "$1" ]; then
		echo "run.sh: $O/integration: no tests; make O=$O tests" >&2
		exit 1
	fi
fi

out=$(mktemp) || exit 1
trap 'rm -f "$out"' EXIT
trap 'exit 130' HUP INT TERM

# What a sanitizer finds must fail the test, whichever process found it.
export ASAN_OPTIONS="exitcode=99:detect_leaks=1:${ASAN_OPTIONS:-}"
export UBSAN_OPTIONS="halt_on_error=1:exitcode=99:${UBSAN_OPTIONS:-}"
export TSAN_OPTIONS="halt_on_error=1:exitcode=99:${TSAN_OPTIONS:-}"

# The kernel may place mappings where gcc 12's TSan does not expect them.
straight=""
case $O in
*tsan*) ! setarch -R true 2>/dev/null || straight="setarch -R" ;;
esac

tests=0 failed=0 skipped=0 programs=0 bad=""

for name; do
	case $name in
	*/*) program=$name ;;
	test_*) program=$O/integration/$name ;;
	*) program=$O/integration/test_$name ;;
	esac
	name=$(basename "$program")
	programs=$((programs + 1))
	begin=$(date +%s)
	case $program in
	/*) ;;
	*) program=./$program ;;
	esac
	# shellcheck disable=SC2086 # a command and its option, or nothing
	timeout -k 10 "$TIMEOUT" $straight "$program" >"$out" 2>&1 </dev/null
	status=$?
	seconds=$(($(date +%s) - begin))
	sed 's/^/    /' "$out"

	n=$(grep -cE '^(not )?ok [0-9]' "$out")
	wrong=$(grep -cE '^not ok [0-9]' "$out")
	skip=$(grep -cE '^ok [0-9].*# SKIP' "$out")
	plan=$(sed -nE 's/^1\.\.([0-9]+).*/\1/p' "$out")
	tests=$((tests + n))
	failed=$((failed + wrong))
	skipped=$((skipped + skip))
	why=""
	if [ $status = 124 ] || [ $status = 137 ]; then
		why="time-out or killed after $seconds s"
	elif grep -q '^Bail out!' "$out"; then
		why=$(grep '^Bail out!' "$out" | head -n 1)
	elif [ -z "$plan" ]; then
		why="no plan, status $status"
	elif [ "$plan" != "$n" ]; then
		why="a plan of $plan and $n results"
	elif [ $status = 77 ]; then
		[ "$n" != 0 ] || skipped=$((skipped + 1)) tests=$((tests + 1))
	elif [ $status != 0 ] && [ "$wrong" = 0 ]; then
		why="status $status"
	fi
	if [ "$why" ]; then
		failed=$((failed + 1))
		tests=$((tests + 1))
		echo "not ok $name: $why"
		bad="$bad $name"
	elif [ "$wrong" != 0 ]; then
		echo "not ok $name: $wrong of $n, $seconds s"
		bad="$bad $name"
	else
		echo "ok $name: $n, $seconds s"
	fi
done

[ -z "$bad" ] || echo "failed:$bad"
echo "$programs programs: $tests tests, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
