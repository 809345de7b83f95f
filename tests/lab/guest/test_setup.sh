#!/bin/busybox sh
# SPDX-License-Identifier: MIT
#
# accelmux setup on the stock idxd driver: what it plans, lays out, leaves alone, refuses and
# takes back.  Without an IOMMU: kernel WQs only.
# lab-boot: setcpuid=movdir64b
# lab-device: dsa --version 2
. /t/lib_idxd.sh

record=/run/accelmux/layout.json

# attributes NAME: of all WQs of the device, in a line
attributes()
{
	for w in 0 1 2 3 4 5 6 7; do
		printf '%s ' "$(cat $dsa/dsa0/wq0.$w/"$1")"
	done
}

# configuration: all of it that setup is about, but for what the driver counts
configuration()
{
	cat $dsa/dsa0/state
	cat $dsa/dsa0/engine0.*/group_id
	for a in state type group_id size priority name max_batch_size max_transfer_size; do
		attributes $a
		echo
	done
}

# refused WORD COMMAND...: does it fail with one line on standard error, with WORD in it?
refused()
{
	word=$1
	shift
	said=
	! "$@" >/tmp/out1 2>/tmp/err1 || return 1
	said=$(cat /tmp/err1)
	[ "$(wc -l </tmp/err1)" = 1 ] && grep -q -e "$word" /tmp/err1
}

# says LEVEL CHECK WORD...: does doctor have such a finding, with that word in it?  All of them
# are in /tmp/doctor.
says()
{
	said=$(grep "^$1  *$2  .*$3" /tmp/doctor | head -n 1)
	[ "$said" ]
}

doctor()
{
	accelmux doctor >/tmp/doctor 2>/tmp/err1
}

# recorded: "channel:wq" of the record, in its order
recorded()
{
	sed -n 's/.*"channel": "\(.*\)".*/\1/p; s/.*"wq": "\(.*\)".*/\1/p' $record | paste -d: - - |
		tr '\n' ' '
}

channel_inodes()
{
	for c in 0 1 2 3; do
		printf '%s ' "$(ls -idL /sys/class/dma/dma0chan$c/ | awk '{ print $1 }')"
	done
}

doctor
says bad device 'idxd is not loaded; cure: modprobe idxd'
result $? "doctor, without the driver: $said"
drivers_load
result $? "idxd loads"
doctor
[ $? = 1 ] && says bad device 'dsa0 is disabled; cure: accelmux setup --devices dsa0'
result $? "doctor: $said"
says warn sva 'dsa0: .*boot with intel_iommu=on,sm_on'
result $? "doctor: $said"
says warn module 'not loaded' && says bad broker 'no broker listens'
result $? "doctor: $said"
configure && cd / && echo 2 >$dsa/dsa0/wq0.5/size
result $? "somebody configured the device and left it disabled"
configuration >/tmp/before

accelmux setup --dry-run >/tmp/plan.json
result $? "setup --dry-run"
[ "$(grep -c '"type": "kernel"' /tmp/plan.json)" = 4 ] &&
	[ "$(grep -c '"size": 64' /tmp/plan.json)" = 4 ] && ! grep -q '"user"' /tmp/plan.json
result $? "plans 4 kernel WQs of 64 entries, no user WQs without PASID"
configuration | cmp - /tmp/before
result $? "and changed nothing"
if [ -x /bin/accel-config ]; then
	echo 0 >$dsa/dsa0/wq0.5/size
	accel-config load-config -c /tmp/plan.json -e >/tmp/out1 2>&1 &&
		[ "$(attributes state)" = "enabled enabled enabled enabled disabled disabled disabled disabled " ]
	result $? "accel-config load-config takes the plan: $(tail -n 1 /tmp/out1)"
	accel-config disable-device dsa0 >/dev/null 2>&1
	configure && cd / && echo 2 >$dsa/dsa0/wq0.5/size && configuration | cmp - /tmp/before
	result $? "as it was"
fi
refused 'dsa0.*PASID.*intel_iommu' accelmux setup --user-mode dedicated
result $? "user WQs are refused: $said"
refused "dsa9.*no such device" accelmux setup --devices dsa9
result $? "a device that is not there: $said"

