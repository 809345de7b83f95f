# SPDX-License-Identifier: MIT
# shellcheck shell=sh
#
# judge.sh - was it a success?  Silence is failure: every test must print a plan and as many
# results, the guest must say that it is done, and its kernel must have said nothing bad.

bad_words='BUG|WARNING|Oops|possible circular locking|possible recursive locking|blocked for more than|inconsistent lock state|KASAN|UBSAN|Kernel panic|rcu.*stall|soft lockup|new suspected memory leaks|Bad page|suspicious RCU|sleeping function called|DMA-API|general protection|unable to handle'
# What a stock kernel says in this guest without the module, too.
innocent='MDS|RETBleed|Spectre|unprivileged eBPF|hpet|WARNING: Deprecated|DMA-API: preallocated|DMA-API: debugging enabled|/proc/kmsg|KASLR|BUG: KASAN: enabled|kasan: KernelAddressSanitizer initialized'

# judge KERNEL TEST...: print what happened; 0 if all is well
judge()
{
	out=$O/lab/$1
	label=$1
	shift
	tests=0 failed=0 wrong=""
	tr -d '\r' <"$out/tap.log" >"$out/tap" 2>/dev/null || : >"$out/tap"
	for name; do
		part=$(sed -n "/^amux-lab: begin $name\$/,/^amux-lab: end $name /p" "$out/tap")
		echo "$part" | grep -v '^amux-lab: ' | sed 's/^/    /'
		n=$(echo "$part" | grep -cE '^(not )?ok [0-9]') || :
		bad=$(echo "$part" | grep -cE '^not ok [0-9]') || :
		plan=$(echo "$part" | sed -nE 's/^1\.\.([0-9]+).*/\1/p')
		status=$(echo "$part" | sed -nE "s/^amux-lab: end $name ([0-9]+)\$/\1/p")
		tests=$((tests + n))
		why=""
		if [ -z "$status" ]; then
			why="it did not end"
		elif [ -z "$plan" ]; then
			why="no plan, status $status"
		elif [ "$plan" != "$n" ]; then
			why="a plan of $plan and $n results"
		elif [ "$bad" != 0 ]; then
			why="$bad of $n"
		elif [ "$status" != 0 ] && [ "$status" != 77 ]; then
			why="status $status"
		fi
		if [ "$why" ]; then
			failed=$((failed + 1))
			wrong="$wrong $name"
			echo "not ok $label/$name: $why"
		else
			echo "ok $label/$name: $n"
		fi
	done
	if ! grep -q '^amux-lab: done$' "$out/tap"; then
		failed=$((failed + 1))
		wrong="$wrong boot"
		echo "not ok $label: the guest did not finish (qemu: ${qemu_status:-?}; see $out/console.log)"
		tail -n 5 "$out/console.log" 2>/dev/null | sed 's/^/    | /'
	fi
	if grep -E "$bad_words" "$out/console.log" 2>/dev/null | grep -vE "$innocent" >"$out/complaints"; then
		failed=$((failed + 1))
		wrong="$wrong kernel-log"
		echo "not ok $label: the kernel complained (see $out/console.log)"
		head -n 5 "$out/complaints" | sed 's/^/    | /'
	fi
	[ -z "$wrong" ] || echo "failed on $label:$wrong"
	echo "$label ($(version_of "$label")): $tests tests, $failed failed"
	[ "$failed" = 0 ]
}

# all_tests: what there is, the boot test first; those of the judge itself left out
all_tests()
{
	for f in "$here"/guest/test_*; do
		name=$(basename "${f%.*}")
		name=${name#test_}
		case $name in
		self_* | boot | cost) ;;
		*) echo "$name" ;;
		esac
	done | sort -u
}

# words_of TEST: what it wants on its kernel's command line, by a "lab-boot: WORDS" in its
# source; such a test has a boot of its own
words_of()
{
	cat "$here/guest/test_$1".* | sed -n 's/.*lab-boot: *//p' | head -n 1
}

# devices_of TEST: device models it wants, by lines "lab-device: dsa OPTIONS" in its source; such
# a test, too, has a boot of its own
devices_of()
{
	cat "$here/guest/test_$1".* | sed -n 's/.*lab-device: *//p'
}

# machine_of TEST: the machine it wants, by "lab-machine: NAME"; nothing: the common one
machine_of()
{
	cat "$here/guest/test_$1".* | sed -n 's/.*lab-machine: *//p' | head -n 1
}

# kernel_of TEST: the only kernel it can have, by "lab-kernel: KERNEL"; nothing: any
kernel_of()
{
	cat "$here/guest/test_$1".* | sed -n 's/.*lab-kernel: *//p' | head -n 1
}

# lab_run KERNEL [TEST...]
lab_run()
{
	kernel=$1
	shift
	status=0
	if [ $# = 0 ]; then
		# shellcheck disable=SC2046 # names without blanks
		set -- boot $(all_tests) cost
	fi
	list="" own="" counted="" devices=""
	for name; do
		name=${name#test_}
		[ -e "$O/lab/t/test_$name" ] || die "'$name': expected the NAME of a tests/lab/guest/test_NAME"
		only=$(kernel_of "$name")
		if [ "$only" ] && [ "$only" != "$kernel" ]; then
			echo "lab: $name is of $only alone, left out"
		elif [ "$name" = cost ]; then
			counted=cost
		elif [ "$(devices_of "$name")" ]; then
			# The debug kernel is built without the driver.
			[ "$kernel" = debug ] || own="$own $name" devices=yes
		elif [ "$(words_of "$name")" ]; then
			own="$own $name"
		else
			list="$list $name"
		fi
	done
	pack "$kernel" $devices || die "$kernel: cannot pack"
	env=""
	for v in AMUX_LAB_QUICK AMUX_LAB_FULL AMUX_LAB_ROUNDS AMUX_LAB_SECONDS AMUX_LAB_KIND AMUX_LAB_WAY; do
		eval "value=\${$v:-}"
		[ -z "$value" ] || env="$env $v=$value"
	done
	if [ "$list" ]; then
		boot "$kernel" "amux.tests=$(echo $list | tr ' ' ,)$env"
		# shellcheck disable=SC2086 # names
		judge "$kernel" $list || status=1
	fi
	for name in $own; do
		boot "$kernel" "amux.tests=$name$env $(words_of "$name")" "$(devices_of "$name")" \
			"$(machine_of "$name")"
		judge "$kernel" "$name" || status=1
	done
	if [ "$counted" ] && [ "$kernel" != debug ]; then
		AMUX_LAB_ICOUNT=1
		boot "$kernel" "amux.tests=cost AMUX_LAB_ICOUNT=1"
		AMUX_LAB_ICOUNT=""
		judge "$kernel" cost || status=1
	fi
	return $status
}

# A test that complains, one that says nothing, one that hangs: each must make the run fail.
lab_selftest()
{
	bad=0
	for name in self_warning self_noplan self_hang; do
		AMUX_LAB_TIMEOUT=60
		pack 7
		boot 7 "amux.tests=$name"
		if judge 7 "$name" >"$O/lab/selftest-$name"; then
			echo "not ok the judge did not notice $name"
			bad=1
		else
			echo "ok the judge notices $name: $(grep '^not ok' "$O/lab/selftest-$name" | tail -n 1)"
		fi
	done
	# What fails on one kernel alone fails the whole.
	if "$here/lab.sh" quick self_noplan >"$O/lab/selftest-both" 2>&1; then
		echo "not ok a failure on 7 is forgotten after 6.12"
		bad=1
	else
		echo "ok a failure on 7 is a failure"
	fi
	return $bad
}
