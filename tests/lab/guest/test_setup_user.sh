#!/bin/busybox sh
# SPDX-License-Identifier: MIT
#
# accelmux setup and doctor on two devices whose processes' addresses are theirs: the whole
# layout, dedicated and shared, each user WQ of use, one of them in use.
# lab-kernel: 7
# lab-boot: setcpuid=movdir64b,enqcmd
# lab-machine: viommu
# lab-device: dsa --version 2
# lab-device: dsa --version 1
. /t/lib_idxd.sh

# states N: of the WQs of device N
states()
{
	cat $dsa/dsa"$1"/wq"$1".*/state | tr '\n' ' '
}

# of N ATTRIBUTE: of the WQs of device N
of()
{
	cat $dsa/dsa"$1"/wq"$1".*/"$2" | tr '\n' ' '
}

all="enabled enabled enabled enabled enabled enabled enabled enabled "

drivers_load && iommu_up
result $? "idxd loads, the models know the IOMMU"
accelmux setup --dry-run >/tmp/plan.json
[ "$(grep -c '"type": "kernel"' /tmp/plan.json)" = 8 ] && [ "$(grep -c '"type": "user"' /tmp/plan.json)" = 8 ]
result $? "8 kernel and 8 user WQs are planned"
accelmux setup --devices dsa1 >/tmp/out1
result $? "one device: $(cat /tmp/out1)"
[ "$(cat $dsa/dsa0/state)" = disabled ] && [ "$(states 1)" = "$all" ]
result $? "that one alone"
accelmux setup >/tmp/out1
result $? "all: $(tr '\n' ';' </tmp/out1)"
grep -q 'dsa1: already' /tmp/out1 && [ "$(states 0)" = "$all" ]
result $? "the other one, then"
entries=$(($(cat $dsa/dsa0/max_work_queues_size) / 8))
[ "$(cat $dsa/dsa1/wq1.7/size)" = $(($(cat $dsa/dsa1/max_work_queues_size) / 8)) ]
result $? "a DSA $(cat $dsa/dsa0/version) and a DSA $(cat $dsa/dsa1/version): $(cat $dsa/dsa0/wq0.7/size) and $(cat $dsa/dsa1/wq1.7/size) entries each"
[ "$(of 0 type)" = "kernel kernel kernel kernel user user user user " ] &&
	[ "$(of 0 group_id)" = "0 1 2 3 0 1 2 3 " ] && [ "$(of 0 priority)" = "8 8 8 8 4 4 4 4 " ] &&
	[ "$(of 0 mode | tr ' ' '\n' | sort -u | tr -d '\n')" = dedicated ] &&
	[ "$(of 0 size)" = "$entries $entries $entries $entries $entries $entries $entries $entries " ]
result $? "sysfs shows the layout"
[ "$(cat $dsa/dsa0/wq0.*/block_on_fault | sort -u)" = 0 ]
result $? "nothing blocks on a fault"
accelmux doctor >/tmp/doctor 2>/dev/null
grep -q '^ok *sva *dsa0' /tmp/doctor && [ "$(grep -c '^ok *layout' /tmp/doctor)" = 2 ] &&
	grep -q '^warn *portal .*CVE-2024-21823' /tmp/doctor
result $? "doctor: $(grep portal /tmp/doctor | head -n 1)"
sed 's/^/# /' /tmp/doctor
for w in 0.4 0.7 1.5; do
	/t/userwq /dev/dsa/wq$w dedicated portal copy >/tmp/user 2>&1
	result $? "a program uses wq$w: $(tr '\n' ';' </tmp/user)"
done

sleep 100 <>/dev/dsa/wq0.5 &
sleeper=$!
sleep 1
! accelmux setup --user-mode shared >/tmp/out1 2>/tmp/err1 && [ "$(wc -l </tmp/err1)" = 1 ] &&
	grep -q "wq0.5 is in use by 1 client, .*(pid $sleeper)" /tmp/err1
result $? "in use: $(cat /tmp/err1)"
[ "$(states 0)" = "$all" ] && [ "$(states 1)" = "$all" ]
result $? "nothing changed"
! accelmux setup --undo >/tmp/out1 2>/tmp/err1 && grep -q "(pid $sleeper)" /tmp/err1
result $? "undo, too: $(cat /tmp/err1)"
accelmux setup --undo --devices dsa1 >/tmp/out1 && [ "$(cat $dsa/dsa1/state)" = disabled ] &&
	[ "$(states 0)" = "$all" ]
result $? "of the other device: $(cat /tmp/out1)"
kill $sleeper
wait $sleeper 2>/dev/null

mkdir -p /etc
echo 'accelmux:x:77:' >>/etc/group
accelmux setup --user-mode shared >/tmp/out1
result $? "shared: $(tr '\n' ';' </tmp/out1)"
[ "$(of 0 mode)" = "dedicated dedicated dedicated dedicated shared shared shared shared " ] &&
	[ "$(cat $dsa/dsa0/wq0.4/threshold)" = $entries ]
result $? "user WQs are, kernel WQs are not"
[ "$(ls -ln /dev/dsa | awk '$1 == "crw-rw----" && $3 == 0 && $4 == 77' | wc -l)" = 8 ]
result $? "their nodes are the group's: $(ls -ln /dev/dsa | tail -n 1)"
/t/userwq /dev/dsa/wq1.6 shared portal copy >/tmp/user 2>&1
result $? "a program uses wq1.6: $(tr '\n' ';' </tmp/user)"
chmod 0666 /dev/dsa/wq1.6
accelmux doctor >/tmp/doctor 2>/dev/null
grep -q '^warn *node .*wq1.6: mode 0666' /tmp/doctor
result $? "doctor: $(grep '^warn *node' /tmp/doctor)"
accelmux_load && [ "$(channels)" = 8 ] && moved 3 8 && [ "$by_engine" -gt 0 ]
result $? "accelmux.ko has 8 channels: $by_engine pages, $(cat /tmp/load)"
rmmod accelmux
accelmux setup --undo >/tmp/out1 && [ "$(cat $dsa/dsa0/state)$(cat $dsa/dsa1/state)" = disableddisabled ]
result $? "undo: $(tr '\n' ';' </tmp/out1)"
rmmod idxd
result $? "idxd unloads"
echo "1..$n"
