# SPDX-License-Identifier: MIT
# shellcheck shell=sh
#
# boot.sh - pack the initial file system, boot a guest, collect its two logs.

# Distribution modules that the guests need, dependencies first come from modules.dep.
guest_modules="crc32c_generic ext4 virtio_blk loop udmabuf"
# Those of a device that a test asks for: in /m, too, but the test loads them by /m/order.dsa.
device_modules="idxd"

# deps VERSION MODULE: the .ko.xz files, dependencies first
deps()
{
	dep=$AMUX_LAB_DIR/root/kernel/usr/lib/modules/$1/modules.dep
	[ -e "$dep" ] || in_root depmod -b /kernel/usr "$1" 2>/dev/null || return 1
	grep -E "/$2\.ko(\.xz)?:" "$dep" | tr -d : | tr ' ' '\n' | tac
}

# with_libraries PROGRAM ROOT: a dynamic program and what it links to
with_libraries()
{
	install -D "$1" "$2/bin/$(basename "$1")"
	ldd "$1" | grep -o '/[^ ]*' | while read -r lib; do
		install -D "$lib" "$2$lib"
	done
}

# upstream_programs ROOT: accel-config and its dsa_test, of the root directory's own suite and thus
# with libraries of their own: /up, and in /bin what calls them
upstream_programs()
{
	mkdir -p "$1/up"
	for program in /usr/bin/accel-config /usr/libexec/accel-config/test/dsa_test; do
		cp "$AMUX_LAB_DIR/root$program" "$1/up"
		in_root ldd "$program" | grep -o '/[^ ]*' | while read -r lib; do
			cp "$AMUX_LAB_DIR/root$lib" "$1/up"
		done
		name=$(basename "$program")
		{
			echo '#!/bin/busybox sh'
			echo "exec /up/ld-linux-x86-64.so.2 --library-path /up /up/$name \"\$@\""
		} >"$1/bin/$name"
		chmod 755 "$1/bin/$name"
	done
	cp "$AMUX_LAB_DIR"/root/usr/libexec/accel-config/test/configs/*.conf "$1/up"
}

# distribution_modules VERSION DIR ORDER MODULE...: into DIR, their names into DIR/ORDER
distribution_modules()
{
	v=$1 dest=$2 order=$3
	shift 3
	: >"$dest/$order"
	for m; do
		for f in $(deps "$v" "$m"); do
			name=$(basename "$f" .xz)
			grep -qx "$name" "$dest/$order" && continue
			echo "$name" >>"$dest/$order"
			case $f in
			*.xz) xz -dc "$AMUX_LAB_DIR/root/kernel/usr/lib/modules/$v/$f" ;;
			*) cat "$AMUX_LAB_DIR/root/kernel/usr/lib/modules/$v/$f" ;;
			esac >"$dest/$name"
		done
	done
}

# pack KERNEL [DEVICES]: O/lab/KERNEL/initrd.gz, with the modules of DEVICES, if any, and what
# upstream configures and tests them with
pack()
{
	dir=$AMUX_LAB_DIR/root/pack-$$
	rm -rf "$dir"
	mkdir -p "$dir/bin" "$dir/m" "$dir/t" "$dir/proc" "$dir/sys" "$dir/dev" "$dir/tmp" "$dir/mnt"
	install "$AMUX_LAB_DIR/root/bin/busybox" "$dir/bin/busybox"
	install "$here/guest/init" "$dir/init"
	cp "$O/lab/$1"/m/*.ko "$dir/m"
	cp "$O"/lab/t/* "$dir/t"
	: >"$dir/m/order"
	if [ "$1" != debug ]; then
		# shellcheck disable=SC2086 # names
		distribution_modules "$(version_of "$1")" "$dir/m" order $guest_modules
		# shellcheck disable=SC2086 # names
		[ -z "${2:-}" ] ||
			distribution_modules "$(version_of "$1")" "$dir/m" order.dsa $device_modules
		[ -z "${2:-}" ] || upstream_programs "$dir"
	fi
	for program in "$O/accelmuxd" "$O/accelmux"; do
		[ ! -x "$program" ] || with_libraries "$program" "$dir"
	done
	in_root sh -c "cd /pack-$$ && find . | cpio -o -H newc --quiet | gzip -1" \
		>"$O/lab/$1/initrd.gz"
	rm -rf "$dir"
}

# models_start RUN DEVICES [OPTIONS]: a device model for each line "dsa [node=N] OPTIONS" of
# DEVICES, its socket RUN/dsaN and its control socket RUN/dsaN.control, all with OPTIONS; the
# options that QEMU needs for them in device_options, their process numbers in models.  The guest
# has the control sockets as its serial ports from the third on, and finds the Nth by its PCI
# subsystem device.  With node=N the device is behind a root port of that memory node.
models_start()
{
	models="" device_options="" i=0
	while read -r kind options; do
		[ "$kind" ] || continue
		[ "$kind" = dsa ] || die "lab-device: '$kind': expected dsa"
		options="--id $i ${3:-} $options" bus=pcie.0
		case $options in
		*node=*)
			node=${options#*node=} node=${node%% *}
			options=$(echo "$options --endpoint" | sed "s/node=$node//") bus=port$i
			device_options="$device_options -device pxb-pcie,id=pxb$i,bus_nr=$((32 + 16 * i)),numa_node=$node,bus=pcie.0"
			device_options="$device_options -device pcie-root-port,id=port$i,bus=pxb$i,chassis=$((1 + i)),slot=$((1 + i))"
			;;
		esac
		# shellcheck disable=SC2086 # options
		(cd "$1" && exec "$O/lab/dsa-model" --once --socket "dsa$i" --control "dsa$i.control" \
			$options 2>"$out/dsa$i.log") &
		models="$models $!"
		for _ in 1 2 3 4 5 6 7 8 9 10; do
			[ ! -S "$1/dsa$i" ] || break
			sleep 0.1
		done
		socket=/$(basename "$1")/dsa$i
		device_options="$device_options -chardev socket,id=control$i,path=$socket.control"
		device_options="$device_options -serial chardev:control$i -device"
		device_options="$device_options {\"driver\":\"vfio-user-pci\",\"bus\":\"$bus\",\"socket\":{\"type\":\"unix\",\"path\":\"$socket\"}}"
		i=$((i + 1))
	done <<-EOF
	$2
	EOF
}

# numa_tiers CPUS: options for node 0, with these, and node 1, which has no CPU and is slower: a
# lower memory tier, so that demotion has a target
numa_tiers()
{
	lb="-numa hmat-lb,initiator=0,hierarchy=memory"
	echo "-numa node,nodeid=0,memdev=m0,cpus=$1 -numa node,nodeid=1,memdev=m1,initiator=0" \
		"$lb,target=0,data-type=access-latency,latency=10" \
		"$lb,target=0,data-type=access-bandwidth,bandwidth=10G" \
		"$lb,target=1,data-type=access-latency,latency=40" \
		"$lb,target=1,data-type=access-bandwidth,bandwidth=2G"
}

# boot KERNEL WORDS [DEVICES [MACHINE]]: boot with WORDS on the command line and DEVICES
# (models_start); O/lab/KERNEL/{console,tap}.log
# MACHINE viommu: an Intel IOMMU in scalable mode, so that processes' addresses are a device's;
# viommu2: and two equal memory nodes with a CPU each.
# AMUX_LAB_ICOUNT: one CPU, time counts instructions.  AMUX_LAB_DISK: a file for what the guest
# left on its disk.
boot()
{
	out=$O/lab/$1
	run=$AMUX_LAB_DIR/root/run-$$
	mkdir -p "$run"
	cp "$(image_of "$1")" "$run/kernel"
	cp "$out/initrd.gz" "$run/initrd.gz"
	truncate -s 256M "$run/disk"
	# shellcheck disable=SC2015 # mkfs is there or the test says so
	command -v mkfs.ext4 >/dev/null && mkfs.ext4 -q -F "$run/disk" || :
	accel="-accel tcg,thread=multi -smp 2 -cpu max"
	# KASAN reports an access of the early kernel where there are five levels of page tables,
	# and then, unless told otherwise, nothing any more.
	[ "$1" != debug ] || accel="-accel tcg,thread=multi -smp 2 -cpu max,-la57"
	cpus=0-1
	if [ "${AMUX_LAB_ICOUNT:-}" ]; then
		accel="-accel tcg,thread=single -smp 1 -cpu max -icount shift=0,sleep=off"
		cpus=0
	fi
	r=/run-$$
	memory=memory-backend-ram
	models="" device_options="" model_options="" machine_options="-M q35,hmat=on" words=$2
	numa=$(numa_tiers $cpus)
	case ${4:-} in
	"" | viommu) ;;
	viommu2)
		machine_options="-M q35"
		numa="-numa node,nodeid=0,memdev=m0,cpus=0 -numa node,nodeid=1,memdev=m1,cpus=1"
		;;
	*) die "lab-machine: '$4': expected viommu or viommu2" ;;
	esac
	if [ "${4:-}" ]; then
		# Five levels of page tables are more than QEMU's first stage takes.
		accel="-accel tcg,thread=multi -smp 2,sockets=2 -cpu max,-la57"
		machine_options="$machine_options -device intel-iommu,scalable-mode=on,fsts=on,pasid-bits=20,device-iotlb=on,caching-mode=on"
		words="$words intel_iommu=on,sm_on iomem=relaxed"
		model_options=--viommu
	fi
	if [ "${3:-}" ]; then
		memory=memory-backend-memfd,share=on # a device model maps it
		models_start "$run" "$3" "$model_options"
	fi
	qemu_status=0
	# shellcheck disable=SC2086 # options
	timeout -k 10 "${AMUX_LAB_TIMEOUT:-600}" chroot "$AMUX_LAB_DIR/root" qemu-system-x86_64 \
		$machine_options $accel -m 2048 -nographic -no-reboot -nodefaults \
		-object $memory,id=m0,size=1G -object $memory,id=m1,size=1G $numa \
		-drive file=$r/disk,if=none,id=disk,format=raw,cache=unsafe \
		-device virtio-blk-pci,drive=disk,bus=pcie.0 \
		-serial file:$r/console.log -serial file:$r/tap.log $device_options \
		-kernel $r/kernel -initrd $r/initrd.gz \
		-append "console=ttyS0 panic=-1 nokaslr oops=panic hung_task_panic=0 kasan_multi_shot $words" \
		>"$out/qemu.log" 2>&1 </dev/null || qemu_status=$?
	for pid in $models; do
		kill "$pid" 2>/dev/null || :
		wait "$pid" 2>/dev/null || :
	done
	cp "$run/console.log" "$run/tap.log" "$out" 2>/dev/null || :
	[ ! "${AMUX_LAB_DISK:-}" ] || cp "$run/disk" "$AMUX_LAB_DISK"
	rm -rf "$run"
	return 0
}