accelmux setup >/tmp/out1
result $? "setup: $(cat /tmp/out1)"
[ "$(cat $dsa/dsa0/state)" = enabled ] && [ "$(cat $dsa/dsa0/engine0.*/group_id | tr '\n' ' ')" = "0 1 2 3 " ]
result $? "enabled, an engine a group"
[ "$(attributes state)" = "enabled enabled enabled enabled disabled disabled disabled disabled " ] &&
	[ "$(attributes type)" = "kernel kernel kernel kernel none none none none " ] &&
	[ "$(attributes group_id)" = "0 1 2 3 -1 -1 -1 -1 " ] &&
	[ "$(attributes size)" = "64 64 64 64 0 0 0 0 " ] &&
	[ "$(attributes priority | cut -d ' ' -f 1-4)" = "8 8 8 8" ] &&
	[ "$(attributes mode | cut -d ' ' -f 1-4)" = "dedicated dedicated dedicated dedicated" ] &&
	[ "$(attributes driver_name | cut -d ' ' -f 1-4)" = "dmaengine dmaengine dmaengine dmaengine" ] &&
	[ "$(attributes max_transfer_size | cut -d ' ' -f 1-4)" = "2097152 2097152 2097152 2097152" ]
result $? "sysfs shows the layout"
[ "$(recorded)" = "dma0chan0:wq0.0 dma0chan1:wq0.1 dma0chan2:wq0.2 dma0chan3:wq0.3 " ]
result $? "the record: $(recorded)"

inodes=$(channel_inodes)
accelmux setup >/tmp/out1 && grep -q 'dsa0: already' /tmp/out1 && [ "$(channel_inodes)" = "$inodes" ]
result $? "again: $(cat /tmp/out1)"

doctor
says ok layout 'dsa0 is as it was laid out' && ! grep -q arbitration /tmp/doctor
result $? "doctor: $said"
sed 's/^/# /' /tmp/doctor

/t/dsa 0 clear
accelmux_load && [ "$(channels)" = 4 ]
result $? "accelmux.ko has the channels: $(head -n 1 /sys/kernel/debug/accelmux/channels)"
moved 3 8 && [ "$by_engine" -gt 0 ]
result $? "migrations go by them: $by_engine pages, $(cat /tmp/load)"
awk '{ print $9 }' /sys/kernel/debug/accelmux/channels >/tmp/by_channel
/t/dsa 0 stats | awk '$1 == "wq" && $2 < 4 { print $10 }' | cmp - /tmp/by_channel
result $? "channel i is WQ i: $(tr '\n' ' ' </tmp/by_channel)"

ip link set lo up 2>/dev/null
accelmuxd --set broker.metrics=off 2>/tmp/broker.log &
broker=$!
i=0
while ! accelmux status >/dev/null 2>&1 && [ $i -lt 50 ]; do
	sleep 0.2
	i=$((i + 1))
done
doctor
result $? "doctor, with a broker: $(grep -c '^ok' /tmp/doctor) ok, $(grep -c '^warn' /tmp/doctor) warn"
says ok module 'default=share' && says ok broker "pid $broker"
result $? "doctor: $said"
kill $broker
wait $broker

configuration >/tmp/laid_out
sed 's/"priority": 8/"priority": 9/' /tmp/plan.json >/tmp/nine.json
accelmux setup >/tmp/out1 && grep -q already /tmp/out1
result $? "setup in mid-use: $(cat /tmp/out1)"
refused 'wq0.0 is in use.*accelmux.*rmmod' accelmux setup --load /tmp/nine.json
result $? "another layout in mid-use is refused: $said"
refused 'wq0.0 is in use.*rmmod' accelmux setup --undo
result $? "undo, too: $said"
configuration | cmp - /tmp/laid_out && [ "$(channels)" = 4 ]
result $? "nothing changed"
rmmod accelmux

accelmux setup --load /tmp/nine.json >/tmp/out1 && [ "$(attributes priority | cut -d ' ' -f 1-4)" = "9 9 9 9" ]
result $? "another layout: $(cat /tmp/out1)"
[ "$(recorded)" = "dma0chan0:wq0.0 dma0chan1:wq0.1 dma0chan2:wq0.2 dma0chan3:wq0.3 " ] &&
	[ "$(channel_inodes)" != "$inodes" ]
