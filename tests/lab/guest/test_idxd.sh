#!/bin/busybox sh
# SPDX-License-Identifier: MIT
#
# The stock idxd driver on the device model (dsa-model): its kernel WQs are the channels that
# migrations go by, and the model's own counters say the same as the module's.
# lab-boot: setcpuid=movdir64b
# lab-device: dsa --version 2
. /t/lib_idxd.sh

drivers_load
result $? "idxd loads, MOVDIR64B is emulated"
[ -d $dsa/dsa0 ] && [ "$(cat $dsa/dsa0/max_work_queues)" = 8 ]
result $? "it takes the device: version $(cat $dsa/dsa0/version), $(cat $dsa/dsa0/max_engines) engines"
configure && device_enable
result $? "it is configured and enabled: $(cat $dsa/dsa0/state)"
wqs_enable
result $? "kernel WQs are enabled: $(cat $dsa/dsa0/wq0.*/state | tr '\n' ' ')"
[ "$(ls /sys/class/dma | grep -c '^dma0chan')" = 4 ]
result $? "they are channels: $(ls /sys/class/dma | tr '\n' ' ')"

if [ -e /m/dmatest.ko ]; then
	insmod /m/dmatest.ko timeout=20000 iterations=200 threads_per_chan=2 test_buf_size=65536 run=1
	i=0
	# It would not survive to be unloaded before it is done.
	while [ "$(dmesg | grep -c 'dmatest: .*summary')" -lt 8 ] && [ $i -lt 120 ]; do
		sleep 0.5
		i=$((i + 1))
	done
	dmesg | grep 'dmatest: .*summary' >/tmp/dmatest
	[ "$(grep -c ' 200 tests, 0 failures' /tmp/dmatest)" = 8 ]
	result $? "upstream dmatest: $(grep -c ' 200 tests, 0 failures' /tmp/dmatest) threads of 200 tests without a failure"
	rmmod dmatest
	# Newer drivers leave a terminated channel without its interrupt.
	wqs_renew
	result $? "the WQs are disabled and enabled again"
fi

/t/dsa 0 clear
accelmux_load
result $? "accelmux loads and finds channels"
[ "$(channels)" = 4 ]
result $? "all of them: $(head -n 1 /sys/kernel/debug/accelmux/channels)"
moved 3 8 && [ "$by_engine" -gt 0 ]
result $? "4 KiB pages: $by_engine by engine, $(cat /tmp/load)"
moved 3 8 move_pages THP && [ "$by_engine" -gt 0 ]
result $? "THP: $by_engine by engine, $(cat /tmp/load)"
[ "$(model submitted)" = "$(stat descriptors)" ] && [ "$(model done)" = "$(stat descriptors)" ]
result $? "descriptors: $(stat descriptors) by the module, $(model submitted) by the model"
[ "$(model bytes)" = $(($(stat engine_pages) * 4096)) ]
result $? "bytes: $(($(stat engine_pages) * 4096)) by the module, $(model bytes) by the model"
awk '{ print $9 }' /sys/kernel/debug/accelmux/channels >/tmp/by_channel
/t/dsa 0 stats | awk '$1 == "wq" && $2 < 4 { print $10 }' | cmp - /tmp/by_channel
result $? "WQ by WQ: $(tr '\n' ' ' </tmp/by_channel)"
[ "$(model dropped)" = 0 ] && [ "$(model errors)" = 0 ] && [ "$(stat dma_errors)" = 0 ]
result $? "nothing was dropped, nothing failed"

rmmod idxd 2>/dev/null
result $((!$?)) "idxd cannot be unloaded while its channels are held"
rmmod accelmux
result $? "accelmux unloads"
accelmux_load && moved 2 8 && [ "$by_engine" -gt 0 ]
result $? "loaded again: $by_engine by engine, $(cat /tmp/load)"
[ "$(stat dma_errors)" = 0 ] && [ "$(stat quarantined_total)" = 0 ]
result $? "without an error: $(stat dma_errors) errors, $(stat quarantined_total) quarantined"
idxd_show
rmmod accelmux && rmmod idxd
result $? "both unload"
echo "1..$n"
