# SPDX-License-Identifier: MIT
# shellcheck shell=sh
#
# lib_tap.sh - for shell tests: results as TAP, the module's numbers.  End with echo "1..$n".
n=0

# result STATUS WHAT-HOLDS
result()
{
	n=$((n + 1))
	if [ "$1" = 0 ]; then
		echo "ok $n - $2"
	else
		echo "not ok $n - $2"
	fi
}

# stat NAME: a number of accelmux
stat()
{
	sed -n "s/^$1 //p" /sys/kernel/debug/accelmux/stats
}
