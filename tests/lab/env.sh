# SPDX-License-Identifier: MIT
# shellcheck shell=sh
#
# env.sh - what is cached in AMUX_LAB_DIR: a Debian root directory with compiler, QEMU and
# headers (root), both kernels unpacked (kernel) and files of their source (dmatest, iommu), the
# debug kernel (debug).  The mirror is the
# host's own, as its apt knows it.  A stamp says that a step is done; what was interrupted is
# made again.

suite_stable=trixie
suite_new=$suite_stable-backports

env_can()
{
	[ "$(id -u)" = 0 ] || {
		echo "not root: the lab makes a Debian root directory"
		return 1
	}
	command -v mmdebstrap >/dev/null || {
		echo "mmdebstrap is not installed"
		return 1
	}
	[ "$(uname -m)" = x86_64 ] || {
		echo "$(uname -m): the lab's guests are x86_64"
		return 1
	}
	[ "$(env_mirror)" ] || {
		echo "apt knows no Debian mirror here"
		return 1
	}
}

env_mirror()
{
	apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 2>/dev/null |
		grep '/debian/*$' | head -n 1
}

# in_root COMMAND...: in the root directory, /proc mounted (module builds want it)
in_root()
{
	mountpoint -q "$AMUX_LAB_DIR/root/proc" || mount -t proc proc "$AMUX_LAB_DIR/root/proc"
	env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root DEBIAN_FRONTEND=noninteractive \
		chroot "$AMUX_LAB_DIR/root" "$@"
}

# newest PATTERN: the newest package of that name, by version
newest()
{
	in_root apt-cache pkgnames | grep -E "$1" | sort -V | tail -n 1
}

# version_of KERNEL: 6.12.117+deb13-amd64
version_of()
{
	cat "$AMUX_LAB_DIR/version-$1"
}

packages="qemu-system-x86 busybox-static gcc make xz-utils kmod sparse pahole cpio dkms accel-config accel-config-test"

# What else it must have since it was made
env_root_packages()
{
	[ "$(cat "$AMUX_LAB_DIR/root.done")" != "$packages" ] || return 0
	echo "lab: packages that the root directory lacks"
	# shellcheck disable=SC2086 # a list of packages
	in_root apt-get install -y -qq --no-install-recommends -t "$suite_new" $packages \
		>"$AMUX_LAB_DIR/root.log" 2>&1 || return 1
	echo "$packages" >"$AMUX_LAB_DIR/root.done"
}

env_root()
{
	if [ -e "$AMUX_LAB_DIR/root.done" ]; then
		env_root_packages
		return
	fi
	echo "lab: making the root directory (once)"
	env_clean
	mirror=$(env_mirror)
	mmdebstrap --quiet --mode=root --variant=minbase "$suite_stable" "$AMUX_LAB_DIR/root" \
		"deb $mirror $suite_stable main" "deb $mirror $suite_new main" || return 1
	in_root apt-get update -qq || return 1
	newest '^linux-headers-6\.12\.[0-9]+\+deb[0-9]+-amd64$' | sed 's/linux-headers-//' \
		>"$AMUX_LAB_DIR/version-6.12"
	newest '^linux-headers-7\.[0-9.]+\+deb[0-9]+-amd64$' | sed 's/linux-headers-//' \
		>"$AMUX_LAB_DIR/version-7"
	# shellcheck disable=SC2086 # a list of packages
	in_root apt-get install -y -qq --no-install-recommends -t "$suite_new" $packages \
		"linux-headers-$(version_of 6.12)" "linux-headers-$(version_of 7)" \
		>"$AMUX_LAB_DIR/root.log" 2>&1 || return 1
	echo "$packages" >"$AMUX_LAB_DIR/root.done"
}

