# SPDX-License-Identifier: MIT
# Prints what the zsh completion offers for a line, one a line: zsh -f complete.zsh LINE
# A zsh with a terminal of its own reads this file, too, then the line and a tab. What compadd is to
# add it writes into a file, and ends.
if [[ ! -o interactive ]]; then
	zmodload zsh/zpty
	export FOUND=$(mktemp)
	zpty shell zsh -f -i
	zpty -w shell "source ${(q)0:A}"
	while zpty -r shell line && [[ $line != *ready* ]]; do :; done
	zpty -w -n shell "$1"$'\t'
	while zpty -r shell line; do :; done
	cat $FOUND
	rm $FOUND
	return
fi

fpath=(${0:A:h:h}/completions $fpath)
autoload -Uz compinit
compinit -uC -d $BATS_FILE_TMPDIR/compdump

compadd()
{
	local -a found
	if [[ ${@[1,(i)(-|--)]} != *-(O|A|D)\ * ]]; then
		builtin compadd -A found "$@"
		print -rl -- $found >>$FOUND
	fi
	builtin compadd "$@"
}

complete-and-end()
{
	zle complete-word
	exit
}

zle -C complete-word complete-word _main_complete
zle -N complete-and-end
bindkey '^I' complete-and-end
print ready
