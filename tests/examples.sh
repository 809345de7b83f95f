#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Run every example against a broker of its own, on a modelled DSA, so that engine and CPU both
# have their part: examples.sh BUILD
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

"$build/accelmuxd" --config /dev/null --set "broker.socket=$dir/accelmux.sock" \
	--set "broker.control=$dir/control.sock" --set broker.metrics=off \
	--set soft.model=on &
broker=$!
tries=0
until "$build/accelmux" --socket "$dir/control.sock" status >/dev/null 2>&1; do
	tries=$((tries + 1))
	if [ $tries = 100 ]; then
		echo "the broker does not answer" >&2
		exit 1
	fi
	sleep 0.1
done

n=0
for source in docs/examples/*.c; do
	name=$(basename "$source" .c)
	n=$((n + 1))
	ACCELMUX_SOCKET=$dir/accelmux.sock timeout -k 5 60 "$build/examples/$name"
	echo "ok $n - $name"
done

kill "$broker"
wait "$broker" # drained: exit status 0
broker=""
