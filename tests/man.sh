#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The manual pages of BUILD: every command and option, configuration key, exported function and
# option of the broker has its place, and man and mandoc find nothing wrong: man.sh BUILD
set -u

build=$1
bad=0
n=0

complain()
{
	echo "$*" >&2
	bad=1
}

# mentions PAGE WORD: is it there as a word?
mentions()
{
	n=$((n + 1))
	[ -e "$text/$1" ] || man -E UTF-8 -P cat -l "$build/man/$1" 2>/dev/null |
		sed 's/\xe2\x80\x90$//' | tr -d '\n' | tr -s ' ' >"$text/$1"
	grep -Eq -- "(^|[^a-zA-Z0-9_-])$2([^a-zA-Z0-9_-]|\$)" "$text/$1" ||
		complain "$1: no word of '$2'"
}

text=$(mktemp -d)
trap 'rm -rf "$text"' EXIT
trap 'exit 130' HUP INT TERM
# Lines that nothing breaks.
export MANWIDTH=10000 MAN_KEEP_FORMATTING=

commands=$("$build/accelmux" names commands)
[ "$commands" ] || complain "accelmux names commands: nothing"
for c in $commands; do
	if [ -e "$build/man/accelmux-$c.1" ]; then
		mentions accelmux.1 "accelmux-$c"
	else
		complain "accelmux-$c.1: there is no such page"
	fi
done
# Options by the command whose line of the help they are in.
command=""
while IFS= read -r line; do
	case $line in
	"Options:"*) command=none ;;
	"  "[a-z]*)
		command=${line#  }
		command=${command%% *}
		;;
	esac
	page=accelmux-$command.1
	[ "$command" != none ] || page=accelmux.1
	for option in $(printf '%s\n' "$line" | grep -oE -- '--[a-z-]+'); do
		mentions "$page" "$option"
	done
done <<EOF
$("$build/accelmux" --help | sed -n '/^Commands:/,$p')
EOF
for option in $("$build/accelmuxd" --help | grep -oE -- '--[a-z-]+'); do
	mentions accelmuxd.8 "$option"
done

# tests/unit/test_config.c holds the sample against the program.
keys=$(sed -n 's/^#\([a-z_]*\) = .*/\1/p' docs/accelmux.conf)
[ "$keys" ] || complain "docs/accelmux.conf: no keys"
for key in $keys; do
	mentions accelmux.conf.5 "$key"
done

functions=$(nm -D --defined-only "$build/libaccelmux.so" | sed -n 's/.* T \(amux_[a-z0-9_]*\).*/\1/p')
[ "$functions" ] || complain "libaccelmux.so: no functions"
for f in $functions; do
	mentions libaccelmux.3 "$f"
	[ -e "$build/man/$f.3" ] || complain "$f.3: there is no such page"
done

pages=0
for page in "$build"/man/*.[1-8]; do
	pages=$((pages + 1))
	read -r first <"$page"
	case $first in
	".so "*) continue ;;
	esac
	said=$(man --warnings -E UTF-8 -l -Tutf8 -Z "$page" 2>&1 >/dev/null)
	[ ! "$said" ] || complain "man: $said"
	# scdoc begins a paragraph after every heading, where one begins by itself.
	said=$(mandoc -T lint -W warning "$page" | grep -v 'skipping paragraph macro')
	[ ! "$said" ] || complain "$said"
done
[ $bad = 0 ] || exit 1
echo "$pages pages, $n words looked up"
