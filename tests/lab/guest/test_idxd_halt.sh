#!/bin/busybox sh
# SPDX-License-Identifier: MIT
#
# A device that halts under migrations and wants a reset: the stock driver resets it by command
# and enables what was enabled; what it swallowed stays in quarantine until that is proved to be
# at rest, and no content is wrong.
# lab-boot: setcpuid=movdir64b
# lab-device: dsa --version 2
. /t/lib_idxd.sh

device_state()
{
	/t/dsa 0 stats | awk '$1 == "device" { print $5 }'
}

resets()
{
	/t/dsa 0 stats | awk '$1 == "device" { print $7 }'
}

idxd_up timeout_ms=3000
result $? "idxd and accelmux are up: $(channels) channels"
before=$(resets)
fault delay_us 2000 # there is something in flight
load_start 6
sleep 2
/t/dsa 0 halt software
result $? "the device halts during migrations: $(device_state)"
sleep 2
[ "$(device_state)" = enabled ] && [ "$(resets)" -gt "$before" ]
result $? "the driver has reset and enabled it: $(device_state), $(cat $dsa/dsa0/state), $(($(resets) - before)) resets"
load_end
result $? "the load: $by_engine by engine, $(stat stuck_pages) pages were stuck, $(cat /tmp/load)"
fault delay_us 0
[ "$(/t/dsa 0 stats | grep -c '^wq [0-3] enabled 1 ')" = 4 ]
result $? "its WQs are enabled, too"
idxd_show
wqs_renew && becomes quarantined 0 20
result $? "WQs disabled and enabled: $(stat quarantined) quarantined of $(stat quarantined_total)"
channels_become 4
moved 2 8 && [ "$(channels)" = 4 ] && [ "$by_engine" -gt 0 ]
result $? "afterwards: $by_engine by engine over $(channels) channels, $(cat /tmp/load)"
rmmod accelmux && rmmod idxd
result $? "accelmux and idxd unload"
echo "1..$n"
