#!/bin/busybox sh
# SPDX-License-Identifier: MIT
#
# The broker on user WQs of the stock idxd driver: every way of submission; counters compared
# with the device's own; and what may go wrong with a device under a tenant's load, each of whose
# copies is verified.
# lab-kernel: 7
# lab-boot: setcpuid=movdir64b,enqcmd
# lab-machine: viommu
# lab-device: dsa --version 2
. /t/lib_idxd.sh
. /t/lib_broker.sh

# conf SUBMIT [KERNEL]
conf()
{
	broker_conf <<-END
	metrics = 127.0.0.1:9437
	engine = dsa
	kernel = ${2:-none}
	policy = shared
	[policy shared]
	chunk = 64K
	[dsa]
	submit = $1
	timeout = 5s
	END
}

# user_wq WQ MODE
user_wq()
{
	threshold=
	[ "$2" = dedicated ] || threshold=8
	# shellcheck disable=SC2086 # none or one
	wq_configure 0."$1" "$1" "$2" 16 user $threshold
}

# layout MODE: engine 0 with WQ 0, engine 1 with WQ 1, both of users and of MODE; WQs 4 and 5 of
# the kernel in the same groups
layout()
{
	[ ! -e $drivers/idxd/dsa0 ] || echo dsa0 >$drivers/idxd/unbind
	for i in 0 1; do
		user_wq $i "$1" && wq_configure 0.$((i + 4)) $i dedicated 16 kernel ||
			return 1
	done
	device_enable && for i in 0 1; do
		wq_enable 0.$i user && wq_enable 0.$((i + 4)) kernel || return 1
	done
}

# wq_again: WQ 1, which was disabled and keeps its size and its group, enabled
wq_again()
{
	cd $dsa/dsa0/wq0.1 && echo dedicated >mode && echo 10 >priority && echo user >./type &&
		echo user1 >name && echo user >driver_name && cd / && wq_enable 0.1 user
}

# metric_becomes NAME WHAT VALUE [SECONDS]
metric_becomes()
{
	i=0
	while [ "$(metric "$1" "$2")" != "$3" ]; do
		[ $i -lt $((${4:-20} * 5)) ] || return 1
		i=$((i + 1))
		sleep 0.2
	done
}

# bench SECONDS [ARGUMENT...]: every byte verified, by the engines alone
bench()
{
	t=$1
	shift
	accelmux bench --time "${t}s" --verify --engine-only "$@" >/tmp/bench 2>&1
}

bench_start()
{
	bench "$@" &
	tenant=$!
}

bench_end()
{
	wait $tenant
}

# other_start SECONDS, other_end: a tenant who does not insist on engines, and knows no error
other_start()
{
	accelmux bench --time "$1s" --verify --size 256K --depth 8 --name other >/tmp/other 2>&1 &
	other=$!
}

other_end()
{
	wait $other
	result $? "a tenant beside it, with a CPU: $(tr '\n' ';' </tmp/other)"
}

said()
{
	tr '\n' ';' </tmp/bench
}

# agree: the broker's counters of engines 0 and 1 are the device's of WQs 0 and 1
agree()
{
	for i in 0 1; do
		[ "$(metric engine_descriptors_total "engine=\"$i\"")" = "$(model_wq $i "done")" ] &&
			[ "$(metric engine_bytes_total "engine=\"$i\"")" = "$(model_wq $i bytes)" ] ||
			return 1
	done
}

counters()
{
	echo "broker $(metric engine_descriptors_total) descriptors, $(metric engine_bytes_total) bytes;" \
		"device $(model_wq 0 "done")+$(model_wq 1 "done"), $(model_wq 0 bytes)+$(model_wq 1 bytes)"
}

log()
{
	sed 's/^/# /' /tmp/broker.log
}

