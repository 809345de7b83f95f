#!/bin/busybox sh
# SPDX-License-Identifier: MIT
#
# The stock idxd driver on the device model (dsa-model): its kernel WQs are the channels that
# migrations go by.
# lab-boot: setcpuid=movdir64b
# lab-device: dsa --version 2
n=0
result()
{
	n=$((n + 1))
	if [ "$1" = 0 ]; then
		echo "ok $n - $2"
	else
		echo "not ok $n - $2"
	fi
}

stat()
{
	sed -n "s/^$1 //p" /sys/kernel/debug/accelmux/stats
}

dsa=/sys/bus/dsa/devices
drivers=/sys/bus/dsa/drivers
wqs="0 1 2 3"

# model WHAT: the sum over the model's WQs
model()
{
	/t/dsa 0 stats | awk -v what="$1" '$1 == "wq" {
		for (i = 3; i < NF; i++)
			if ($i == what)
				sum += $(i + 1)
	} END { print sum + 0 }'
}

# configure: one group per engine, each with one kernel WQ
configure()
{
	for i in $wqs; do
		echo $i >$dsa/dsa0/engine0.$i/group_id || return 1
		cd $dsa/dsa0/wq0.$i || return 1
		echo $i >group_id && echo dedicated >mode && echo 16 >size && echo 10 >priority &&
			echo kernel >type && echo "kernel$i" >name && echo dmaengine >driver_name || return 1
	done
	cd /
}

device_enable()
{
	echo dsa0 >$drivers/idxd/bind
}

wqs_enable()
{
	for i in $wqs; do
		echo wq0.$i >$drivers/dmaengine/bind || return 1
	done
}

# moved ARGUMENTS: pages by engine while a load runs; false if its content went wrong
moved()
{
	before=$(stat engine_pages)
	/t/migload "$@" >/tmp/load || return 1
	by_engine=$(($(stat engine_pages) - before))
}

grep -q movdir64b /proc/cpuinfo || set_cap=set_cap=1
insmod /m/amux_movdir.ko $set_cap
result $? "MOVDIR64B is emulated"
bad=0
while read -r m; do
	insmod /m/"$m" || bad=1
done </m/order.dsa
result $bad "idxd loads"
[ -d $dsa/dsa0 ] && [ "$(cat $dsa/dsa0/max_work_queues)" = 8 ]
result $? "it takes the device: version $(cat $dsa/dsa0/version), $(cat $dsa/dsa0/max_engines) engines"
configure && device_enable
result $? "it is configured and enabled: $(cat $dsa/dsa0/state)"
wqs_enable
result $? "kernel WQs are enabled: $(cat $dsa/dsa0/wq0.*/state | tr '\n' ' ')"
[ "$(ls /sys/class/dma | grep -c '^dma0chan')" = 4 ]
result $? "they are channels: $(ls /sys/class/dma | tr '\n' ' ')"

insmod /m/accelmux.ko default=share timeout_ms=10000
result $? "accelmux loads"
i=0
while [ "$(stat armed)" != 1 ] && [ $i -lt 50 ]; do
	sleep 0.1
	i=$((i + 1))
done
[ "$(wc -l </sys/kernel/debug/accelmux/channels)" = 4 ]
result $? "it takes the channels: $(head -n 1 /sys/kernel/debug/accelmux/channels)"
moved 3 8 && [ "$by_engine" -gt 0 ]
result $? "4 KiB pages: $by_engine by engine, $(cat /tmp/load)"
moved 3 8 move_pages THP && [ "$by_engine" -gt 0 ]
result $? "THP: $by_engine by engine, $(cat /tmp/load)"
cat /sys/kernel/debug/accelmux/stats /sys/kernel/debug/accelmux/channels | sed 's/^/# /'
/t/dsa 0 stats | sed 's/^/# /'
rmmod accelmux
result $? "accelmux unloads"
echo "1..$n"
