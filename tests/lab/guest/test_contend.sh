#!/bin/busybox sh
# SPDX-License-Identifier: MIT
#
# Kernel migration beside a saturating tenant on one device, by its model's clock: each side alone
# and both together, under each policy.  What the broker and the model counted meanwhile is left
# on the disk for contend.sh, which makes the table and the picture of it.
#
# The guest's CPU is not modelled, and must not be compared with the device: cpu_rate is so low that
# no prediction sends pages to it.
#
# AMUX_LAB_SECONDS: of a window, default 4.  AMUX_LAB_FULL: leave what was counted on the disk.
# lab-kernel: 7
# lab-boot: setcpuid=movdir64b,enqcmd
# lab-machine: viommu
# lab-device: dsa --version 1 --time-scale 1000
. /t/lib_idxd.sh
. /t/lib_broker.sh

scale=1000 window=${AMUX_LAB_SECONDS:-4}
policies="shared partitioned dynamic"

# look NAME: what broker and model have counted up to now
look()
{
	accelmux --json status >"/tmp/c/$1.json" && /t/dsa 0 stats >"/tmp/c/$1.dsa"
}

# phase NAME SIDES: a window with a load on each of SIDES
phase()
{
	long=$((window + 4)) tenant="" kernel="" bad=0
	case $2 in
	*user*)
		accelmux bench --time ${long}s --size 256K --depth 64 --engine-only --verify \
			>"/tmp/c/$1.bench" 2>&1 &
		tenant=$!
		;;
	esac
	case $2 in
	*kernel*)
		/t/migload $long 8 >"/tmp/c/$1.load" 2>&1 &
		kernel=$!
		;;
	esac
	sleep 2
	look "$1.begin" || bad=1
	sleep "$window"
	look "$1.end" || bad=1
	for pid in $tenant $kernel; do
		wait "$pid" || bad=1
	done
	return $bad
}

# bytes NAME WQS: what the model's WQs (kernel: the first four, user: the others) moved meanwhile
bytes()
{
	for at in begin end; do
		awk -v who="$2" '$1 == "wq" && (($2 < 4) == (who == "kernel")) {
			for (i = 3; i < NF; i++) if ($i == "bytes") n += $(i + 1) } END { print n + 0 }' \
			"/tmp/c/$1.$at.dsa"
	done | awk '{ n[NR] = $1 } END { print n[2] - n[1] }'
}

mkdir /tmp/c
drivers_load && iommu_up && accelmux setup >/tmp/setup 2>&1
result $? "the device is set up: $(tail -n 1 /tmp/setup)"
insmod /m/accelmux.ko timeout_ms=600000
broker_conf <<EOF
metrics = off
engine = dsa
kernel = device:/dev/accelmux
policy = shared
cpu_rate = 1G
[dsa]
submit = movdir64b
time_scale = $scale
EOF
broker_start
result $? "the broker has its user WQs and the module its kernel WQs: $(broker_said)"

for policy in $policies; do
	accelmux policy set $policy >/dev/null
	for sides in kernel user kernel+user; do
		phase "$policy.$sides" $sides
		result $? "$policy, $sides: every byte right; by the model kernel $(bytes $policy.$sides kernel), user $(bytes $policy.$sides user) bytes in $window s"
	done
done

# What the project started from, and what it is for.
shared=$(bytes shared.kernel+user kernel) alone=$(bytes shared.kernel kernel)
dynamic=$(bytes dynamic.kernel+user kernel)
[ "$alone" -gt $((shared * 2)) ]
result $? "shared: beside the tenant migration gets less than half of what it gets alone"
[ "$dynamic" -gt $((shared * 3 / 2)) ]
result $? "dynamic: it gets at least half as much again"

# half of 30 MB/s, and a little for windows that are not quite as long as they should be
[ "$(bytes partitioned.user user)" -lt $((window * 16500000)) ]
result $? "partitioned: the tenant alone gets no more than its half: $(bytes partitioned.user user) bytes"

broker_end
result $? "the broker drains and ends with 0"
[ -z "$AMUX_LAB_FULL" ] || tar -C /tmp/c -cf /dev/vda .
rmmod accelmux
echo "1..$n"
