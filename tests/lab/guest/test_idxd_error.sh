#!/bin/busybox sh
# SPDX-License-Identifier: MIT
#
# Errors that no completion record can tell: a DSA 2 writes them to its event log, a DSA 1 to its
# software error register, and the stock driver says so.
# lab-kernel: 7
# lab-boot: setcpuid=movdir64b,enqcmd
# lab-machine: viommu
# lab-device: dsa --version 2
# lab-device: dsa --version 1
. /t/lib_idxd.sh

drivers_load && iommu_up
result $? "idxd loads, the models know the IOMMU"
for i in 0 1; do
	[ "$(dsa_of $i)" = dsa$i ] && wq_configure $i.0 0 dedicated 16 user && echo dsa$i >$drivers/idxd/bind &&
		wq_enable $i.0 user
	result $? "dsa$i is enabled: version $(cat $dsa/dsa$i/version)"
done

dmesg -c >/dev/null
/t/userwq /dev/dsa/wq0.0 dedicated portal bad >/tmp/user 2>&1
result $? "DSA 2: wrong descriptors: $(cat /tmp/user)"
[ "$(model_wq 0 errors 0)" = 192 ]
result $? "each is an error: $(model_wq 0 errors 0)"
dmesg | grep -q 'Device error 0x10 operation: 0x7f'
result $? "the driver says: $(dmesg | sed -n 's/.*\(Device error.*\)/\1/p' | head -n 1)"
# Three times around a log of 64 entries.
log=/sys/kernel/debug/idxd/dsa0/event_log
head -n 1 $log | awk '{ exit !($4 == $6 && $9 == 0) }' && [ "$(grep -c 'error 0x10' $log)" -ge 63 ]
result $? "it has read the log to its end: $(head -n 1 $log), $(grep -c 'error 0x10' $log) entries"
/t/userwq /dev/dsa/wq0.0 dedicated portal record >/tmp/user 2>&1
result $? "a completion record nobody has touched comes by the log: $(cat /tmp/user)"

dmesg -c >/dev/null
/t/userwq /dev/dsa/wq1.0 dedicated portal bad >/tmp/user 2>&1 && grep -q 'poll tells' /tmp/user
result $? "DSA 1: wrong descriptors: $(cat /tmp/user)"
[ "$(model_wq 0 errors 1)" = 192 ]
result $? "each is an error: $(model_wq 0 errors 1)"
dmesg | grep -q 'err\[0\]:'
result $? "the driver says: $(dmesg | sed -n 's/.*\(err\[0\].*\)/\1/p' | head -n 1)"
/t/userwq /dev/dsa/wq1.0 dedicated portal copy >/tmp/user 2>&1
result $? "it copies as before: $(cat /tmp/user)"
rmmod idxd
result $? "idxd unloads"
echo "1..$n"
