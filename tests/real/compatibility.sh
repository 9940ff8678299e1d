#!/bin/bash
# SPDX-License-Identifier: MIT
# Writes docs/COMPATIBILITY.md from what `make check-real` noted. With "check" it only compares which
# programs did which jobs: versions, and the calls of a program, differ from one Debian to the next.
set -eu
cd "$(dirname "$0")/../.." || exit 1
export LC_ALL=C
B=${B:-build}
page=docs/COMPATIBILITY.md

# The page. A job that was tried twice is there once, as it was seen last.
write()
{
	cat <<-'END'
		# Compatibility

		Written by `make check-real`, which does each of these jobs three times: bare, then in a pool claimed
		by bind, then in one claimed late. From outside, on the wire, every port that the program was given
		must be in the pool; the work must be complete and correct; at the end no port may be leased. Bare, the
		same job is seen to leave from elsewhere.

		*Calls* are those the bare program makes on internet sockets, by the kernel's tracing; *fenced* is
		what was seen to leave from the pool; *not fenced* what the same program sends from elsewhere, and to
		where (README.md, "Limits", says why).
	END
	awk -F'\t' '
		{ job[$1 FS $2 FS $4] = $0 }
		END { for (j in job) print job[j] }' "$B/real/seen" | sort -t$'\t' -k1,1 -k2,2f -k4,4 |
		awk -F'\t' '
			NR == FNR { title[$1] = $2; next }
			$1 != group {
				group = $1
				print "\n## " title[group] "\n"
				print "| program | version | job | calls | fenced | not fenced |"
				print "|---|---|---|---|---|---|"
			}
			{ printf "| %s | %s | %s | %s | %s | %s |\n", $2, $3, $4, $5, $6, $7 }
		' <(titles) -
}

# FILE<tab>TITLE of every file of tests: the first words of its second comment.
titles()
{
	local file
	for file in tests/real/*.bats; do
		printf '%s\t%s\n' "$(basename "$file" .bats)" "$(sed -n '3s/^# \([^:]*\):.*/\1/p' "$file")"
	done
}

# Programs and jobs alone.
jobs()
{
	awk -F' *[|] *' '/^## / { print } /^\|/ { print $2 "|" $4 "|" $7 }' "$1"
}

write >"$B/real/COMPATIBILITY.md"
if [ "${1-}" = check ]; then
	diff <(jobs "$page") <(jobs "$B/real/COMPATIBILITY.md") || {
		echo "$page is not what was seen: tests/real/compatibility.sh writes it anew" >&2
		exit 1
	}
else
	cp "$B/real/COMPATIBILITY.md" "$page"
fi
