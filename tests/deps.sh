#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Install the Debian packages that are missing: deps.sh run|check|bench
#   run    what building and the tour need
#   check  that, and what the tests need
#   bench  libraries that bench-peers measures beside accelmux, and nothing else; it can do
#          without each of them, so what cannot be installed is said and is no failure
# Nothing is printed when nothing is missing.  As root it installs; as anyone else it prints
# the command that would, and exits 1.  No service is started or left enabled.
set -eu

set=${1:-run}
case $set in
run | check | bench) ;;
*)
	echo "deps.sh: '$set': expected run, check or bench" >&2
	exit 2
	;;
esac

# set  package  probe  why.  Probes: a command, a pkg-config module, a header, a runtime of clang.
table()
{
	cat <<-'EOF'
	run	make	cmd:make	builds
	run	gcc	cmd:gcc	compiler
	run	libc6-dev	file:/usr/include/stdio.h	headers of the C library
	run	linux-libc-dev	file:/usr/include/linux/idxd.h	the descriptors of DSA
	run	pkg-config	cmd:pkg-config	finds the libraries below
	run	libuv1-dev	pc:libuv	event loop of the broker
	run	libjansson-dev	pc:jansson	JSON of the control socket
	run	libmicrohttpd-dev	pc:libmicrohttpd	HTTP of the metrics
	run	libinih-dev	pc:inih	configuration file
	run	libnuma-dev	pc:numa	NUMA nodes
	run	libncurses-dev	pc:ncurses	accelmux top
	run	libsystemd-dev	pc:libsystemd	tells systemd that the broker is ready, and lives
	run	libaccel-config-dev	pc:libaccel-config	configures DSA devices
	run	scdoc	cmd:scdoc	manual pages
	check	bash	cmd:bash	completion
	check	man-db	cmd:man	judges the manual pages
	check	mandoc	cmd:mandoc	judges them, too
	check	systemd	cmd:systemd-analyze	judges the broker's unit
	check	check	pc:check	unit tests
	check	spin	cmd:spin	model checker
	check	clang	cmd:clang	second compiler: both must build without a warning
	check	libclang-rt-dev	rt:fuzzer	its sanitizers and libFuzzer: fuzz targets
	check	prometheus	cmd:promtool	promtool judges the metrics
	check	mmdebstrap	cmd:mmdebstrap	root directory of the lab's guests
	check	e2fsprogs	cmd:mkfs.ext4	file system of the lab's guests
	bench	liburing-dev	pc:liburing	io_uring beside accelmux
	bench	libdpdk-dev	pc:libdpdk	rte_ring beside accelmux
	EOF
}

present()
{
	case $1 in
	cmd:*) command -v "${1#cmd:}" >/dev/null ;;
	pc:*) pkg-config --exists "${1#pc:}" 2>/dev/null ;;
	file:*) test -e "${1#file:}" ;;
	rt:*)
		dir=$(clang -print-resource-dir 2>/dev/null) &&
			test -e "$dir/lib/linux/libclang_rt.${1#rt:}-$(uname -m).a"
		;;
	esac
}

tab=$(printf '\t')
missing="" reasons=""
while IFS=$tab read -r in package probe why; do
	if [ "$in" = "$set" ] || { [ "$in" = run ] && [ "$set" = check ]; }; then
		if ! present "$probe"; then
			missing="$missing $package"
			reasons="$reasons  $package: $why
"
		fi
	fi
done <<EOF
$(table)
EOF
[ "$missing" ] || exit 0
required=1
[ "$set" != bench ] || required=0

install="apt-get install -y --no-install-recommends$missing"
if [ "$(id -u)" != 0 ]; then
	echo "packages are missing; run: sudo $install" >&2
	exit $required
fi
if ! command -v apt-get >/dev/null; then
	echo "deps.sh: not a Debian system; install by hand what these packages hold:$missing" >&2
	exit $required
fi

printf 'installing what is missing:\n%s' "$reasons"

# Installing a daemon's package (prometheus) would start it: invoke-rc.d asks this file first.
guard=/usr/sbin/policy-rc.d guarded=""
log=$(mktemp)
cleanup()
{
	rm -f "$log"
	[ -z "$guarded" ] || rm -f "$guard"
}
trap cleanup EXIT
trap 'exit 1' HUP INT TERM
if [ ! -e "$guard" ]; then
	guarded=yes
	printf '#!/bin/sh\nexit 101\n' >"$guard"
	chmod 755 "$guard"
fi

apt()
{
	DEBIAN_FRONTEND=noninteractive apt-get -qq -o Acquire::Retries=3 \
		-o DPkg::Lock::Timeout=300 "$@" >>"$log" 2>&1 </dev/null
}

# get PACKAGE...
get()
{
	apt install -y --no-install-recommends "$@" ||
		{ apt update && apt install -y --no-install-recommends "$@"; }
}

if [ $required = 0 ]; then
	for package in $missing; do
		get "$package" || echo "deps.sh: $package cannot be installed: left out" >&2
	done
	exit 0
fi

# shellcheck disable=SC2086 # a list of packages
if ! get $missing; then
	cat "$log" >&2
	echo "deps.sh: $install: failed, see above" >&2
	exit 1
fi

# ... and the next boot would start it: only promtool is wanted.
case " $missing " in
*" prometheus "*)
	if [ -d /run/systemd/system ]; then
		systemctl disable --now prometheus >/dev/null 2>&1 || :
	elif command -v update-rc.d >/dev/null; then
		update-rc.d prometheus disable >/dev/null 2>&1 || :
	fi
	;;
esac
