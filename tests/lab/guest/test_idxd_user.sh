#!/bin/busybox sh
# SPDX-License-Identifier: MIT
#
# User WQs of the stock idxd driver with shared virtual addresses: a program submits by write()
# and by the mapped portal, to a dedicated and to a shared WQ, beside a kernel WQ, all translated
# by the guest's IOMMU.  (6.12 cannot: iommu_sva_bind_device() fails there.)
# lab-kernel: 7
# lab-boot: setcpuid=movdir64b,enqcmd
# lab-machine: viommu
# lab-device: dsa --version 2
. /t/lib_idxd.sh

# user WQ MODE WAY CHECK WHAT
user()
{
	/t/userwq /dev/dsa/wq0."$1" "$2" "$3" "$4" >/tmp/user 2>&1
	result $? "$2, $3: $5: $(tr '\n' ';' </tmp/user)"
}

drivers_load && iommu_up
result $? "idxd loads, the model knows the IOMMU"
[ "$(cat $dsa/dsa0/pasid_enabled)" = 1 ]
result $? "PASIDs are enabled"
wq_configure 0.0 0 dedicated 16 user && wq_configure 0.1 1 shared 16 user 8 &&
	wq_configure 0.2 2 dedicated 16 kernel && device_enable
result $? "a dedicated and a shared user WQ and a kernel WQ are configured: $(cat $dsa/dsa0/state)"
wq_enable 0.0 user && wq_enable 0.1 user && wq_enable 0.2 kernel
result $? "and enabled: $(cat $dsa/dsa0/wq0.[012]/state | tr '\n' ' ')"
[ -c /dev/dsa/wq0.0 ] && [ -c /dev/dsa/wq0.1 ] && [ -e /sys/class/dma/dma0chan0 ]
result $? "there are device files and a channel: $(ls /dev/dsa | tr '\n' ' ')"
echo 8 >/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages

for way in write portal; do
	for wq in "0 dedicated" "1 shared"; do
		# shellcheck disable=SC2086 # a WQ and its mode
		{
			user $wq $way copy "copies of any size, every byte"
			user $wq $way overlap "an overlapping copy"
			user $wq $way huge "pages of 2 MiB"
			user $wq $way batch "a batch"
			user $wq $way fault "a destination nobody has touched, then the rest"
			user $wq $way fault-read "a source nobody has touched"
			user $wq $way readonly "a destination that is read-only"
			user $wq $way kernel "the kernel's addresses"
			user $wq $way record "a completion record nobody has touched"
		}
	done
done

# A limited portal stops at the threshold; one more is with the engine.
for way in write portal; do
	/t/dsa 0 clear
	fault hang 1
	/t/userwq /dev/dsa/wq0.1 shared $way retry >/tmp/user 2>&1 &
	sleep 4
	retried=$(model_wq 1 retried)
	fault hang 0
	wait $!
	good=$?
	[ "$(cat /tmp/user)" = "9 taken" ] && [ "$retried" -gt 0 ]
	result $((good || $?)) "shared, $way: Retry from the 10th on: $(cat /tmp/user), $retried retried"
done

accelmux_load && moved 3 8 && [ "$by_engine" -gt 0 ]
result $? "the kernel WQ meanwhile: $by_engine pages by engine, $(cat /tmp/load)"
[ "$(stat dma_errors)" = 0 ]
result $? "without an error"
rmmod accelmux
idxd_show
rmmod idxd
result $? "idxd unloads"
echo "1..$n"
