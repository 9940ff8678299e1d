#!/bin/bash
# SPDX-License-Identifier: MIT
# Checks what the compiler does not: formatting, static analysis, and the rules of the house.
# One line per violation; run by `make lint` after the build.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

B=${B:-build}
shopt -s nullglob
export LC_ALL=C
product=(include/portfence/*.h core/*.[ch] shim/*.[ch] cli/*.[ch])
code=("${product[@]}" tests/*.c tests/*/*.[ch] bench/*.[ch])
units=(core/*.c shim/*.c cli/*.c)
report=$(mktemp)
trap 'rm "$report"' EXIT

violation()
{
	echo "lint: $*" | tee -a "$report"
}

# Reports every line of the input as a violation, behind a text.
violations()
{
	local line
	while IFS= read -r line; do
		violation "${1-}$line"
	done
}

# --- tools -----------------------------------------------------------------------------------

check_format()
{
	local file
	for file in "${code[@]}"; do
		clang-format "$file" | cmp -s - "$file" || violation "format: make fmt would change $file"
		expand -t 8 "$file" | grep -nE '.{101}' | cut -d: -f1 |
			violations "over 100 columns: $file:"
	done
}

# Its flags are in compile_flags.txt; clang-tidy FILE tells the whole story of an error.
check_tidy()
{
	printf '%s\0' "${units[@]}" | xargs -0 -n 1 -P "$(nproc)" clang-tidy --quiet 2>/dev/null |
		sed -n "s|^$PWD/||; / error: /p" | sort -u | violations
	[ "${PIPESTATUS[1]}" -eq 0 ] || violation 'clang-tidy'
}

check_cppcheck()
{
	local flags
	mapfile -t flags < <(grep '^-[ID]' compile_flags.txt)
	cppcheck --quiet --enable=warning,performance,portability --inline-suppr --error-exitcode=1 \
		--std=c11 -j "$(nproc)" "${flags[@]}" "${units[@]}" || violation 'cppcheck'
}

check_shell()
{
	shellcheck -x tests/*.sh tests/stress/*.sh tests/fuzz/*.sh tests/*.bats tests/*.bash tests/real/*.{sh,bats,bash} .ci/run completions/*.bash packaging/*.sh config/*.sh bench/*.sh ||
		violation 'shellcheck'
}

# --- layers ----------------------------------------------------------------------------------

# Prints the layer of a file: what it includes is of this layer or a lower one.
layer()
{
	case $1 in
	cli/* | shim/call_*.c | shim/calls.h) echo 3 ;;
	shim/assign.[ch] | shim/lifetime.[ch] | shim/option.[ch]) echo 2 ;;
	shim/real.[ch] | shim/fdmap.[ch] | shim/classify.[ch] | shim/fence.[ch] | shim/environment.[ch] | shim/history.[ch] | shim/signals.[ch]) echo 1 ;;
	core/atomics.h | core/util.[ch] | core/random.[ch]) echo 0 ;;
	core/*.[ch] | include/portfence/*.h) echo 1 ;;
	esac
}

# Prints the file of ours that FILE means by INCLUDE, or nothing.
resolve()
{
	local file=$1 include=$2 path
	case $include in
	'<portfence/'*) path=include/${include:1:-1} ;;
	'"'*) path=$(dirname "$file")/${include:1:-1} ;;
	esac
	[ -e "$path" ] || path=core/$(basename "$path")
	[ ! -e "$path" ] || echo "$path"
}

check_include()
{
	local file=$1 include=$2 target rivals='^(pool|policy|classify)\.[ch]$'
	if [[ $include == '"'*/* ]]; then
		violation "$file includes $include: write <portfence/x.h> or \"x.h\""
		return
	fi
	target=$(resolve "$file" "$include")
	if [ -z "$target" ]; then
		violation "$file includes $include, which is neither beside it nor in core/"
		return
	fi
	[ "$(layer "$target")" -le "$(layer "$file")" ] ||
		violation "$file (layer $(layer "$file")) includes $target (layer $(layer "$target"))"
	case $file:$target in
	cli/*:shim/* | shim/*:cli/*) violation "$file includes $target: shim and cli do not know each other" ;;
	esac
	if [[ ${file##*/} =~ $rivals && ${target##*/} =~ $rivals ]]; then
		[ "$(basename "${file%.*}")" = "$(basename "${target%.*}")" ] ||
			violation "$file includes $target: pool, policy and classify do not know each other"
	fi
}

check_layers()
{
	local file include
	for file in "${product[@]}"; do
		if [ -z "$(layer "$file")" ]; then
			violation "$file has no layer: give it one in tests/lint.sh"
			continue
		fi
		while read -r include; do
			check_include "$file" "$include"
		done < <(sed -nE 's/^[ \t]*#[ \t]*include[ \t]+(<portfence\/[^>]*>|"[^"]*").*/\1/p' "$file")
	done
}

# --- calls: read off the objects, so that comments and macros do not matter ---------------------

# Prints the objects of source files, one a line.
objects()
{
	printf '%s\n' "$@" | sed "s|^|$B/obj/|; s|c\$|o|"
}

# Prints "OBJECT SYMBOL" for each symbol the given objects need that matches a regular expression.
needs()
{
	local pattern=$1
	shift
	nm -A -u "$@" | sed -E 's/^([^:]*):.* ([^ ]+)$/\1 \2/' | grep -E " ($pattern)\$"
}

# Reports the objects that need a symbol and are not the one which may.
only()
{
	local allowed=$1 pattern=$2
	shift 2
	needs "$pattern" "$@" | grep -v "^$B/obj/$allowed " | sed "s|^$B/obj/||; s| | calls |" |
		violations "only ${allowed%.o}.c may: "
}

