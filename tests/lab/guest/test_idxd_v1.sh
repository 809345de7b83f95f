#!/bin/busybox sh
# SPDX-License-Identifier: MIT
#
# A device of the first generation, with modelled time: everything a thousand times slower.
# lab-boot: setcpuid=movdir64b
# lab-device: dsa --version 1 --time-scale 1000
. /t/lib_idxd.sh

# engines NAME: a counter of the model's engines, their sum
engines()
{
	/t/dsa 0 stats | awk -v what="$1" '$1 == "engine" {
		for (i = 3; i < NF; i++)
			if ($i == what)
				sum += $(i + 1)
	} END { printf "%.0f\n", sum }'
}

idxd_up
result $? "idxd and accelmux are up: version $(cat $dsa/dsa0/version), $(channels) channels"
moved 3 8 && [ "$by_engine" -gt 0 ]
result $? "4 KiB pages: $by_engine by engine, $(cat /tmp/load)"
# A descriptor is 120 us and its bytes pass at 10 MB/s, at this scale.
us=$(($(engines descriptors) * 120 + $(engines bytes) / 10))
[ "$(engines busy_ns)" -ge $((us * 1000)) ]
result $? "engines were busy for $(($(engines busy_ns) / 1000)) us, at least $us us by the model"
[ "$(model bytes)" = $(($(stat engine_pages) * 4096)) ] && [ "$(stat quarantined_total)" = 0 ]
result $? "bytes: $(($(stat engine_pages) * 4096)) by the module, $(model bytes) by the model"
rmmod accelmux
result $? "accelmux unloads"
# Without an event log 6.12 oopses when it disables the device, be it to be unloaded.
case $(uname -r) in
6.12.*) ;;
*)
	rmmod idxd
	result $? "idxd unloads"
	;;
esac
echo "1..$n"
