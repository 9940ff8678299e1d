# SPDX-License-Identifier: MIT
# bash completion of portfence(1), loaded by bash-completion. Commands and options are those that
# --help names, so none is forgotten; the name of an option's value there says what is completed.

# Prints the options of a command, one a line, with the name of the value behind those that want one.
_portfence_options()
{
	"$1" "$2" --help 2>/dev/null | awk '
		/^Usage:/ {
			while (match($0, /\[--?[a-z][a-z-]*( [A-Z:]+)?\]/)) {
				print substr($0, RSTART + 1, RLENGTH - 2)
				$0 = substr($0, RSTART + RLENGTH)
			}
		}
		/^ +-/ {
			sub(/^ +/, "")
			sub(/  .*/, "")
			value = match($0, / [A-Z:]+$/) ? substr($0, RSTART) : ""
			for (n = split($0, option, /[ ,]+/) - (value != ""); n; n--) print option[n] value
		}'
	printf '%s\n' --help --no-color
}

# Prints the first column of a list in a help: the commands, the formats of export.
_portfence_words()
{
	"$@" --help 2>/dev/null | awk '/^  [a-z]/ { print $1 }'
}

# Prints the names of the pools: of the policy FILE, or those that there are and the default policy's.
_portfence_pools()
{
	[ "$2" ] || "$1" status 2>/dev/null | awk 'NR > 1 { print $1 }'
	"$1" check ${2:+"$2"} 2>/dev/null | awk 'NF == 0 { exit } NR > 1 { print $1 }'
}

# Completes a value by its name in the help.
_portfence_value()
{
	local words=
	case $2 in
	FILE) _filedir && return ;;
	PROGRAM) words=$(compgen -c -- "$cur") ;;
	USER) words=$(compgen -u -- "$cur") ;;
	POOL | NAME) words=$(_portfence_pools "$1" "$3") ;;
	KEY) words=$(printf '%s\n' {,-}{port,peer,pid,command,state,pool}) ;;
	FORMAT) words=$(_portfence_words "$1" export) ;;
	esac
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}

_portfence()
{
	local cur=${COMP_WORDS[COMP_CWORD]} at=1 command=run option value policy=
	local -A wants
	COMPREPLY=()
	[ "$cur" != = ] || cur=
	while ((at < COMP_CWORD)) && [ "${COMP_WORDS[at]}" = --no-color ]; do
		((at++))
	done
	if ((at == COMP_CWORD)) && [[ $cur != -* ]]; then
		mapfile -t COMPREPLY < <(compgen -W "$(_portfence_words "$1")" -- "$cur")
		return
	fi
	if [[ ${COMP_WORDS[at]} != -* ]]; then # or it is portfence --ports RANGES -- PROGRAM
		command=${COMP_WORDS[at]}
		((at++))
	elif ((at == COMP_CWORD)); then
		wants[--version]=
	fi
	while read -r option value; do
		wants[$option]=$value
	done < <(_portfence_options "$1" "$command")

	# Over the words before the one to complete, to the program if there is one.
	while ((at < COMP_CWORD)); do
		option=${COMP_WORDS[at]}
		if [ "$option" = -- ]; then
			((at++))
			wants=()
			break
		fi
		[[ $option == -* || $command != run ]] || break
		((++at))
		[ "${wants[$option]-}" ] || continue
		((at >= COMP_CWORD)) || [ "${COMP_WORDS[at]}" != = ] || ((at++))
		if ((at >= COMP_CWORD)); then
			_portfence_value "$1" "${wants[$option]}" "$policy"
			return
		fi
		[ "$option" != --policy ] || policy=${COMP_WORDS[at]}
		((at++))
	done
	if [[ $cur == -* && ${#wants[@]} -gt 0 ]] && ((at == COMP_CWORD)); then
		mapfile -t COMPREPLY < <(compgen -W "${!wants[*]}" -- "$cur")
		return
	fi
	case $command in
	run) _command_offset "$at" ;;
	doctor) _portfence_value "$1" PROGRAM ;;
	check) _portfence_value "$1" FILE ;;
	status | map) _portfence_value "$1" POOL ;;
	export) _portfence_value "$1" FORMAT ;;
	esac
}

complete -F _portfence portfence
