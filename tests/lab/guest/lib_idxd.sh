# SPDX-License-Identifier: MIT
# shellcheck shell=sh
#
# lib_idxd.sh - for shell tests with the stock idxd driver on a device model.
. /t/lib_tap.sh
dsa=/sys/bus/dsa/devices
drivers=/sys/bus/dsa/drivers
wqs="0 1 2 3"

# becomes NAME VALUE [SECONDS]: does a number of accelmux come to be that?
becomes()
{
	i=0
	while [ "$(stat "$1")" != "$2" ]; do
		[ $i -lt $((${3:-10} * 10)) ] || return 1
		sleep 0.1
		i=$((i + 1))
	done
}

# model NAME [MODEL]: a counter of the model's WQs, their sum
model()
{
	/t/dsa "${2:-0}" stats | awk -v what="$1" '$1 == "wq" {
		for (i = 3; i < NF; i++)
			if ($i == what)
				sum += $(i + 1)
	} END { print sum + 0 }'
}

# model_wq WQ NAME [MODEL]: the same of one WQ
model_wq()
{
	/t/dsa "${3:-0}" stats | awk -v wq="$1" -v what="$2" '$1 == "wq" && $2 == wq {
		for (i = 3; i < NF; i++)
			if ($i == what)
				print $(i + 1)
	}'
}

fault()
{
	/t/dsa 0 fault "$1" "$2"
}

drivers_load()
{
	set_cap=
	grep -q movdir64b /proc/cpuinfo || set_cap=set_cap=1
	# shellcheck disable=SC2086 # none or one
	insmod /m/amux_movdir.ko $set_cap || return 1
	while read -r m; do
		insmod "/m/$m" || return 1
	done </m/order.dsa
}

# configure [SIZE]: one group per engine, each with one dedicated kernel WQ
configure()
{
	for i in $wqs; do
		echo "$i" >$dsa/dsa0/engine0."$i"/group_id || return 1
		cd $dsa/dsa0/wq0."$i" || return 1
		{
			echo "$i" >group_id && echo dedicated >mode && echo "${1:-16}" >size &&
				echo 10 >priority
		} || return 1
		cd / || return 1
	done
}

# address_of N: the PCI address of the device of model N
address_of()
{
	for a in /sys/bus/pci/devices/*; do
		[ "$(cat "$a/device")" = 0x0b25 ] || continue
		[ "$(printf %d "$(cat "$a/subsystem_device")")" != "$1" ] || basename "$a"
	done
}

# dsa_of N: idxd's name of the device of model N
dsa_of()
{
	basename "$(ls -d "/sys/bus/pci/devices/$(address_of "$1")"/dsa*)"
}

# iommu_up: processes' addresses are good for the devices; the models are told of the IOMMU
iommu_up()
{
	insmod /m/amux_svm.ko || return 1
	i=0
	while [ "$(address_of $i)" ]; do
		# VT-d's root table address register
		/t/dsa $i iommu "$(devmem 0xfed90020 64)" "$(address_of $i)" || return 1
		i=$((i + 1))
	done
	[ $i -gt 0 ]
}

# wq_configure WQ GROUP MODE SIZE TYPE [THRESHOLD]: "0.1" of dsa0, with engine 0.GROUP
wq_configure()
{
	echo "$2" >"$dsa/dsa${1%.*}/engine${1%.*}.$2/group_id" || return 1
	cd "$dsa/dsa${1%.*}/wq$1" || return 1
	{
		echo "$2" >group_id && echo "$3" >mode && echo "$4" >size && echo 10 >priority &&
			{ [ ! "${6:-}" ] || echo "$6" >threshold; } && echo "$5" >type &&
			echo "$5${1#*.}" >name &&
			if [ "$5" = user ]; then echo user; else echo dmaengine; fi >driver_name
	} || return 1
	cd /
}

# wq_enable WQ TYPE
wq_enable()
{
	if [ "$2" = user ]; then
		echo "wq$1" >$drivers/user/bind
	else
		echo "wq$1" >$drivers/dmaengine/bind
	fi
}

device_enable()
{
	echo dsa0 >$drivers/idxd/bind
}

# wqs_enable [WQ...]: as kernel WQs.  A WQ that was disabled has lost most of what it was; as long
# as one of them is left as a shared one, none can be enabled.
wqs_enable()
{
	# shellcheck disable=SC2086 # numbers
	[ $# -gt 0 ] || set -- $wqs
	for i; do
		cd $dsa/dsa0/wq0."$i" || return 1
		{
			echo dedicated >mode && echo 10 >priority && echo kernel >type &&
				echo "kernel$i" >name && echo dmaengine >driver_name
		} || return 1
		cd / || return 1
	done
	for i; do
		echo wq0."$i" >$drivers/dmaengine/bind || return 1
	done
}

# WQs disabled and enabled: what was in flight there is at rest.
wqs_renew()
{
	for i in $wqs; do
		echo wq0."$i" >$drivers/dmaengine/unbind
	done
	wqs_enable
}

# The same with the whole device, as the driver sees it.
device_renew()
{
	[ ! -e $drivers/idxd/dsa0 ] || echo dsa0 >$drivers/idxd/unbind
	configure && device_enable && wqs_enable
}

# channels: how many are in use; not those that a quarantined descriptor keeps from use
channels()
{
	grep -c ' open ' /sys/kernel/debug/accelmux/channels
}

channels_become()
{
	i=0
	while [ "$(channels)" != "$1" ]; do
		[ $i -lt 100 ] || return 1
		sleep 0.1
		i=$((i + 1))
	done
}

# accelmux_load [PARAMETERS]: with channels when it returns
accelmux_load()
{
	insmod /m/accelmux.ko default=share timeout_ms=10000 "$@" && becomes armed 1
}

# Everything from the driver on.
idxd_up()
{
	drivers_load && configure && device_enable && wqs_enable && accelmux_load "$@"
}

# moved ARGUMENTS: pages by engine while a load runs; false if its content went wrong
moved()
{
	before=$(stat engine_pages)
	/t/migload "$@" >/tmp/load || return 1
	by_engine=$(($(stat engine_pages) - before))
}

# load_start SECONDS, load_end: a load meanwhile; false if its content went wrong
load_start()
{
	before=$(stat engine_pages)
	/t/migload "$1" 8 >/tmp/load &
	load=$!
}

load_end()
{
	wait $load || return 1
	by_engine=$(($(stat engine_pages) - before))
}

# What is worth knowing when something went wrong.
idxd_show()
{
	/t/dsa 0 stats 2>&1 | grep -v ' submitted 0 ' | sed 's/^/# model: /'
	sed 's/^/# channel: /' /sys/kernel/debug/accelmux/channels 2>/dev/null
	grep -v ' 0$' /sys/kernel/debug/accelmux/stats 2>/dev/null | sed 's/^/# /'
}
