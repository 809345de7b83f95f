# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# Completion of accelmux(1) for bash: commands and options, and policies, tenants and devices as the
# running broker knows them.  Installed to share/bash-completion/completions/accelmux.

# The words of what has been typed, joined again where bash broke them at '=' and ':'; the one under
# the cursor is the last.
_accelmux_words()
{
	local left=${COMP_LINE:0:COMP_POINT}

	read -ra typed <<<"$left"
	case $left in
	*[[:space:]]) typed+=("") ;;
	esac
}

# What the broker knows: the control socket that has been typed goes with the question.
_accelmux_names()
{
	"${typed[0]}" "${socket[@]}" names "$@" 2>/dev/null
}

# Offer those of $1, separated by blanks or newlines, that begin as the word under the cursor.
_accelmux_offer()
{
	local word prefix="" IFS=$' \t\n'

	# Where readline breaks words at '=' or ':', it wants only what comes after.
	case $COMP_WORDBREAKS in
	*:*) [[ $current != *:* ]] || prefix=${current%"${current##*:}"} ;;
	esac
	case $COMP_WORDBREAKS in
	*=*) [[ $current != *=* ]] || prefix=${current%"${current##*=}"} ;;
	esac
	for word in $1; do
		[[ $word != "$current"* ]] || COMPREPLY+=("${word#"$prefix"}")
	done
	if [[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == *= ]]; then
		compopt -o nospace 2>/dev/null || : # it complains outside of a completion
	fi
}

_accelmux_files()
{
	compopt -o filenames 2>/dev/null || :
	mapfile -t COMPREPLY < <(compgen -f -- "$current")
}

_accelmux()
{
	local typed socket=() words=() i current previous=""

	COMPREPLY=()
	_accelmux_words
	current=${typed[-1]}
	# The command and its arguments, without the options that may stand anywhere.
	for ((i = 1; i < ${#typed[@]} - 1; i++)); do
		case ${typed[i]} in
		--socket)
			if ((i + 1 == ${#typed[@]} - 1)); then
				_accelmux_files
				return
			fi
			socket=(--socket "${typed[++i]}")
			;;
		--socket=*) socket=("${typed[i]}") ;;
		--json) ;;
		*) words+=("${typed[i]}") ;;
		esac
	done
	[[ ${#words[@]} == 0 ]] || previous=${words[-1]}
	if [[ ${#words[@]} == 0 ]]; then
		_accelmux_offer "$(_accelmux_names commands) --socket --json --help --version"
		return
	fi

	case ${words[0]}:$previous in
	bench:--op) _accelmux_offer "copy noop fill compare crc32c" ;;
	top:--sort) _accelmux_offer "bytes wait declined queued name" ;;
	setup:--user-mode) _accelmux_offer "dedicated shared" ;;
	setup:--load | trace:record | trace:show | trace:pace) _accelmux_files ;;
	setup:--group) mapfile -t COMPREPLY < <(compgen -g -- "$current") ;;
	*:--name | *:--size | *:--depth | *:--time | *:--interval | *:--count | *:--reason | \
		*:--timeout | *:--devices | *:--rate | *:--seed | *:--max) ;;
	bench:*)
		_accelmux_offer "--op --size --depth --time --name --verify --engine-only"
		;;
	top:*) _accelmux_offer "--interval --sort --plain --count" ;;
	setup:*)
		_accelmux_offer "--dry-run --devices --kernel-only --user-mode --replace --group \
			--save --load --undo"
		;;
	policy:policy) _accelmux_offer "list get set" ;;
	policy:set)
		_accelmux_offer "$(_accelmux_names policies)"
		case $current in
		*/*) _accelmux_files ;; # a policy as a shared object
		esac
		;;
	policy:*)
		[[ ${words[1]} != set ]] || _accelmux_offer "$(_accelmux_names params "${words[2]}")"
		;;
	tenants:tenants) _accelmux_offer "list set evict" ;;
	tenants:set | tenants:evict) _accelmux_offer "$(_accelmux_names tenants)" ;;
	tenants:*)
		case ${words[1]} in
		set) _accelmux_offer "weight= reserve= limit=" ;;
		evict) _accelmux_offer "--reason" ;;
		esac
		;;
	devices:devices) _accelmux_offer "list drain resume" ;;
	devices:drain | devices:resume) _accelmux_offer "$(_accelmux_names devices)" ;;
	devices:*) [[ ${words[1]} != drain ]] || _accelmux_offer "--timeout" ;;
	names:names) _accelmux_offer "commands tenants devices policies params" ;;
	names:params) _accelmux_offer "$(_accelmux_names policies)" ;;
	trace:trace) _accelmux_offer "record show pace" ;;
	trace:*)
		case ${words[1]}:${#words[@]} in
		pace:3) _accelmux_files ;;
		pace:*) _accelmux_offer "--rate --seed --force" ;;
		record:*) _accelmux_offer "--time --max --force" ;;
		esac
		;;
	esac
}

complete -F _accelmux accelmux
