#!/bin/busybox sh
# SPDX-License-Identifier: MIT
#
# Upstream's judges of the device model: accel-config configures the device by a file of its own
# tests, and its dsa_test is run as its dsa_user_test_runner.sh does, on the dedicated and the
# shared user WQ.
# lab-kernel: 7
# lab-boot: setcpuid=movdir64b,enqcmd
# lab-machine: viommu
# lab-device: dsa --version 2
. /t/lib_idxd.sh

# run NAME ARGUMENTS...: dsa_test on both WQs
run()
{
	what=$1
	shift
	for wq in wq0.0 wq0.1; do
		dsa_test -d dsa0/$wq -t 20000 "$@" >/tmp/dsa_test 2>&1
		status=$?
		# Wrong tags of DIF are told, and are no failure to dsa_test.
		! grep -q "Tag Errors" /tmp/dsa_test || status=1
		[ $status = 0 ] || tail -n 5 /tmp/dsa_test | sed 's/^/# /'
		result $status "$(cat $dsa/dsa0/$wq/mode): $what"
	done
}

drivers_load && iommu_up
result $? "idxd loads, the model knows the IOMMU"
sed /block_on_fault/d /up/2g2q_user_1.conf >/tmp/conf
accel-config load-config -c /tmp/conf >/tmp/said 2>&1
result $? "accel-config loads a configuration: $(tail -n 1 /tmp/said)"
accel-config enable-device dsa0 >/tmp/said 2>&1 &&
	accel-config enable-wq dsa0/wq0.0 >>/tmp/said 2>&1 &&
	accel-config enable-wq dsa0/wq0.1 >>/tmp/said 2>&1
result $? "and enables the device and its WQs: $(tr '\n' ' ' </tmp/said)"
accel-config list >/tmp/said 2>&1 && [ "$(grep -c '"state":"enabled"' /tmp/said)" = 3 ]
result $? "and lists them as enabled"

for op in 0x0:NOOP 0x2:DRAIN 0x3:MEMMOVE 0x4:FILL 0x5:COMPARE 0x6:COMPVAL 0x9:DUALCAST 0x10:CRCGEN \
	0x11:COPY_CRC 0x20:CFLUSH; do
	name=${op#*:}
	op=${op%:*}
	for size in 1 4096 65536 2097152; do
		run "$name of $size bytes" -l $size -o $op -f 0
		[ $op != 0x0 ] && [ $op != 0x2 ] || break
	done
	[ $op != 0x2 ] || continue
	run "$name by 16 in a batch" -l 4096 -o 0x1 -b $op -c 16 -f 0
done
# Large ones meet pages that nobody has touched, and dsa_test goes on behind the fault; but not so
# that Apply Delta Record could, and with Translation Fetch not at all.
for op in 0x7:CR_DELTA:4096:65536 0x8:AP_DELTA:512:4096 0xa:TRANSL_FETCH:1:4096 \
	0x12:DIF_CHECK:1024:65536 0x13:DIF_INS:1024:65536 0x14:DIF_STRP:1024:65536 \
	0x15:DIF_UPDT:1024:65536 0x17:DIX_GEN:1024:65536; do
	IFS=: read -r op name small large <<-END
		$op
	END
	run "$name of $small bytes" -l "$small" -o "$op" -f 0
	run "$name of $large bytes" -l "$large" -o "$op" -f 0
	run "$name by 16 in a batch" -l 4096 -o 0x1 -b "$op" -c 16 -f 0
done
run "40 copies" -l 4096 -o 0x3 -n 40 -f 0
run "a completion record that is not there" -l 4096 -o 0x3 -f 0x10
run "completion records of a batch that are not there" -l 4096 -o 0x1 -b 0x3 -c 8 -f 0x10
# batch NAME COUNT FAULTS: of copies, with faults as dsa_test has them (its -h tells how)
batch()
{
	run "a batch of $2, $1" -l 4096 -o 0x1 -b 0x3 -c "$2" -f 0 -e "$3"
}
batch "its list not there behind 15" 16 0,0,1,15
batch "its own record not there" 4 1,0,0,0
batch "a source not there" 4 0,0,0,0:0,0,0,0:1,0,0,0
batch "a source and the end of the list not there" 4 0,0,1,3:1,0,0,0:0,0,0,0:0,0,0,0:0,0,0,0
batch "a record not there" 4 0,0,0,0:0,1,0,0
batch "a record not there, then a fence" 4 0,0,0,0:0,1,0,0:0,0,0,0:0,0,0,1
batch "a record that cannot be written at all" 4 0,0,0,0:0,0,1,0
idxd_show
accel-config disable-wq dsa0/wq0.0 >/tmp/said 2>&1 &&
	accel-config disable-wq dsa0/wq0.1 >>/tmp/said 2>&1 &&
	accel-config disable-device dsa0 >>/tmp/said 2>&1
result $? "accel-config disables them: $(tr '\n' ' ' </tmp/said)"
rmmod idxd
result $? "idxd unloads"
echo "1..$n"