check_calls()
{
	local core shim cli
	mapfile -t core < <(objects core/*.c)
	mapfile -t shim < <(objects shim/*.c)
	mapfile -t cli < <(objects cli/*.c)
	local alloc='malloc|calloc|realloc|reallocarray|free|strn?dup|posix_memalign|aligned_alloc'
	local stdio='v?[fsd]?n?printf|v?asprintf|__.*printf_chk|f?puts|f?putc|putchar|perror|fwrite'
	local files='fopen(64)?|fclose|fread|fgets|getline|opendir|readdir(64)?'
	local locks='pthread_(mutex|rwlock|spin|cond)_.*|pthread_once|call_once|mtx_.*'
	local maps='(mmap|open|openat|creat)(64)?|munmap|mremap|shm_open|memfd_create'

	only shim/real.o 'dlv?sym' "${core[@]}" "${shim[@]}" "${cli[@]}"
	only core/segment.o "$maps" "${core[@]}" "${shim[@]}"
	only shim/environment.o '(secure_)?getenv|(__|_)?environ|(set|put|unset|clear)env' "${core[@]}" "${shim[@]}"
	needs "$alloc|$stdio|$files|$locks" "${core[@]}" "${shim[@]}" |
		sed "s|^$B/obj/||; s| | calls |" | violations 'not in what is preloaded: '
	grep -nHE '\bSYS_(mmap2?|munmap|mremap|open|openat2?|creat|memfd_create)\b' "${product[@]}" |
		grep -v '^core/segment\.c:' | violations 'only core/segment.c may: '
}

# --- symbols ---------------------------------------------------------------------------------

names()
{
	grep -oE '[A-Za-z_][A-Za-z0-9_]*' | sort -u
}

# Reports the difference of two lists of names.
same()
{
	local what=$1 other=$2
	comm -23 "$3" "$4" | violations "only in $what, not in $other: "
	comm -13 "$3" "$4" | violations "only in $other, not in $what: "
}

check_symbols()
{
	local so=$B/libportfence.so dir
	dir=$(mktemp -d)
	nm -D --defined-only "$so" | awk '$2 != "A" { sub(/@.*/, "", $3); print $3 }' | sort -u >"$dir/so"
	sed -n '/global:/,/local:/{/:/!p}' shim/exports.map | names >"$dir/map"
	sed -nE 's/.*PF_CALL\("([^"]*)"\).*/\1/p' shim/calls.h | sort -u >"$dir/calls"
	objects shim/call_*.c | xargs nm --defined-only -g | awk 'NF == 3 { print $3 }' | sort -u >"$dir/objects"
	same "$so" shim/exports.map "$dir/so" "$dir/map"
	same shim/calls.h shim/exports.map "$dir/calls" "$dir/map"
	same 'shim/call_*.c' shim/exports.map "$dir/objects" "$dir/map"
	grep -lE 'PF_CALL\(|visibility\("default"\)' "${product[@]}" | grep -vx shim/calls.h |
		violations 'exported outside shim/calls.h: '

	nm -D --undefined-only --with-symbol-versions "$so" | awk '{ print $2 }' | sort -u >"$dir/versions"
	sed 's/@.*//' "$dir/versions" | sort -u >"$dir/imports"
	grep -v '^#' shim/imports.txt | sort -u >"$dir/allowed"
	comm -23 "$dir/imports" "$dir/allowed" | violations 'imported, but not in shim/imports.txt: '
	# What sorts behind the oldest glibc of docs/PORTABILITY.md is newer.
	grep -o '[^ ]*@.*' "$dir/versions" | sed 's/@@*GLIBC_/ /' | while read -r name version; do
		printf '%s\n' "$version" 2.17 | sort -CV || echo "$name@GLIBC_$version"
	done | violations 'newer than glibc 2.17: '
	rm -r "$dir"
}

# --- traps -----------------------------------------------------------------------------------

# docs/TRAPS.md has a test for every trap, and just the tests that name it.
check_traps()
{
	local file line name number
	local -A found=()
	while IFS= read -r line; do
		case $line in
		'**'*) number=${line#'**'} number=${number%%.*} found[$number]= ;;
		'- `'*)
			file=${line#'- `'} file=${file%%'`'*} name=${line#*'`: '} found[$number]=1
			[ ! -e "$file" ] || grep -qF "@test \"$name\" {" "$file" ||
				violation "docs/TRAPS.md, trap $number: $file has no test \"$name\""
			;;
		esac
	done <docs/TRAPS.md
	for number in "${!found[@]}"; do
		[ "${found[$number]}" ] || violation "docs/TRAPS.md: trap $number has no test"
	done
	grep -oh '^@test ".*(traps\? .*)" {$' tests/*.bats tests/real/*.bats | sed 's/^@test "//; s/" {$//' |
		while IFS= read -r name; do
			grep -qF "\`: $name" docs/TRAPS.md || echo "$name"
		done | violations 'not in docs/TRAPS.md: '
}

# --- the rest --------------------------------------------------------------------------------

check_text()
{
	grep -rInE --exclude-dir=.git --exclude-dir='build*' '(\.\./|/work/)[s]hared' . |
		violations 'names a file that is not of the project: '
	grep -L '^// SPDX-License-Identifier: MIT$' "${code[@]}" | violations 'no SPDX line: '
}

check_format
check_layers
check_calls
check_symbols
check_text
check_traps
check_shell
check_cppcheck
check_tidy
[ ! -s "$report" ] && echo 'lint: clean'
