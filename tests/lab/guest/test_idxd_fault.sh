#!/bin/busybox sh
# SPDX-License-Identifier: MIT
#
# The stock idxd driver on a device that errs: statuses reach the module, what is lost or hangs
# is quarantined until it is proved to be at rest, and no content is ever wrong.
# lab-boot: setcpuid=movdir64b
# lab-device: dsa --version 2
. /t/lib_idxd.sh

# back NAME: pages go by all engines again
back()
{
	channels_become 4
	moved 1 8 && [ "$(channels)" = 4 ] && [ "$by_engine" -gt 0 ] && [ "$(stat quarantined)" = 0 ]
	result $? "$1: $by_engine by engine, $(stat quarantined) quarantined, $(cat /tmp/load)"
}

# Everything must be well before the time-out, which a slow guest has to keep, too.
idxd_up timeout_ms=3000
result $? "idxd and accelmux are up: $(channels) channels"

fault error_every 3
moved 2 8 && [ "$(stat dma_errors)" -gt 0 ] && [ "$(stat declined_error)" -gt 0 ]
result $? "each 3rd descriptor fails: $(stat dma_errors) errors, $(stat declined_error) pages by CPU, $(cat /tmp/load)"
[ "$(stat dma_errors)" = "$(model errors)" ]
result $? "each error of the model is one of the module: $(model errors)"
fault error_every 0

errors=$(stat dma_errors)
fault partial_every 3
moved 2 8 && [ "$(stat dma_errors)" -gt "$errors" ]
result $? "each 3rd is half done, then a page fault: $(($(stat dma_errors) - errors)) errors, $(cat /tmp/load)"
fault partial_every 0

fault delay_us 20000
moved 1 1
result $? "each answer takes 20 ms: $by_engine by engine, $(cat /tmp/load)"
fault delay_us 0
[ "$(stat quarantined_total)" = 0 ] && [ "$(stat stuck_pages)" = 0 ]
result $? "none of that is quarantined"
back "and none of it stays"

# An answer without its interrupt is noticed at the next one, if there is one.
fault lose_irq_every 7
moved 2 8
good=$?
fault lose_irq_every 0
result $good "each 7th interrupt is lost: $by_engine by engine, $(stat stuck_pages) pages were stuck, $(cat /tmp/load)"
wqs_renew && becomes quarantined 0 20
result $? "WQs disabled and enabled: $(stat quarantined) quarantined"
back "afterwards"

fault lose_every 50
moved 2 8
good=$?
fault lose_every 0
[ "$(stat quarantined)" -gt 0 ]
result $((good || $?)) "descriptors that are lost: $(stat quarantined) quarantined, $(stat stuck_pages) pages were stuck, $(cat /tmp/load)"
rmmod accelmux 2>/dev/null
result $((!$?)) "they pin the module"
device_renew && becomes quarantined 0 20
result $? "the device disabled and enabled: $(stat quarantined) quarantined"
back "afterwards"

# The engines keep what they have, and write it, late, to memory that must not be in use.
stuck=$(stat stuck_pages)
fault hang 1
moved 1 8
result $? "engines that hang: $(($(stat stuck_pages) - stuck)) pages stuck, $(cat /tmp/load)"
[ "$(stat quarantined)" -gt 0 ] && [ "$(/t/dsa 0 stats | grep -c ' stuck 1 ')" = 4 ]
result $? "$(stat quarantined) descriptors are quarantined"
rmmod accelmux 2>/dev/null
result $((!$?)) "they pin the module"
load_start 3
sleep 1
fault hang 0
load_end && becomes quarantined 0 20
result $? "their late answers are the proof: $(stat quarantined) quarantined, $(cat /tmp/load)"
back "afterwards"

# The driver waits for a drain that never ends; a reset ends it.
fault hang 1
moved 1 8
result $? "engines that hang again: $(cat /tmp/load)"
echo wq0.0 >$drivers/dmaengine/unbind &
sleep 3
kill -0 $! 2>/dev/null
result $? "a WQ that is being disabled waits for its engine"
fault hang 0
wait
becomes quarantined 0 20
result $? "until it answers: $(stat quarantined) quarantined"
# The others have been terminated, to prove them at rest, and are of no use until enabled anew.
wqs_enable 0 && wqs_renew
result $? "WQs disabled and enabled"
back "afterwards"
idxd_show
rmmod accelmux && rmmod idxd
result $? "accelmux and idxd unload"
echo "1..$n"
