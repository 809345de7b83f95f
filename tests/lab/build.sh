# SPDX-License-Identifier: MIT
# shellcheck shell=sh
#
# build.sh - modules (in the root directory, with the kernel's own compiler) and the guest's
# programs (static, with the host's).  A warning is a failure.

# headers_of KERNEL: as seen inside the root directory
headers_of()
{
	if [ "$1" = debug ]; then
		echo /src/linux
	else
		echo "/usr/src/linux-headers-$(version_of "$1")"
	fi
}

# module KERNEL SOURCE NAME [CFLAGS [API]]: build SOURCE, install its .ko as O/lab/KERNEL/m/NAME.ko
# API: the source of a module built before, whose include/ declares what it exports
module()
{
	kernel=$1 source=$2 name=$3 flags=${4:-} api=${5:-}
	log=$O/lab/$kernel/build-$name.log
	dir=/build-$$/$kernel/$name # of this run: several may share the root directory
	rm -rf "$AMUX_LAB_DIR/root$dir"
	mkdir -p "$AMUX_LAB_DIR/root$dir"
	cp -r "$source"/. "$AMUX_LAB_DIR/root$dir"
	with=""
	if [ "$api" ]; then
		cp -r "$api/include" "$AMUX_LAB_DIR/root$dir/api"
		cp "$O/lab/$kernel/$(basename "$api").symvers" "$AMUX_LAB_DIR/root$dir/api/symvers"
		with="AMUX_OFFLOAD_API=$dir/api KBUILD_EXTRA_SYMBOLS=$dir/api/symvers"
	fi
	# Headers of the newest kernels lack what C=2 needs: sparse runs where it can.
	check=""
	in_root test ! -e "$(headers_of "$kernel" | sed 's/amd64$/common/')/scripts/checker-valid.sh" ||
		check=C=2
	[ "$kernel" != 6.12 ] || check=C=2
	# shellcheck disable=SC2086 # words
	if ! in_root make -C "$(headers_of "$kernel")" M="$dir" W=1 $check AMUX_CFLAGS="$flags" \
		AMUX_VERSION="$(cat "$top/VERSION")" $with modules >"$log" 2>&1 ||
		grep -E 'warning|error:' "$log" >/dev/null; then
		sed 's/^/    | /' "$log" >&2
		return 1
	fi
	cp "$AMUX_LAB_DIR/root$dir/$(basename "$(ls "$AMUX_LAB_DIR/root$dir"/*.ko)")" \
		"$O/lab/$kernel/m/$name.ko"
	cp "$AMUX_LAB_DIR/root$dir/Module.symvers" "$O/lab/$kernel/$(basename "$source").symvers"
	rm -rf "$AMUX_LAB_DIR/root/build-$$"
}

# module_svm KERNEL: amux_svm, with the header of the driver that it reaches into
module_svm()
{
	rm -rf "$O/lab/svm"
	cp -r "$here/svm" "$O/lab/svm"
	cp "$AMUX_LAB_DIR/iommu/$(version_of "$1")/iommu.h" "$O/lab/svm"
	module "$1" "$O/lab/svm" amux_svm
}

guest_warn="-Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Werror"

# programs: O/lab/t/NAME of every guest/test_NAME.c and guest/prog_NAME.c
programs()
{
	mkdir -p "$O/lab/t" "$O/lab/o"
	common=""
	for f in "$here"/guest/*.c "$top/tests/lib/tap.c"; do
		name=$(basename "$f" .c)
		obj=$O/lab/o/$name.o
		# shellcheck disable=SC2086 # a list of flags
		${CC:-gcc} -std=gnu11 -D_GNU_SOURCE -O2 -g -pthread $guest_warn -c -o "$obj" "$f" || return 1
		case $name in
		test_* | prog_*) ;;
		*) common="$common $obj" ;;
		esac
	done
	for f in "$here"/guest/test_*.c "$here"/guest/prog_*.c; do
		[ -e "$f" ] || continue
		name=$(basename "$f" .c)
		# shellcheck disable=SC2086 # a list of objects
		${CC:-gcc} -static -pthread -o "$O/lab/t/${name#prog_}" "$O/lab/o/$name.o" $common || return 1
	done
	for f in "$here"/guest/test_*.sh; do
		[ -e "$f" ] || continue
		install -m 755 "$f" "$O/lab/t/$(basename "$f" .sh)"
	done
	install -m 644 "$here"/guest/lib_*.sh "$O/lab/t"
}

# device_model: O/lab/dsa-model, a program of its own for the host
device_model()
{
	# shellcheck disable=SC2086 # a list of flags
	${CC:-gcc} -std=gnu11 -D_GNU_SOURCE -O2 -g -pthread $guest_warn -o "$O/lab/dsa-model" \
		"$here"/dsa-model/*.c
}

# model_check DIR: what comes of single descriptors; a program made of the model's own sources
model_check()
{
	# shellcheck disable=SC2046,SC2086 # lists of files and flags
	${CC:-gcc} -std=gnu11 -D_GNU_SOURCE -O1 -g -pthread $guest_warn -fsanitize=address,undefined \
		-fno-sanitize-recover=all -o "$1/check" "$here/dsa-model/check/check.c" \
		$(find "$here/dsa-model" -maxdepth 1 -name '*.c' ! -name main.c) || return 1
	if "$1/check" >"$1/check.log" 2>&1; then
		echo "ok model/check: $(grep -c ^ok "$1/check.log") results"
	else
		echo "not ok model/check"
		grep -v ^ok "$1/check.log" | sed 's/^/    | /'
		return 1
	fi
}

# lab_model [SECONDS]: the device model with sanitizers: single descriptors, then a client and a
# guest that mean harm
lab_model()
{
	dir=$O/lab/dsa-fuzz
	mkdir -p "$dir"
	# shellcheck disable=SC2086 # a list of flags
	${CC:-gcc} -std=gnu11 -D_GNU_SOURCE -O1 -g -pthread $guest_warn -fsanitize=address,undefined \
		-fno-sanitize-recover=all -o "$dir/dsa-model" "$here"/dsa-model/*.c || return 1
	# shellcheck disable=SC2086 # a list of flags
	${CC:-gcc} -std=gnu11 -D_GNU_SOURCE -O2 -g $guest_warn -o "$dir/fuzz" \
		"$here/dsa-model/fuzz/fuzz.c" || return 1
	bad=0
	model_check "$dir" || bad=1
	for mode in plain viommu; do
		if "$dir/fuzz" "$dir/dsa-model" "${1:-10}" $mode >"$dir/log" 2>&1; then
			echo "ok model/fuzz: $(sed -n 's/^ok 1 - //p' "$dir/log")"
		else
			echo "not ok model/fuzz: $mode"
			sed 's/^/    | /' "$dir/log"
			bad=1
		fi
	done
	return $bad
}

# lab_build KERNEL
lab_build()
{
	rm -rf "$O/lab/$1/m"
	mkdir -p "$O/lab/$1/m"
	programs || return 1
	device_model || return 1
	module "$1" "$top/kmod" accelmux || return 1
	module "$1" "$top/kmod" accelmux-keepmarks -DAMUX_TEST_KEEP_MARKS || return 1
	module "$1" "$top/kmod" accelmux-wrongproto -DAMUX_TEST_WRONG_PROTO || return 1
	module "$1" "$here/testdma" amux_testdma || return 1
	module "$1" "$here/testhook" amux_testhook || return 1
	module "$1" "$here/movdir" amux_movdir || return 1
	[ "$1" != 7 ] || module_svm "$1" || return 1
	[ "$1" = debug ] ||
		module "$1" "$AMUX_LAB_DIR/dmatest/$(version_of "$1")" dmatest || return 1
	module "$1" "$here/testoffload" amux_testoffload || return 1
	module "$1" "$top/kmod" accelmux-offload "" "$here/testoffload" || return 1
}

# lab_dkms: as an operator would: source to /usr/src, build and install for each kernel, remove
lab_dkms()
{
	version=$(cat "$top/VERSION")
	bad=0
	"${MAKE:-make}" -s -C "$top" install-kmod DESTDIR="$AMUX_LAB_DIR/root" >/dev/null || return 1
	for kernel in 7 6.12; do
		v=$(version_of $kernel)
		if in_root dkms install "accelmux/$version" -k "$v" >"$O/lab/dkms-$kernel.log" 2>&1 &&
			[ "$(in_root find "/lib/modules/$v/updates" -name 'accelmux.ko*' -exec \
				modinfo -F version {} \;)" = "$version" ]; then
			echo "ok dkms/$kernel: installed, version $version"
		else
			echo "not ok dkms/$kernel: see $O/lab/dkms-$kernel.log"
			bad=1
		fi
	done
	in_root dkms remove "accelmux/$version" --all >"$O/lab/dkms-remove.log" 2>&1 || bad=1
	"${MAKE:-make}" -s -C "$top" uninstall-kmod DESTDIR="$AMUX_LAB_DIR/root" >/dev/null
	for kernel in 7 6.12; do
		if [ "$(in_root find "/lib/modules/$(version_of $kernel)" -name 'accelmux.ko*')" ]; then
			echo "not ok dkms/$kernel: something remains"
			bad=1
		fi
	done
	return $bad
}
