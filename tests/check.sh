#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Every test, as `make check` runs them: check.sh [NAME...]
#
#	build        gcc and clang, plain and with sanitizers: no warning (they are errors)
#	unit         tests/unit: plain, asan (with ubsan), and tsan those that use threads
#	integration  tests/run.sh: plain and asan
#	examples     against a running broker
#	model        tests/model: the rings and the grant page, by spin
#	fuzz         tests/fuzz: the committed corpora, once each
#	install      install, use what is installed, uninstall
#	man          the manual pages: nothing is missing, and they are well-formed
#	lab          tests/lab: the kernel module in QEMU guests with stock kernels, where the lab
#		     can be had; AMUX_LAB=require: it must be had, AMUX_LAB=no: never
#
# With NAMEs only those run, in the build at hand: a unit test (soft or test_soft), an
# integration test, examples, model, install, man, fuzz, lab.
#
# From make: O (build directory), CC, SAN, MAKE.  Logs are in O/check; nothing else is left.
set -u

: "${O:=build}" "${MAKE:=make}" "${CC:=gcc}" "${SAN:=}"
jobs=$(nproc)
logs=$O/check
start=$(date +%s)
failed=""
counts=""
seconds_each=300 # a test that takes longer hangs

# A make of our own each time: what the one above was told, it passes on in variables.
unset MAKEFLAGS MFLAGS MAKELEVEL

rm -rf "$logs"
mkdir -p "$logs" || exit 1
trap 'exit 130' HUP INT TERM

# The kernel may place mappings where gcc 12's TSan does not expect them.
straight=""
setarch -R true 2>/dev/null && straight="setarch -R"

# fail LABEL LOG: note it, show why
fail()
{
	failed="$failed $1"
	echo "  FAIL  $1"
	[ ! -s "$2" ] || tail -n 40 "$2" | sed 's/^/      | /'
}

# build LABEL DIRECTORY MAKE-ARGUMENT...: everything there is to build
build()
{
	label=$1 dir=$2
	shift 2
	if "$MAKE" -j"$jobs" --no-print-directory O="$dir" "$@" tests >"$logs/build-$label" 2>&1 &&
		! grep -q 'warning:' "$logs/build-$label"; then
		echo "  ok    build $label"
	else
		fail "build-$label" "$logs/build-$label"
	fi
}

# What a sanitizer finds must fail the test whichever process of it found it.
export ASAN_OPTIONS="exitcode=99:detect_leaks=1:${ASAN_OPTIONS:-}"
export UBSAN_OPTIONS="halt_on_error=1:exitcode=99:${UBSAN_OPTIONS:-}"
export TSAN_OPTIONS="halt_on_error=1:exitcode=99:${TSAN_OPTIONS:-}"

# unit KIND DIRECTORY PREFIX PROGRAM...: run them, count checks
unit()
{
	kind=$1 dir=$2 prefix=$3
	shift 3
	programs=0 checks=0
	for path; do
		name=$(basename "$path" .c)
		log=$logs/$kind-$name
		programs=$((programs + 1))
		# shellcheck disable=SC2086 # a command and its option, or nothing
		if [ -x "$dir/unit/$name" ] &&
			timeout -k 5 $seconds_each $prefix "$dir/unit/$name" >"$log" 2>&1 </dev/null; then
			n=$(sed -n 's/^[0-9]*%: Checks: \([0-9]*\), Failures: 0, Errors: 0$/\1/p' "$log" |
				awk '{ n += $1 } END { print n + 0 }')
			checks=$((checks + n))
			if [ "$n" = 0 ]; then
				echo "it ran no check" >>"$log"
				fail "$kind/$name" "$log"
			else
				printf '  ok    %s %s: %d checks\n' "$kind" "$name" "$n"
			fi
		else
			fail "$kind/$name" "$log"
		fi
	done
	counts="$counts; $kind unit: $checks checks in $programs programs"
}

# integration KIND DIRECTORY [NAME...]: one line per program, as run.sh says it
integration()
{
	kind=$1 dir=$2
	shift 2
	log=$logs/$kind-integration
	O=$dir TIMEOUT=$seconds_each tests/run.sh "$@" >"$log" 2>&1 </dev/null
	status=$?
	sed -n "s/^ok \([^:]*\): \(.*\)/  ok    $kind \1: \2/p" "$log"
	said=$(tail -n 1 "$log") # N programs: N tests, N failed, N skipped
	if [ $status != 0 ]; then
		grep -Ev '^ *(ok |# SEED)' "$log" >"$log-failed"
		fail "$kind/integration" "$log-failed"
	fi
	counts="$counts; $kind integration: $said"
}

examples()
{
	if tests/examples.sh "$O" >"$logs/examples" 2>&1 </dev/null; then
		n=$(grep -c '^ok ' "$logs/examples")
		echo "  ok    examples: $n programs"
		counts="$counts; $n examples"
	else
		fail examples "$logs/examples"
	fi
}

