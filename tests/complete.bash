# SPDX-License-Identifier: MIT
# Prints what the bash completion offers for a line, one a line: bash complete.bash LINE
# shellcheck source=/dev/null
. /usr/share/bash-completion/bash_completion
. "${0%/*}/../completions/portfence.bash"

COMP_LINE=$1 COMP_POINT=${#1}
# Readline's words: = and : are some of their own.
mapfile -t COMP_WORDS < <(grep -oE '[=:]+|[^ =:]+' <<<"$1")
[[ $1 != *' ' ]] || COMP_WORDS+=('')
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
compopt() { :; } # there is no readline
_portfence portfence
printf '%s\n' "${COMPREPLY[@]%/}"