conf auto
accelmuxd --config /tmp/broker.conf >/tmp/broker.log 2>&1
[ $? = 1 ] && grep -q 'no DSA device' /tmp/broker.log
result $? "without a device the broker does not start: $(cat /tmp/broker.log)"
drivers_load && iommu_up
result $? "idxd loads, the model knows the IOMMU"
wq_configure 0.4 0 dedicated 16 kernel && device_enable && wq_enable 0.4 kernel
accelmuxd --config /tmp/broker.conf >/tmp/broker.log 2>&1
[ $? = 1 ] && grep -q "(1 kernel, 0 user WQs are enabled): set them up by 'accelmux setup'" /tmp/broker.log
result $? "nor without a user WQ: $(cat /tmp/broker.log)"
layout dedicated
result $? "two engines with a user and a kernel WQ each: $(echo /dev/dsa/*)"
conf enqcmd
accelmuxd --config /tmp/broker.conf >/tmp/broker.log 2>&1
[ $? = 1 ] && grep -q 'dedicated WQ: .dsa. submit = enqcmd: expected auto, movdir64b or write' /tmp/broker.log
result $? "nor by an instruction that is not the WQ's: $(cat /tmp/broker.log)"

for way in "dedicated movdir64b" "dedicated auto" "shared enqcmd" "shared write"; do
	mode=${way% *} submit=${way#* }
	layout "$mode" && conf "$submit" && broker_start
	result $? "$mode WQs, submit = $submit: the broker starts"
	/t/dsa 0 clear
	bench 2 --size 64K --depth 32
	result $? "$mode, $submit: $(said)"
	[ "$(metric engine_bytes_total)" -gt 0 ] && agree
	result $? "$mode, $submit: counters agree: $(counters)"
	for op in fill compare crc32c; do
		bench 1 --op $op --size 20000 --depth 8
		result $? "$mode, $submit: $(said)"
	done
	[ "$(model dropped)" = 0 ] && [ "$(metric engine_losses_total)" = 0 ]
	result $? "$mode, $submit: nothing was dropped"
	broker_end
	result $? "$mode, $submit: the broker ends with 0"
done

# From here on by MOVDIR64B.
layout dedicated && conf movdir64b && broker_start
result $? "the broker starts again"
/t/dsa 0 clear
fault partial_every 5
bench 2 --size 128K --depth 16
result $? "partial completions: $(said)"
fault partial_every 0
[ "$(metric engine_partial_total)" -gt 0 ] && agree
result $? "and are counted: $(metric engine_partial_total); $(counters)"

/t/dsa 0 clear
before=$(metric engine_errors_total) faults=$(metric engine_partial_total)
fault error_every 20
bench 2 --size 64K --depth 16
good=$?
fault error_every 0
errors=$(($(metric engine_errors_total) - before))
[ $good = 1 ] && [ $errors -gt 0 ] && [ $errors = "$(metric engine_status_total 'status="0x20"')" ] &&
	[ $((errors + $(metric engine_partial_total) - faults)) = "$(model errors)" ]
result $? "error statuses reach the tenant: $errors, of $(model errors) with page faults; $(said)"
bench 1 --size 64K
result $? "then none: $(said)"

/t/dsa 0 clear
fault delay_us 2000
for i in 1 2 3 4; do
	accelmux bench --time 4s --size 16K --depth 128 --verify --engine-only >/tmp/bench$i 2>&1 &
	eval "tenant$i=\$!"
done
good=0
for i in 1 2 3 4; do
	eval "wait \$tenant$i" || good=1
done
fault delay_us 0
[ $good = 0 ] && [ "$(model dropped)" = 0 ]
result $? "four tenants, 512 requests on 32 entries: $(model "done") done, $(model dropped) dropped"

losses=$(metric engine_losses_total)
bench_start 12 --size 64K
sleep 3
accel-config disable-wq -f dsa0/wq0.1 >/tmp/disable 2>&1
result $? "accel-config disables a WQ under load: $(cat /tmp/disable)"
metric_becomes engine_up 'engine="1"' 0
result $? "its engine is down: $(grep lost: /tmp/broker.log | tail -n 1)"
sleep 1
[ "$(metric engine_up 'engine="0"')" = 1 ]
result $? "the other goes on"
accelmux devices | grep -q down
result $? "accelmux devices says so"
wq_again && metric_becomes engine_up 'engine="1"' 1
result $? "enabled again, it is up: $(grep 'up again' /tmp/broker.log | tail -n 1)"
bench_end
result $? "the tenant: $(said)"
[ $(($(metric engine_losses_total) - losses)) = 1 ] && [ "$(metric engine_lost_total)" = 0 ]
result $? "lost once, $(metric engine_redone_total) redone"
b=$(metric engine_bytes_total 'engine="1"')
bench 1 && [ "$(metric engine_bytes_total 'engine="1"')" -gt "$b" ]
result $? "and it carries bytes: $(said)"
log

bench_start 10 --size 64K
other_start 10
sleep 3
echo dsa0 >$drivers/idxd/unbind
metric_becomes engine_up "" 0
result $? "the device is disabled under load: both are down"
bench_end
[ $? = 1 ] && grep -q 'No such device' /tmp/bench && grep -q ' 0 mismatches' /tmp/bench
result $? "ENGINE_ONLY is told so: $(said)"
other_end
accelmux bench --time 1s --verify >/tmp/bench 2>&1
result $? "others use their CPU: $(said)"
layout dedicated && metric_becomes engine_up "" 2
result $? "enabled again: both are up"
bench 1
result $? "then: $(said)"

bench_start 8 --size 64K
other_start 8
sleep 3
echo 1 >"/sys/bus/pci/devices/$(address_of 0)/reset"
result $? "the device is reset (FLR) under load"
bench_end
grep -q ' 0 mismatches' /tmp/bench
result $? "ENGINE_ONLY: what was not refused is right: $(said)"
other_end
metric_becomes engine_up "" 2 30
result $? "both are up: $(metric engine_losses_total) losses"
bench 1
result $? "then: $(said)"
log

bench_start 6 --size 64K
other_start 6
sleep 2
/t/dsa 0 halt flr
bench_end
grep -q ' 0 mismatches' /tmp/bench
result $? "halted under load: ENGINE_ONLY: what was not refused is right: $(said)"
other_end
metric_becomes engine_up "" 2 30
result $? "halted, and reset by the driver: both are up: $(metric engine_losses_total) losses"
bench 1
result $? "then: $(said)"

# An engine that keeps what it has: nobody may touch it until it is given back.
fault wq 0
fault hang 1
bench_start 4 --size 64K
metric_becomes engine_up 'engine="0"' 0 30
result $? "an engine hangs: $(grep lost: /tmp/broker.log | tail -n 1)"
sleep 8
kill -0 $tenant
result $? "what it has is waited for"
fault hang 0
bench_end
result $? "given back: $(said)"
fault wq -1
metric_becomes engine_up "" 2
result $? "both are up"

# Lost: a descriptor that no engine has any more; closing the WQ proves it.
redone=$(metric engine_redone_total)
fault lose_every 300
bench_start 6 --size 64K
sleep 4
fault lose_every 0
bench_end
result $? "descriptors that the device loses: $(said)"
[ "$(metric engine_redone_total)" -gt "$redone" ]
result $? "are done by the broker: $(($(metric engine_redone_total) - redone))"
metric_becomes engine_up "" 2
result $? "both are up"
broker_end
result $? "the broker ends with 0"
log

# A reset brings back user WQs alone: kernel WQs anew.
layout dedicated && insmod /m/accelmux.ko timeout_ms=10000 && conf movdir64b device:/dev/accelmux && broker_start
result $? "with the module: $(channels) channels"
[ "$(channels)" = 2 ] && bench_start 4 --size 64K && moved 3 8 && [ "$by_engine" -gt 0 ]
good=$?
bench_end
result $((good || $?)) "migrations by the kernel WQs beside it: $by_engine pages, $(cat /tmp/load); $(said)"
echo dsa0 >$drivers/idxd/unbind
sleep 1
layout dedicated && metric_becomes engine_up "" 2 && channels_become 2
result $? "the device is disabled and enabled: both engines and $(channels) channels are back"
moved 3 8 && [ "$by_engine" -gt 0 ]
result $? "and carry pages: $by_engine, $(cat /tmp/load)"
broker_end
result $? "the broker ends with 0"
log
idxd_show
rmmod accelmux && rmmod idxd
result $? "accelmux and idxd unload"
echo "1..$n"
