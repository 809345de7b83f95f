#!/bin/busybox sh
# SPDX-License-Identifier: MIT
#
# A device that halts under migrations and wants an FLR: the stock driver of 7 gives it one.
# No content is wrong, what the device swallowed stays in quarantine until that is
# proved to be at rest, and it is in use again afterwards.  (Not: a device that wants a reset by
# command.  The stock driver sends no command to a device that is halted, gives it up, and warns
# and hangs when that is reset by hand while its kernel WQs are known.)
# lab-kernel: 7
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

# halted RESET: the device halts while pages go by it
halted()
{
	count=$(resets)
	fault delay_us 2000 # there is something in flight
	load_start 5
	sleep 2
	/t/dsa 0 halt "$1"
	result $? "the device halts during migrations and wants a reset: $1"
	load_end && [ "$by_engine" -gt 0 ]
	result $? "the load: $by_engine by engine, $(stat stuck_pages) pages were stuck, $(cat /tmp/load)"
	fault delay_us 0
}

# again NAME: all is in use
again()
{
	device_renew
	result $? "$1: it is configured and enabled: $(device_state)"
	becomes quarantined 0 30
	result $? "what it has swallowed is proved to be at rest: $(stat quarantined) quarantined of $(stat quarantined_total)"
	channels_become 4
	moved 2 8 && [ "$(channels)" = 4 ] && [ "$by_engine" -gt 0 ]
	result $? "afterwards: $by_engine by engine over $(channels) channels, $(cat /tmp/load)"
}

idxd_up timeout_ms=3000
result $? "idxd and accelmux are up: $(channels) channels"

halted flr
[ "$(device_state)" != halted ] && [ "$(resets)" -gt "$count" ]
result $? "it has been reset: $(($(resets) - count)) resets, $(device_state), $(cat $dsa/dsa0/state)"
again "after FLR"
idxd_show
rmmod accelmux && rmmod idxd
result $? "accelmux and idxd unload"
echo "1..$n"
