#!/bin/busybox sh
# SPDX-License-Identifier: MIT
#
# End to end where user WQs cannot be had (no IOMMU here; no SVA in 6.12): accelmux setup lays out
# kernel WQs alone, migrations go by them under the broker's grants, its software engines serve
# the tenants.
# lab-boot: setcpuid=movdir64b
# lab-device: dsa --version 2
. /t/lib_idxd.sh
. /t/lib_broker.sh

# both POLICY: a tenant and migrations under it; false: a byte was wrong, or somebody failed
both()
{
	accelmux policy set "$1" >/dev/null || return 1
	/t/dsa 0 clear
	pages=$(stat engine_pages)
	accelmux bench --time 4s --size 64K --depth 16 --verify >/tmp/bench 2>&1 &
	tenant=$!
	moved 3 8
	good=$?
	wait $tenant || good=1
	return $good
}

drivers_load && accelmux setup --kernel-only >/tmp/setup 2>&1
result $? "kernel WQs are laid out: $(tail -n 1 /tmp/setup)"
insmod /m/accelmux.ko timeout_ms=10000
broker_conf <<EOF
metrics = off
kernel = device:/dev/accelmux
policy = shared
own_core = on
EOF
broker_start && [ "$(channels)" = 4 ]
result $? "the module has $(channels) channels from the broker: $(broker_said)"
for policy in shared partitioned dynamic; do
	both $policy
	result $? "$policy: every byte right: $by_engine pages by engine, $(cat /tmp/load); $(sed -n 's/^throughput *//p' /tmp/bench)"
	[ "$(model bytes)" = $((($(stat engine_pages) - pages) * 4096)) ]
	result $? "$policy: $((($(stat engine_pages) - pages) * 4096)) bytes by the module, $(model bytes) by the device"
	[ $policy != shared ] || {
		[ "$by_engine" -gt 0 ]
		result $? "shared, which does not predict: some by engine"
	}
	[ $policy != partitioned ] || {
		[ "$(model_wq 2 bytes)" = 0 ] && [ "$(model_wq 3 bytes)" = 0 ]
		result $? "partitioned: engines 2 and 3 are not the kernel's"
	}
done
both cpu && [ "$by_engine" = 0 ]
result $? "cpu: $by_engine pages by engine, $(cat /tmp/load)"
accelmux setup --undo >/tmp/undo 2>&1
result $((!$?)) "setup cannot be undone while they are in use: $(cat /tmp/undo)"
broker_end
result $? "the broker drains and ends with 0"
rmmod accelmux && accelmux setup --undo >/tmp/undo 2>&1
result $? "then it can: $(tail -n 1 /tmp/undo)"
idxd_show
rmmod idxd
result $? "idxd unloads"
echo "1..$n"
