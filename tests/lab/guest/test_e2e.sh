#!/bin/busybox sh
# SPDX-License-Identifier: MIT
#
# End to end: two DSA devices on two memory nodes with a CPU each -> accelmux setup -> the module
# on their kernel WQs, the broker on their user WQs -> tenants on both nodes beside migrations
# under each policy, switched while they run -> the models' counters against broker and module.
# lab-kernel: 7
# lab-boot: setcpuid=movdir64b,enqcmd
# lab-machine: viommu2
# lab-device: dsa node=0 --version 2
# lab-device: dsa node=1 --version 1
. /t/lib_idxd.sh
. /t/lib_broker.sh

# clear: both models' counters to 0, and where the others' are
clear()
{
	/t/dsa 0 clear && /t/dsa 1 clear
	user_before=$(broker_bytes) kernel_before=$(stat engine_pages)
}

# model_bytes FIRST LAST [MODEL...]: bytes by these WQs of the models, both by default
model_bytes()
{
	first=$1 last=$2
	shift 2
	[ $# -gt 0 ] || set -- 0 1
	for m; do
		/t/dsa "$m" stats | awk -v first="$first" -v last="$last" '
			$1 == "wq" && $2 >= first && $2 <= last {
				for (i = 3; i < NF; i++) if ($i == "bytes") n += $(i + 1)
			}
			END { print n + 0 }'
	done | awk '{ n += $1 } END { printf "%.0f\n", n }'
}

broker_bytes()
{
	metric engine_bytes_total 'wq="user"'
}

# near A B: within 2 %
near()
{
	awk "BEGIN { d = $1 - $2; exit !((d < 0 ? -d : d) <= $1 / 50) }"
}

# load_run [POLICY...]: two tenants, one on each node, and migrations for six seconds; policies set
# one after the other meanwhile.  false: a byte was wrong, or somebody failed.
load_run()
{
	for cpu in 0 1; do
		taskset -c $cpu accelmux bench --time 6s --size 64K --depth 16 --engine-only \
			--verify --name "node$cpu" >/tmp/bench$cpu 2>&1 &
		eval "tenant$cpu=\$!"
	done
	/t/migload 6 8 >/tmp/load 2>&1 &
	load=$!
	for policy; do
		sleep 1
		accelmux policy set "$policy" >/dev/null || return 1
	done
	good=0
	for pid in $tenant0 $tenant1 $load; do
		wait "$pid" || good=1
	done
	return $good
}

said()
{
	echo "$(sed -n 's/^throughput *//p' /tmp/bench0), $(sed -n 's/^throughput *//p' /tmp/bench1), $(cat /tmp/load)"
}

# agree: the models' counters are the broker's and the module's
agree()
{
	user=$(($(broker_bytes) - user_before)) kernel=$((($(stat engine_pages) - kernel_before) * 4096))
	near "$user" "$(model_bytes 4 7)" && near "$kernel" "$(model_bytes 0 3)"
}

drivers_load && iommu_up
result $? "idxd loads, the models know the IOMMU"
nodes="$(cat /sys/bus/dsa/devices/"$(dsa_of 0)"/numa_node) $(cat /sys/bus/dsa/devices/"$(dsa_of 1)"/numa_node)"
[ "$nodes" = "0 1" ]
result $? "two devices, $(dsa_of 0) and $(dsa_of 1), on nodes $nodes"
accelmux setup >/tmp/setup 2>&1
result $? "they are set up: $(tail -n 1 /tmp/setup)"
insmod /m/accelmux.ko timeout_ms=10000
broker_conf <<EOF
metrics = 127.0.0.1:9437
engine = dsa
kernel = device:/dev/accelmux
policy = shared
[dsa]
submit = movdir64b
timeout = 10s
EOF
broker_start && [ "$(channels)" = 8 ] && [ "$(accelmux devices | grep -c '^dsa')" -ge 2 ]
result $? "the broker has both, the module their $(channels) channels: $(broker_said)"
accelmux doctor >/tmp/doctor
[ "$(grep -c '^bad' /tmp/doctor)" = 0 ]
result $? "doctor finds nothing bad: $(grep '^bad' /tmp/doctor | head -n 1)"

for policy in shared partitioned dynamic; do
	accelmux policy set $policy >/dev/null
	clear
	load_run
	result $? "$policy: every byte right: $(said)"
	agree
	result $? "$policy: users $user bytes by the broker, $(model_bytes 4 7) by the devices; migrations $kernel by the module, $(model_bytes 0 3) by the devices"
	[ "$(model_bytes 4 7 0)" -gt 0 ] && [ "$(model_bytes 4 7 1)" -gt 0 ] &&
		[ "$(model_bytes 0 3)" -gt 0 ]
	result $? "$policy: both devices serve users ($(model_bytes 4 7 0), $(model_bytes 4 7 1)), and migrations ($(model_bytes 0 3 0), $(model_bytes 0 3 1))"
	[ $policy != partitioned ] || {
		# kernel_share = 50: of four engines the first two
		[ "$(model_bytes 2 3)" = 0 ] && [ "$(model_bytes 4 5)" = 0 ]
		result $? "partitioned: engines 0 and 1 did nothing for users ($(model_bytes 4 5)), 2 and 3 nothing for the kernel ($(model_bytes 2 3))"
	}
done

clear
load_run dynamic partitioned shared dynamic
result $? "switched four times under load: every byte right: $(said)"
agree
result $? "the counters still agree: users $user, migrations $kernel bytes"
[ "$(metric policy_switches_total node)" -ge 6 ]
result $? "switches are counted: $(metric policy_switches_total node)"
[ "$(model dropped 0)" = 0 ] && [ "$(model dropped 1)" = 0 ] && [ "$(metric engine_losses_total engine)" = 0 ]
result $? "nothing was dropped, no engine lost"

broker_end
result $? "the broker drains and ends with 0"
rmmod accelmux
accelmux setup --undo >/tmp/undo 2>&1
result $? "setup is undone: $(tail -n 1 /tmp/undo)"
idxd_show
rmmod idxd
result $? "idxd unloads"
echo "1..$n"
