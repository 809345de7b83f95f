#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The lab: real kernels in QEMU (no KVM needed), the kernel module in them, tests as TAP.
#
#	lab.sh env			build what is cached: tools, kernels, headers
#	lab.sh build KERNEL		the modules and the guest's programs
#	lab.sh run KERNEL [TEST...]	boot, test, judge; all tests without names
#	lab.sh quick|full [TEST...]	all of that on both kernels (full: the long versions)
#	lab.sh debug [TEST...]		the same on the debug kernel
#	lab.sh record KERNEL		record tests/traces anew
#	lab.sh contend			users and kernel on one device: table and picture
#	lab.sh model [SECONDS]		is the device model right, and safe from its client and guest?
#	lab.sh dkms			does DKMS build and install the module, on both kernels?
#	lab.sh selftest			does the judge notice what it must?
#	lab.sh can			exit 0 if the lab can be had here, else say why not
#
# KERNEL is 6.12, 7 or debug.  Needs root (a Debian root directory is made), about 3 GB in
# AMUX_LAB_DIR (default /var/cache/accelmux-lab) and the host's own apt sources.
# A boot is ended after AMUX_LAB_TIMEOUT seconds.
# O: build directory (default build); results in O/lab/KERNEL.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
: "${O:=build}" "${AMUX_LAB_DIR:=/var/cache/accelmux-lab}"
case $O in
/*) ;;
*) O=$top/$O ;;
esac
export O AMUX_LAB_DIR top here

die()
{
	echo "lab: $*" >&2
	exit 1
}

usage()
{
	sed -n '5,18s/^# \{0,1\}//p' "$0" >&2
	exit 2
}

# shellcheck source=tests/lab/env.sh
. "$here/env.sh"
# shellcheck source=tests/lab/build.sh
. "$here/build.sh"
# shellcheck source=tests/lab/boot.sh
. "$here/boot.sh"
# shellcheck source=tests/lab/judge.sh
. "$here/judge.sh"

# shellcheck source=tests/lab/record.sh
. "$here/record.sh"
# shellcheck source=tests/lab/contend.sh
. "$here/contend.sh"

# Nothing of a run stays in the root directory, however it ends.
clean_up()
{
	[ -z "${models:-}" ] || kill $models 2>/dev/null || :
	rm -rf "$AMUX_LAB_DIR/root/build-$$" "$AMUX_LAB_DIR/root/run-$$" "$AMUX_LAB_DIR/root/pack-$$"
}
trap clean_up EXIT
trap 'exit 130' HUP INT TERM

# suite KERNEL [TEST...]: build and run
suite()
{
	kernel=$1
	shift
	lab_build "$kernel" || die "$kernel: the build failed"
	lab_run "$kernel" "$@"
}

# both TEST...
both()
{
	worst=0 # not status: that is lab_run's, and it begins anew
	env_make
	for kernel in 7 6.12; do
		suite "$kernel" "$@" || worst=1
	done
	if [ $# = 0 ]; then
		lab_dkms || worst=1
		lab_model "${AMUX_LAB_FULL:+60}" || worst=1
	fi
	exit $worst
}

[ $# -gt 0 ] || usage
command=$1
shift
case $command in
can) env_can ;;
env) env_make ;;
build)
	[ $# = 1 ] || usage
	env_make
	lab_build "$1"
	;;
run)
	[ $# -ge 1 ] || usage
	env_make
	suite "$@"
	;;
quick) AMUX_LAB_QUICK=1 && export AMUX_LAB_QUICK && both "$@" ;;
full)
	: "${AMUX_LAB_TIMEOUT:=5400}"
	AMUX_LAB_FULL=1 && export AMUX_LAB_FULL && both "$@"
	;;
debug)
	: "${AMUX_LAB_TIMEOUT:=3600}"
	env_make
	env_debug_kernel
	suite debug "$@"
	;;
record)
	[ $# = 1 ] || usage
	env_make
	lab_build "$1" || die "$1: the build failed"
	lab_record "$1" || die "$1: nothing was recorded"
	;;
contend)
	env_make
	lab_build 7 || die "7: the build failed"
	lab_contend
	;;
model) lab_model "$@" ;;
dkms)
	env_make
	lab_dkms
	;;
selftest)
	env_make
	lab_build 7 || die "7: the build failed"
	lab_selftest
	;;
*) usage ;;
esac
