#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# What bash and zsh complete: all that --help names, and what the values mean.

# shellcheck disable=SC2154 # `run` sets lines

load test_helper

setup()
{
	world_new
	PATH=$B:$PATH
	cd "$(scratch)" || return
	unset PORTFENCE_POLICY_FILE
	export HOME=$PWD
}

teardown()
{
	world_end
}

# Prints what a shell offers for a line, one a line: offered bash|zsh LINE
offered()
{
	case $1 in
	bash) net bash --norc "$BATS_TEST_DIRNAME/complete.bash" "$2" ;;
	zsh) net zsh -f "$BATS_TEST_DIRNAME/complete.zsh" "$2" ;;
	esac | sed 's/ *$//; /^$/d' | sort -u
}

# Fails unless both shells offer just the given words for a line: assert_offered LINE [WORD...]
assert_offered()
{
	local line=$1 shell
	shift
	for shell in bash zsh; do
		diff <(printf '%s\n' "$@" | sed '/^$/d' | sort -u) <(offered $shell "$line") || {
			echo "$shell: $line"
			return 1
		}
	done
}

# Prints the names of the commands.
commands()
{
	portfence --help | awk '/^  [a-z]/ { print $1 }'
}

# Prints every option that a command's help mentions: -x where they are listed, --xyz anywhere.
options_of()
{
	{
		portfence "$1" --help | grep -oE -- "[[ ']--[a-z][a-z-]*"
		portfence "$1" --help | grep -E '^(Usage:| +-)' | grep -oE -- '(\[|^ +)-[a-z]'
	} | tr -d " '[" | sort -u
}

@test "all commands are completed" {
	mapfile -t words < <(commands)
	[ "${#words[@]}" -gt 6 ]
	assert_offered 'portfence ' "${words[@]}"
	assert_offered 'portfence --no-color sta' status
}

@test "all options that the help of a command mentions are completed, and no others" {
	for command in $(commands); do
		mapfile -t words < <(options_of "$command")
		assert_offered "portfence $command -" --help --no-color "${words[@]}"
	done
	mapfile -t words < <(options_of run)
	assert_offered 'portfence -' --help --no-color --version "${words[@]}"
}

@test "the help of a command mentions all options that it has" {
	for command in $(commands); do
		sed -nE 's/^.*\{"([a-z-]+)", (no|required|optional)_argument,.*/--\1/p' "$ROOT/cli/$command.c" |
			grep -vxF -e --help -e "$(options_of "$command")" | sed "s/^/$command /" || :
	done >missing
	cat missing
	[ ! -s missing ]
}

@test "a policy is completed as a file, and a pool as one of the policy's" {
	printf '%s\n' '[pool ci]' 'ports = 30000-30099' '[pool web]' 'ports = 20000-20099' >some.conf
	assert_offered 'portfence check so' some.conf
	assert_offered 'portfence run --policy so' some.conf
	assert_offered 'portfence run --policy some.conf --pool ' ci web
	assert_offered 'portfence run --policy=some.conf --pool=w' web
	assert_offered 'portfence --policy some.conf --pool c' ci
	assert_offered 'portfence run --ports '
	PORTFENCE_POLICY_FILE=some.conf assert_offered 'portfence run --pool ' ci web
}

@test "a pool that is looked at is completed as one that there is" {
	fence 20000-20099 "$PROBE/udpsend" sendto 127.0.0.1 9
	assert_offered 'portfence status ' default
	assert_offered 'portfence ls --pool ' default
}

@test "the order of ls is completed, and ls knows all orders that are" {
	mapfile -t words < <(offered bash 'portfence ls --sort ')
	[ "${#words[@]}" -gt 10 ]
	for word in "${words[@]}"; do
		net portfence ls --sort "$word"
	done
	assert_offered 'portfence ls --sort ' "${words[@]}"
	assert_offered 'portfence ls --sort=pe' peer
	assert_offered 'portfence ls -a --sort -s' -state
}

@test "the formats of export are completed" {
	assert_offered 'portfence export --filter n' nft
	assert_offered 'portfence export ' nft iptables sysctl suricata prometheus
}

@test "behind run, the program is completed as if it stood alone" {
	install -D /dev/null bin/legacy-client
	chmod 755 bin/legacy-client
	PATH=$PWD/bin:$PATH
	assert_offered 'portfence run legacy-c' legacy-client
	assert_offered 'portfence run --ports 20000-20099 -- legacy-c' legacy-client
	assert_offered 'portfence --ports 20000-20099 -- legacy-c' legacy-client
	assert_offered 'portfence doctor --ports 20000-20099 legacy-c' legacy-client
	assert_offered 'portfence check --for legacy-c' legacy-client
	assert_offered 'portfence run -f --block 10 -- portfence sta' status
	assert_offered 'portfence run dpkg --insta' --install
	assert_offered 'portfence run -- --po'
}
