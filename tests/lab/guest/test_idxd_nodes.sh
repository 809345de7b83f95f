#!/bin/busybox sh
# SPDX-License-Identifier: MIT
#
# Two devices behind root ports of two memory nodes: both come up on their nodes, the kernel WQs
# of each are channels, user WQs of each take a program's addresses.
# lab-kernel: 7
# lab-boot: setcpuid=movdir64b,enqcmd
# lab-machine: viommu
# lab-device: dsa node=0 --version 2
# lab-device: dsa node=1 --version 2
. /t/lib_idxd.sh

drivers_load && iommu_up
result $? "idxd loads, the models know the IOMMU"
ls -d $dsa/dsa0 $dsa/dsa1 >/dev/null 2>&1
result $? "it takes both devices: $(address_of 0), $(address_of 1)"
for i in 0 1; do
	d=$(dsa_of $i)
	[ "$(cat $dsa/"$d"/numa_node)" = $i ] && [ "$(cat $dsa/"$d"/pasid_enabled)" = 1 ]
	result $? "the device of node $i is on node $(cat $dsa/"$d"/numa_node), PASIDs enabled: $(cat $dsa/"$d"/pasid_enabled)"
	address=/sys/bus/pci/devices/$(address_of $i)
	# PCI Express capability at 0x40: type 0 is an endpoint
	[ "$(hexdump -s 66 -n 1 -e '1/1 "%02x"' "$address/config")" = 02 ]
	result $? "it is an endpoint behind $(basename "$(dirname "$(readlink -f "$address")")")"
done
for i in 0 1; do
	wq_configure $i.0 0 dedicated 16 kernel && wq_configure $i.1 1 shared 16 user 8 &&
		wq_configure $i.2 2 dedicated 16 user && echo dsa$i >$drivers/idxd/bind &&
		wq_enable $i.0 kernel && wq_enable $i.1 user && wq_enable $i.2 user
	result $? "dsa$i is configured and enabled: $(cat $dsa/dsa$i/wq$i.[012]/state | tr '\n' ' ')"
	/t/userwq /dev/dsa/wq$i.1 shared portal copy >/tmp/user 2>&1
	result $? "dsa$i, shared user WQ: $(cat /tmp/user)"
	/t/userwq /dev/dsa/wq$i.2 dedicated portal fault >/tmp/user 2>&1
	result $? "dsa$i, dedicated user WQ, a page that is not there: $(cat /tmp/user)"
done
for i in 0 1; do
	d=$(dsa_of $i)
	[ "$(model_wq 1 done $i)" = 64 ] && [ "$(model_wq 2 errors $i)" = 1 ]
	result $? "model $i is $d: $(model_wq 1 done $i) descriptors on its shared WQ, $(model_wq 2 errors $i) fault"
done

/t/dsa 0 clear
/t/dsa 1 clear
accelmux_load && [ "$(channels)" = 2 ]
result $? "the kernel WQs of both are channels: $(ls /sys/class/dma | tr '\n' ' ')"
moved 4 8 && [ "$by_engine" -gt 0 ]
result $? "pages: $by_engine by engine, $(cat /tmp/load)"
both=$(($(model bytes 0) + $(model bytes 1)))
[ "$both" = $(($(stat engine_pages) * 4096)) ] && [ "$(stat dma_errors)" = 0 ]
result $? "bytes: $(($(stat engine_pages) * 4096)) by the module, $(model bytes 0) and $(model bytes 1) by the models"
cat /sys/kernel/debug/accelmux/channels | sed 's/^/# /'
dmesg | grep 'idxd' | sed 's/^/# /'
rmmod accelmux && rmmod idxd
result $? "both unload"
echo "1..$n"