env_kernels()
{
	[ ! -e "$AMUX_LAB_DIR/kernel.done" ] || return 0
	echo "lab: fetching the kernels (once)"
	rm -rf "$AMUX_LAB_DIR/root/kernel" "$AMUX_LAB_DIR/root/kernels"
	mkdir -p "$AMUX_LAB_DIR/root/kernel" "$AMUX_LAB_DIR/root/kernels"
	old=$(version_of 6.12) new=$(version_of 7)
	# Newer packages are split; which ones there are decides.
	for p in "linux-image-$old" "linux-binary-$new" "linux-modules-$new" "linux-image-$new"; do
		in_root sh -c "cd /kernels && apt-get download -qq $p" 2>/dev/null || :
	done
	for deb in "$AMUX_LAB_DIR"/root/kernels/*.deb; do
		dpkg -x "$deb" "$AMUX_LAB_DIR/root/kernel"
	done
	rm -rf "$AMUX_LAB_DIR/root/kernels"
	image_of 6.12 >/dev/null && image_of 7 >/dev/null || return 1
	touch "$AMUX_LAB_DIR/kernel.done"
}

# Of the kernels' source: upstream's own test of a DMA engine, which Debian's kernels are built
# without (dmatest), and the Intel IOMMU driver's own header (iommu).
env_source()
{
	for kernel in 6.12 7; do
		v=$(version_of $kernel)
		[ ! -e "$AMUX_LAB_DIR/dmatest/$v/Kbuild" ] || [ ! -e "$AMUX_LAB_DIR/iommu/$v/iommu.h" ] ||
			continue
		echo "lab: fetching two files of the source of $v (once, 150 MB)"
		series=$(echo "$v" | sed 's/^\([0-9]*\.[0-9]*\).*/\1/')
		source=$AMUX_LAB_DIR/root/source
		rm -rf "$source"
		mkdir -p "$source" "$AMUX_LAB_DIR/dmatest/$v" "$AMUX_LAB_DIR/iommu/$v"
		in_root sh -c "cd /source && apt-get download -qq linux-source-$series &&
			dpkg --fsys-tarfile *.deb | tar -xO ./usr/src/linux-source-$series.tar.xz |
			tar -xJ --strip-components=1 linux-source-$series/drivers/dma/dmatest.c \
				linux-source-$series/drivers/iommu/intel/iommu.h" 2>/dev/null || :
		mv "$source/drivers/iommu/intel/iommu.h" "$AMUX_LAB_DIR/iommu/$v" || return 1
		mv "$source/drivers/dma/dmatest.c" "$AMUX_LAB_DIR/dmatest/$v" || return 1
		echo 'obj-m := dmatest.o' >"$AMUX_LAB_DIR/dmatest/$v/Kbuild"
		rm -rf "$source"
	done
}

# image_of KERNEL: its bootable image
image_of()
{
	if [ "$1" = debug ]; then
		echo "$AMUX_LAB_DIR/debug/arch/x86/boot/bzImage"
		return
	fi
	v=$(version_of "$1")
	for f in "$AMUX_LAB_DIR/root/kernel/boot/vmlinuz-$v" \
		"$AMUX_LAB_DIR/root/kernel/usr/lib/modules/$v/vmlinuz"; do
		if [ -e "$f" ]; then
			echo "$f"
			return 0
		fi
	done
	echo "lab: no image of $v" >&2
	return 1
}

# Interrupted before: nothing of it may stay mounted.
env_clean()
{
	for m in root/debug root/proc; do
		! mountpoint -q "$AMUX_LAB_DIR/$m" 2>/dev/null || umount "$AMUX_LAB_DIR/$m"
	done
	rm -rf "$AMUX_LAB_DIR/root" "$AMUX_LAB_DIR/kernel.done"
}

env_make()
{
	why=$(env_can) || die "$why"
	mkdir -p "$AMUX_LAB_DIR"
	exec 9>"$AMUX_LAB_DIR/lock"
	flock 9
	env_root || die "the root directory could not be made, see $AMUX_LAB_DIR/root.log"
	env_kernels || die "the kernels could not be fetched"
	env_source || die "files of the kernels' source could not be fetched"
	flock -u 9
}

# The newest kernel's source with tests/lab/debug.config on top of tinyconfig.
env_debug_kernel()
{
	sum=$(cksum <"$here/debug.config")
	if [ "$(cat "$AMUX_LAB_DIR/debug.done" 2>/dev/null)" = "$sum" ]; then
		return
	fi
	echo "lab: building the debug kernel (once, some 10 to 20 minutes)"
	series=$(version_of 7 | sed 's/^\([0-9]*\.[0-9]*\).*/\1/')
	in_root apt-get install -y -qq --no-install-recommends -t "$suite_new" \
		flex bison bc libelf-dev libssl-dev libc6-dev >"$AMUX_LAB_DIR/debug.log" 2>&1 ||
		die "packages for the debug kernel, see $AMUX_LAB_DIR/debug.log"
	rm -rf "$AMUX_LAB_DIR/root/src"
	mkdir -p "$AMUX_LAB_DIR/root/src"
	in_root sh -c "cd /src && apt-get download -qq linux-source-$series && dpkg -x *.deb . &&
		tar -xf usr/src/linux-source-$series.tar.xz && mv linux-source-$series linux" ||
		die "linux-source-$series could not be fetched"
	cp "$here/debug.config" "$AMUX_LAB_DIR/root/src/linux/.lab"
	in_root sh -c 'cd /src/linux && make -s tinyconfig && cat .lab >>.config &&
		make -s olddefconfig && make -s -j"$(nproc)" bzImage modules_prepare modules' \
		>>"$AMUX_LAB_DIR/debug.log" 2>&1 ||
		die "the debug kernel does not build, see $AMUX_LAB_DIR/debug.log"
	# A checker that the configuration dropped would look like one that found nothing.
	grep '=y$' "$here/debug.config" | while read -r line; do
		grep -qx "$line" "$AMUX_LAB_DIR/root/src/linux/.config" ||
			die "debug.config: $line did not take effect"
	done
	ln -sfn root/src/linux "$AMUX_LAB_DIR/debug"
	in_root sh -c 'make -s -C /src/linux kernelrelease' >"$AMUX_LAB_DIR/version-debug"
	echo "$sum" >"$AMUX_LAB_DIR/debug.done"
}
