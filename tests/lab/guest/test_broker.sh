#!/bin/busybox sh
# SPDX-License-Identifier: MIT
#
# The real broker on the real /dev/accelmux, with a user tenant beside real migrations: what
# the policy grants is what goes by engine; a broker killed, stopped, or drained costs the
# migrations nothing.
. /t/lib_tap.sh
. /t/lib_broker.sh

# moved: pages by engine while a load runs, and those that the engine was predicted to be too
# slow for (in this guest it is software); false if its content went wrong
moved()
{
	before=$(stat engine_pages) predicted=$(stat declined_predicted)
	/t/migload 2 8 >/tmp/load || return 1
	by_engine=$(($(stat engine_pages) - before))
	predicted=$(($(stat declined_predicted) - predicted))
}

broker_conf <<EOF
metrics = off
kernel = device:/dev/accelmux
policy = dynamic
EOF

accelmuxd --config /tmp/broker.conf >/tmp/broker.log 2>&1
result $((!$?)) "without the module the broker does not start: $(broker_said)"

insmod /m/amux_testdma.ko && insmod /m/accelmux.ko
result $? "the modules load"
broker_start && [ "$(stat attached)" = 1 ]
result $? "the broker attaches: $(broker_said)"

for policy in dynamic partitioned shared; do
	accelmux policy set $policy >/dev/null 2>&1
	moved && [ $((by_engine + predicted)) -gt 0 ]
	result $? "$policy: $by_engine pages by engine, $predicted predicted to be slower, $(cat /tmp/load)"
done
[ "$by_engine" -gt 0 ]
result $? "shared, which does not predict: some by engine"
accelmux policy set cpu >/dev/null 2>&1
sleep 0.2
moved && [ "$by_engine" = 0 ] && [ "$predicted" = 0 ]
result $? "cpu: $by_engine pages by engine, $(cat /tmp/load)"
accelmux policy set dynamic >/dev/null 2>&1

accelmux bench --time 3s --verify >/tmp/bench 2>&1 &
tenant=$!
moved
good=$?
wait $tenant
result $((good || $?)) "beside a tenant: $by_engine pages by engine; $(tail -n 1 /tmp/bench)"
accelmux status >/tmp/status 2>&1 && grep -q 'device:/dev/accelmux' /tmp/status
result $? "status names the kernel's source"

/t/migload 4 8 >/tmp/load2 &
load=$!
sleep 1
kill -9 $broker
wait $load
result $? "killed with -9 during migrations: $(cat /tmp/load2)"
[ "$(stat attached)" = 0 ] && moved && [ "$by_engine" = 0 ]
result $? "then nothing goes by engine"
broker_start && [ "$(stat attached)" = 1 ]
result $? "a new broker attaches"
kill -STOP $broker
sleep 1
moved
result $? "stopped: migrations go on, $by_engine pages by engine, $(cat /tmp/load)"
kill -CONT $broker
broker_end
result $? "it drains and ends with 0"
rmmod accelmux && rmmod amux_testdma
result $? "the modules unload"
echo "1..$n"
