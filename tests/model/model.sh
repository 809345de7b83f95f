#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Model checking by spin, as `make model` runs it: model.sh [TEXT]
#
# Proves every case of tests/model/cases (with TEXT: those whose line holds it), and before that,
# that the code still has the barriers and orderings that the models name, in the functions
# they name: a comment in a model "FILE:FUNCTION: TEXT" asks for TEXT in that function.
#
# One line per case; exit status 1 if one of them is not as it should be.
set -u

here=$(dirname "$0")
: "${CC:=gcc}"

# one_case LINE: in a directory of its own
one_case()
{
	IFS='|' read -r kind model options deleted reason <<-END
	$1
	END
	set --
	for o in $options ${deleted:+$deleted=0}; do
		set -- "$@" "-D$o"
	done
	dir=$(mktemp -d) || exit 1
	trap 'rm -rf "$dir"' EXIT
	where=$(cd "$here" && pwd)
	cd "$dir" || exit 1
	level=-O0 # a counterexample is found soon
	[ "$kind" = matters ] || level=-O1
	label="$model $options${deleted:+, without $deleted}"
	if ! spin "$@" -a "$where/$model.pml" >log 2>&1 ||
		! $CC "$level" -w -DSAFETY -DNOCLAIM -DMEMLIM=4000 -o pan pan.c >>log 2>&1 ||
		! timeout 120 ./pan -n -m1000000 >pan.log 2>&1; then
		echo "not ok $label: it could not be checked"
		cat log
		[ ! -e pan.log ] || tail -n 20 pan.log
		return
	fi
	errors=$(sed -n 's/.*errors: \([0-9]*\)$/\1/p' pan.log)
	states=$(sed -n 's/^ *\([0-9.e+]*\) states, stored.*/\1/p' pan.log)
	why=$(sed -n 's/^pan:1: \(.*\) (at depth .*/\1/p' pan.log)
	if grep -q 'Search not completed\|max search depth too small\|out of memory' pan.log &&
		[ "$errors" = 0 ]; then
		errors=""
	fi
	case $kind$errors in
	holds0) echo "ok $label: holds in all of $states states" ;;
	redundant0) echo "ok $label: still holds, $states states: $reason" ;;
	matters1) echo "ok $label: counterexample after $states states: $why" ;;
	*)
		echo "not ok $label: $kind, errors: ${errors:-search not completed}"
		tail -n 20 pan.log
		;;
	esac
}

# function_body FILE FUNCTION: from its definition's line to the brace that ends it
function_body()
{
	awk -v f="$2" '
		!on && $0 ~ "^[a-z].*[ *]" f "\\(" && $0 !~ /;$/ { on = 1 }
		on { print }
		on && /^}/ { exit }
	' "$1"
}

# names_hold: the code has what the models name
names_hold()
{
	bad=0 n=0
	while IFS= read -r line; do
		file=${line%%:*}
		rest=${line#*:}
		function=${rest%%:*}
		text=${rest#*: }
		n=$((n + 1))
		if ! function_body "$here/../../$file" "$function" | grep -qF -- "$text"; then
			echo "not ok $file: $function() has no more '$text', which a model stands for"
			bad=1
		fi
	done <<-END
	$(sed -n 's|^/\* \([a-z]*/[a-z_/]*\.[ch]:[a-z_]*: .*\) \*/$|\1|p' "$here"/*.pml)
	END
	[ $bad = 1 ] || echo "ok names: $n lines of code are as the models have them"
	return $bad
}

if [ "${1:-}" = --case ]; then
	one_case "$2"
	exit
fi

if ! command -v spin >/dev/null; then
	echo "model.sh: spin is not installed; tests/deps.sh check" >&2
	exit 1
fi
out=$(mktemp) || exit 1
trap 'rm -f "$out"' EXIT
trap 'exit 130' HUP INT TERM
if ! grep -v '^#' "$here/cases" | grep -qF -- "${1:-|}"; then
	echo "model.sh: '$1': no line of tests/model/cases holds that" >&2
	exit 2
fi
names_hold >"$out"
cat "$out"
grep -v '^#' "$here/cases" | grep -F -- "${1:-|}" | tr '\n' '\0' |
	xargs -0 -P "$(nproc)" -n 1 "$0" --case | tee -a "$out"
ok=$(grep -c '^ok ' "$out")
failed=$(grep -c '^not ok ' "$out")
found=$(grep -c '^ok .*counterexample' "$out")
states=$(sed -n 's/.* \([0-9.e+]*\) states.*/\1/p' "$out" | awk '{ n += $1 } END { printf "%.0f", n }')
echo "models: $ok as they should be, $failed not; $found counterexamples; $states states"
[ "$ok" -gt 1 ] && [ "$failed" = 0 ]
