#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Install below a temporary directory, build and run an example against what is there, then
# uninstall and see that nothing is left: install.sh BUILD
set -eu

build=$1
dir=$(mktemp -d)
broker=""
cleanup()
{
	[ -z "$broker" ] || kill "$broker" 2>/dev/null || :
	[ -z "$broker" ] || wait "$broker" || :
	rm -rf "$dir"
}
trap cleanup EXIT
trap 'exit 130' HUP INT TERM

die()
{
	echo "$*" >&2
	exit 1
}

prefix=/opt/accelmux
root=$dir/root
at=$root$prefix
dest() { "${MAKE:-make}" --no-print-directory O="$build" CC="$CC" "DESTDIR=$root" "PREFIX=$prefix" "$1"; }

: "${CC:=gcc}"
dest install

# As a package's user would, but for the root.
export PKG_CONFIG_PATH="$at/lib/pkgconfig" PKG_CONFIG_SYSROOT_DIR="$root"
[ "$(pkg-config --modversion accelmux)" = "$(cat VERSION)" ] || die "accelmux.pc: wrong version"
# shellcheck disable=SC2046 # flags
"$CC" -Wall -Wextra -Werror -o "$dir/shared" docs/examples/copy.c \
	$(pkg-config --cflags --libs accelmux)
# shellcheck disable=SC2046
"$CC" -o "$dir/static" docs/examples/copy.c $(pkg-config --cflags accelmux) \
	"$at/lib/libaccelmux.a" -pthread
printf '#include <accelmux/uapi/accelmux.h>\nint main(void) { return 0; }\n' >"$dir/uapi.c"
# shellcheck disable=SC2046
"$CC" -Wall -Wextra -Werror -o "$dir/uapi" "$dir/uapi.c" $(pkg-config --cflags accelmux)

printf '#include <accelmux/policy.h>\nconst struct amux_policy_ops amux_policy = { AMUX_POLICY_HEADER };\n' \
	>"$dir/policy.c"
# shellcheck disable=SC2046
"$CC" -Wall -Wextra -Werror -fPIC -shared -o "$dir/policy.so" "$dir/policy.c" $(pkg-config --cflags accelmux)
[ "$(pkg-config --variable=policydir accelmux)" = "$root$prefix/lib/accelmux/policies" ] ||
	[ "$(pkg-config --variable=policydir accelmux)" = "$prefix/lib/accelmux/policies" ] ||
	die "accelmux.pc: wrong policydir"

LD_LIBRARY_PATH=$at/lib ldd "$dir/shared" >"$dir/ldd"
grep -q "libaccelmux.so.0 => $at/lib/" "$dir/ldd" || die "ldd: $(cat "$dir/ldd")"
! ldd "$dir/static" | grep -q accelmux || die "the static program needs the shared library"
[ "$("$at/bin/accelmux" --version)" = "accelmux $(cat VERSION)" ] || die "accelmux --version"

grep -q "^ExecStart=$prefix/bin/accelmux setup --load /etc/accelmux/dsa.conf" \
	"$at/lib/systemd/system/accelmux-setup.service" || die "accelmux-setup.service: wrong program"

"$at/sbin/accelmuxd" --config "$at/share/doc/accelmux/accelmux.conf" --check ||
	die "the installed accelmux.conf is not valid"
"$at/sbin/accelmuxd" --config /dev/null --set "broker.socket=$dir/accelmux.sock" \
	--set "broker.control=$dir/control.sock" --set broker.metrics=off &
broker=$!
tries=0
until "$at/bin/accelmux" --socket "$dir/control.sock" status >/dev/null 2>&1; do
	tries=$((tries + 1))
	[ $tries -lt 100 ] || die "the installed broker does not answer"
	sleep 0.1
done
for program in shared static; do
	ACCELMUX_SOCKET=$dir/accelmux.sock LD_LIBRARY_PATH=$at/lib timeout -k 5 60 "$dir/$program"
done
kill "$broker"
wait "$broker"
broker=""

# Every function has a page, wherever it was put.
man -M "$at/share/man" -P cat amux_copy >"$dir/man" 2>/dev/null || die "man amux_copy: nothing"
grep -q 'int amux_copy(' "$dir/man" || die "man amux_copy: another page"
man -M "$at/share/man" -P cat accelmux-top >"$dir/man" 2>/dev/null || die "man accelmux-top: nothing"

# The unit: systemd judges it, with the installed program, and how much it is confined.
if command -v systemd-analyze >/dev/null; then
	unit=$at/lib/systemd/system
	mkdir "$dir/units"
	for u in accelmuxd accelmux-setup; do
		sed "s|=$prefix|=$at|" "$unit/$u.service" >"$dir/units/$u.service"
	done
	SYSTEMD_UNIT_PATH="$dir/units:" systemd-analyze verify --man=no \
		"$dir/units/accelmuxd.service" "$dir/units/accelmux-setup.service" \
		>"$dir/verify" 2>&1 || die "systemd-analyze verify: $(cat "$dir/verify")"
	! grep "$dir/units" "$dir/verify" || die "systemd-analyze verify complains, see above"
	systemd-analyze security --offline=true --threshold=25 "$dir/units/accelmuxd.service" \
		>"$dir/security" 2>&1 || die "systemd-analyze security: $(tail -n 3 "$dir/security")"
fi
if command -v systemd-sysusers >/dev/null; then
	mkdir -p "$dir/host/etc"
	systemd-sysusers --root="$dir/host" "$at/lib/sysusers.d/accelmux.conf" >/dev/null 2>&1 ||
		die "systemd-sysusers refuses accelmux.conf"
	grep -q '^accelmux:' "$dir/host/etc/passwd" || die "sysusers: no user accelmux"
	grep -q '^accelmux:' "$dir/host/etc/group" || die "sysusers: no group accelmux"
	if [ "$(id -u)" = 0 ]; then
		systemd-tmpfiles --create --root="$dir/host" "$at/lib/tmpfiles.d/accelmux.conf" ||
			die "systemd-tmpfiles refuses accelmux.conf"
		[ "$(stat -c %a "$dir/host/run/accelmux")" = 755 ] || die "tmpfiles: wrong mode"
	fi
fi
bash -c 'set -eu; . "$1"; complete -p accelmux' bash \
	"$at/share/bash-completion/completions/accelmux" | grep -q _accelmux ||
	die "the installed completion does not complete"

dest uninstall
left=$(find "$root" ! -type d -o -name accelmux ! -path "$at")
[ ! "$left" ] || die "uninstall left: $left"