# One line per kind of case, as model.sh counts them
model()
{
	if CC=$CC tests/model/model.sh >"$logs/model" 2>&1 </dev/null; then
		said=$(tail -n 1 "$logs/model")
		echo "  ok    $said"
		counts="$counts; $said"
	else
		grep -v '^ok ' "$logs/model" >"$logs/model-failed"
		fail model "$logs/model-failed"
	fi
}

# Built by itself: with clang, and instrumented.
fuzz()
{
	targets=$O-fuzz/fuzz
	if "$MAKE" -j"$jobs" --no-print-directory O="$O-fuzz" CC=clang SAN=fuzz fuzzers \
		>"$logs/build-fuzz" 2>&1 &&
		O=$O BIN=$targets tests/fuzz/run.sh 0 >"$logs/fuzz" 2>&1 </dev/null; then
		n=$(grep -c '^ok ' "$logs/fuzz")
		inputs=$(awk '/^ok / { n += $3 } END { print n + 0 }' "$logs/fuzz")
		echo "  ok    fuzz: $n targets, $inputs inputs"
		counts="$counts; fuzz: $inputs inputs of $n targets"
	else
		[ -s "$logs/fuzz" ] || cp "$logs/build-fuzz" "$logs/fuzz"
		fail fuzz "$logs/fuzz"
	fi
}

install_test()
{
	if MAKE=$MAKE CC=$CC tests/install.sh "$O" >"$logs/install" 2>&1 </dev/null; then
		echo "  ok    install, use, uninstall"
		counts="$counts; install"
	else
		fail install "$logs/install"
	fi
}

man_test()
{
	if tests/man.sh "$O" >"$logs/man" 2>&1 </dev/null; then
		said=$(tail -n 1 "$logs/man")
		echo "  ok    man: $said"
		counts="$counts; man: $said"
	else
		fail man "$logs/man"
	fi
}

# One line per test and kernel, as lab.sh says it
lab()
{
	if [ "${AMUX_LAB:-}" = no ]; then
		echo "  skip  lab: AMUX_LAB=no"
		counts="$counts; lab skipped"
		return
	fi
	if ! why=$(tests/lab/lab.sh can 2>&1); then
		if [ "${AMUX_LAB:-}" = require ]; then
			echo "$why" >"$logs/lab"
			fail lab "$logs/lab"
		else
			echo "  skip  lab (the kernel module is not tested): $why"
			counts="$counts; lab skipped: $why"
		fi
		return
	fi
	O=$O tests/lab/lab.sh quick >"$logs/lab" 2>&1 </dev/null
	status=$?
	sed -n "s/^ok \([^:]*\): \(.*\)/  ok    lab \1: \2/p" "$logs/lab"
	said=$(sed -n 's/^\(.*([^)]*): [0-9]* tests, [0-9]* failed\)$/\1/p' "$logs/lab" | tr '\n' ' ')
	if [ $status != 0 ]; then
		grep -Ev '^ *(ok |# SEED)' "$logs/lab" >"$logs/lab-failed"
		fail lab "$logs/lab-failed"
	fi
	counts="$counts; lab: $said"
}

finish()
{
	seconds=$(($(date +%s) - start))
	took="$((seconds / 60)) min $((seconds % 60)) s"
	if [ "$failed" ]; then
		echo "check: FAILED:$failed (logs in $logs)$counts; $took"
		exit 1
	fi
	echo "check: all passed$counts; $took"
	exit 0
}

if [ $# -gt 0 ]; then
	kind=${SAN:-plain}
	[ "$kind" != tsan ] || prefix=$straight
	build "$kind" "$O" CC="$CC" SAN="$SAN"
	[ ! "$failed" ] || finish
	for name; do
		short=${name#test_}
		found=""
		case $name in
		examples) found=yes && examples ;;
		model) found=yes && model ;;
		install) found=yes && install_test ;;
		man) found=yes && man_test ;;
		fuzz) found=yes && fuzz ;;
		lab) found=yes && lab ;;
		esac
		if [ -e "tests/unit/test_$short.c" ]; then
			found=yes
			unit "$kind" "$O" "${prefix:-}" "test_$short"
		fi
		if [ -e "tests/integration/test_$short.c" ]; then
			found=yes
			integration "$kind" "$O" "test_$short"
		fi
		if [ ! "$found" ]; then
			echo "check: '$name': expected examples, model, install, man, fuzz, lab, or the NAME of a" \
				"tests/unit/test_NAME.c or tests/integration/test_NAME.c" >&2
			exit 2
		fi
	done
	finish
fi

echo "building"
build gcc "$O" CC=gcc SAN=
build asan "$O-asan" CC=gcc SAN=asan
build tsan "$O-tsan" CC=gcc SAN=tsan
build clang "$O-clang" CC=clang SAN=
[ ! "$failed" ] || finish

echo "testing"
unit plain "$O" "" tests/unit/test_*.c
integration plain "$O"
examples
model
install_test
man_test
fuzz
unit asan "$O-asan" "" tests/unit/test_*.c
integration asan "$O-asan"
# shellcheck disable=SC2046 # names without blanks
unit tsan "$O-tsan" "$straight" $(grep -l 'pthread_create\|tsan' tests/unit/test_*.c)
lab
finish
