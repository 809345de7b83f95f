#!/bin/busybox sh
# SPDX-License-Identifier: MIT
#
# What is taken away from the stock idxd driver's clients under migrations: one WQ, the device,
# and everything in flight by a reset.  (Not: the driver unbound from an enabled device by way of
# the PCI bus.  The stock driver frees its WQs before it disables them, and oopses, whoever uses
# them or nobody.)
# lab-boot: setcpuid=movdir64b
# lab-device: dsa --version 2
. /t/lib_idxd.sh

# again NAME: all the channels are there and carry pages
again()
{
	channels_become 4
	moved 2 8 && [ "$(channels)" = 4 ] && [ "$by_engine" -gt 0 ]
	result $? "$1: $by_engine by engine over $(channels) channels, $(cat /tmp/load)"
}

idxd_up
result $? "idxd and accelmux are up: $(channels) channels"
address=$(basename "$(readlink -f $dsa/dsa0/..)")

load_start 6
sleep 1
echo wq0.1 >$drivers/dmaengine/unbind
result $? "a WQ is disabled during migrations"
sleep 2
[ "$(channels)" = 3 ]
result $? "the other WQs are in use: $(channels) channels"
wqs_enable 1
result $? "it is enabled again"
load_end
result $? "the load: $by_engine by engine, $(cat /tmp/load)"
again "afterwards"
[ "$(stat dma_errors)" = 0 ] && [ "$(stat quarantined_total)" = 0 ]
result $? "no errors ($(stat dma_errors)), nothing was quarantined ($(stat quarantined_total))"

load_start 4
sleep 1
echo dsa0 >$drivers/idxd/unbind
result $? "the device is disabled during migrations"
load_end && [ "$(channels)" = 0 ]
result $? "the load: $by_engine by engine, $(cat /tmp/load); $(channels) channels"
device_renew
result $? "it is configured and enabled again"
again "afterwards"

load_start 4
sleep 1
echo 1 >"/sys/bus/pci/devices/$address/reset"
result $? "the device is reset (FLR) during migrations"
load_end
result $? "the load: $by_engine by engine, $(stat stuck_pages) pages were stuck, $(cat /tmp/load)"
idxd_show
# Newer drivers notice a reset and come back disabled; older ones must be told.
device_renew
result $? "it is configured and enabled again"
becomes quarantined 0 30
result $? "what the reset has swallowed is proved to be at rest: $(stat quarantined) quarantined"
again "afterwards"
rmmod accelmux && rmmod idxd
result $? "accelmux and idxd unload"
dmesg | grep -c 'Clients has claim' >/tmp/claims
result "$(cat /tmp/claims)" "idxd never found a client on a WQ that it disabled"
echo "1..$n"
