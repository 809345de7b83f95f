#!/bin/busybox sh
# SPDX-License-Identifier: MIT
#
# Full work queues: six programs on a shared WQ that takes two descriptors, each of which tries
# again until it is heard; and a dedicated WQ that drops what is too much for it.
# lab-kernel: 7
# lab-boot: setcpuid=movdir64b,enqcmd
# lab-machine: viommu
# lab-device: dsa --version 2
. /t/lib_idxd.sh
programs="1 2 3 4 5 6"

# sum WORD: of the numbers behind it that the programs have printed
sum()
{
	cat /tmp/storm.* | awk -v what="$1" '{
		for (i = 1; i < NF; i++)
			if ($i == what)
				s += $(i + 1)
	} END { print s + 0 }'
}

drivers_load && iommu_up && wq_configure 0.0 0 dedicated 16 user && wq_configure 0.1 1 shared 16 user 2 &&
	device_enable && wq_enable 0.0 user && wq_enable 0.1 user
result $? "a dedicated and a shared user WQ are enabled"
for way in portal write; do
	/t/dsa 0 clear
	fault wq 1
	fault delay_us 500
	pids=""
	for i in $programs; do
		/t/userwq /dev/dsa/wq0.1 shared $way storm >/tmp/storm."$i" 2>&1 &
		pids="$pids $!"
	done
	bad=0
	for pid in $pids; do
		wait "$pid" || bad=1
	done
	fault delay_us 0
	result $bad "$way: six programs, every byte: $(sum done) copies, $(sum retries) tries in vain"
	# For those who write() the driver tries again by itself, often enough or not.
	{ [ "$way" = write ] || [ "$(sum retries)" -gt 0 ]; } &&
		[ "$(model_wq 1 retried)" -gt 0 ] &&
		[ "$(model_wq 1 retried)" -ge "$(sum retries)" ]
	result $? "the WQ was full: $(model_wq 1 retried) Retries by the model"
	[ "$(model_wq 1 done)" = "$(sum done)" ] && [ "$(model_wq 1 submitted)" = "$(sum done)" ] &&
		[ "$(model_wq 1 errors)" = 0 ]
	result $? "what was taken was answered once: $(model_wq 1 submitted) taken, $(model_wq 1 done) answered"
	for i in $programs; do
		[ "$(sed -n 's/^done \([0-9]*\) .*/\1/p' /tmp/storm."$i")" -gt 0 ] || bad=1
	done
	result $bad "none of the six went without: $(sed -n 's/^done \([0-9]*\) .*/\1/p' /tmp/storm.* | tr '\n' ' ')"
done

# 16 in the queue and one with the engine
/t/dsa 0 clear
fault wq 0
fault hang 1
/t/userwq /dev/dsa/wq0.0 dedicated portal drop >/tmp/drop 2>&1 &
sleep 8
[ "$(cat /tmp/drop)" = "64 submitted" ] && [ "$(model_wq 0 dropped)" = 47 ]
result $? "a full dedicated WQ: $(cat /tmp/drop), $(model_wq 0 dropped) dropped"
fault hang 0
sleep 1
[ "$(model_wq 0 done)" = 17 ]
result $? "the others are answered: $(model_wq 0 done)"
kill $!
wait $!
idxd_show
rmmod idxd
result $? "idxd unloads"
echo "1..$n"