result $? "other channels, in order: $(recorded)"
echo wq0.2 >$drivers/dmaengine/unbind && wqs_enable 2
doctor
says bad layout 'wq0.2: size\|wq0.2: priority 10, planned 9'
result $? "doctor, of a WQ enabled anew and otherwise: $said"
refused "wq0.2 is enabled as somebody else's" accelmux setup --undo
result $? "undo refuses that: $said"
echo wq0.2 >$drivers/dmaengine/unbind
(
	cd $dsa/dsa0/wq0.2 && echo dedicated >mode && echo 9 >priority && echo kernel >type &&
		echo dmaengine >name && echo dmaengine >driver_name
) && echo wq0.2 >$drivers/dmaengine/bind
doctor
says bad layout 'wq0.2 was disabled and enabled anew: channel 2'
result $? "doctor, of one enabled anew as it was: $said"
accelmux setup --undo >/tmp/out1
result $? "undo: $(cat /tmp/out1)"
configuration >/tmp/after
cmp /tmp/before /tmp/after
result $? "as it was before the first setup"
[ ! -e $record ]
result $? "without a record"
refused 'nothing to undo' accelmux setup --undo
result $? "undo once more: $said"

# A group with a WQ and without an engine: the device itself refuses.
sed 's/"dev": "engine0.3"/"dev": "engine0.2"/' /tmp/plan.json >/tmp/engineless.json
refused 'dsa0: cannot enable.*the device says: .*engine' accelmux setup --load /tmp/engineless.json
result $? "what the device refuses: $said"
configuration | cmp - /tmp/before && [ ! -e $record ] &&
	[ "$(ls /sys/class/dma | grep -c '^dma0chan')" = 0 ]
result $? "leaves it as it was"
accelmux setup >/dev/null && refused 'it is as it was before' accelmux setup --load /tmp/engineless.json
result $? "the same of a layout: $said"
accelmux setup >/tmp/out1 && grep -q already /tmp/out1 && doctor
says ok layout 'dsa0 is as it was laid out'
result $? "which stands: $(cat /tmp/out1)"
accelmux setup --undo >/dev/null && configuration | cmp - /tmp/before
result $? "and can be undone"
sed 's/"size": 64/"size": 128/' /tmp/plan.json >/tmp/large.json
refused 'add up to 512: expected at most 256' accelmux setup --load /tmp/large.json
result $? "too many entries: $said"

configure 16 && device_enable && wqs_enable
result $? "somebody else's WQs are enabled"
configuration >/tmp/before
doctor
says warn arbitration "wq0.3 (kernel, 'kernel3', 0 clients) is nobody's"
result $? "doctor: $said"
insmod /m/accelmux.ko default=share && becomes armed 1
doctor
says bad arbitration "wq0.0 (kernel, 'kernel0', 1 client) is nobody's"
result $? "doctor, when they have clients: $said"
rmmod accelmux
refused "wq0.0 is enabled as somebody else's.*kernel0.*disable-wq dsa0/wq0.0" accelmux setup
result $? "setup refuses: $said"
configuration | cmp - /tmp/before
result $? "nothing changed"
accelmux setup --replace --save >/tmp/out1 && [ "$(attributes size)" = "64 64 64 64 0 0 0 0 " ]
result $? "setup --replace --save: $(tr '\n' ';' </tmp/out1)"
grep -q 'setup --load /etc/accelmux/dsa.conf' /tmp/out1
result $? "says what to run at boot"

# As after a boot: nothing is laid out, and there is the file.
echo dsa0 >$drivers/idxd/unbind && rm $record
accelmux setup --load /etc/accelmux/dsa.conf >/tmp/out1 && configuration | cmp - /tmp/laid_out
result $? "at the next boot: $(cat /tmp/out1)"
accelmux setup --undo --save >/tmp/out1 && [ ! -e /etc/accelmux/dsa.conf ]
result $? "undo --save: $(tr '\n' ';' </tmp/out1)"

device_renew && configuration >/tmp/before && accelmux setup --replace >/dev/null &&
	accelmux setup --undo >/tmp/out1 && configuration >/tmp/after && cmp /tmp/before /tmp/after
result $? "undo of a replaced layout: $(cat /tmp/out1)"
accelmux_load && [ "$(channels)" = 4 ]
result $? "and its channels are of use"
rmmod accelmux

# A record that is none is no licence to guess.
accelmux setup --replace >/dev/null
sed 's/"version": 1/"version": 7/' $record >$record.new && mv $record.new $record
refused 'layout.json: version: expected 1' accelmux setup
result $? "a record of another version: $said"
rm $record
rmmod idxd
result $? "idxd unloads"
echo "1..$n"
