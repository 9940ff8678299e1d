#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Policy files: what they say, and what is said of those that are wrong. They touch no network.

load test_helper

setup()
{
	FILE=$(scratch)/policy.conf
	unset PORTFENCE_POLICY_FILE
}

teardown()
{
	netns_end
}

# Runs check on the policy that stands at standard input.
check()
{
	cat >"$FILE"
	run --separate-stderr "$PORTFENCE" check "$FILE"
}

# Prints what check says of one pool in the column with this heading.
pool_says()
{
	awk -v pool="$1" -v heading="$2" '
		NR == 1 { column = index($0, heading) }
		$1 == pool { cell = substr($0, column); sub(/  .*/, "", cell); print cell; exit }' <<<"$output"
}

# Checks that a policy of this one pool, given by its lines, has these ports, or this under HEADING.
assert_pool()
{
	check <<<$'[pool p]\n'"$1"
	[ "$status" -eq 0 ]
	[ "$(pool_says p "${3:-PORTS}")" = "$2" ]
}

# Checks that the policy at standard input is refused in just these lines, without "portfence: FILE:".
assert_refused()
{
	check
	[ "$status" -eq 125 ]
	[ -z "$output" ]
	[ "${stderr//portfence: $FILE:/}" = "$1" ]
}

# --- what it says -------------------------------------------------------------------------------------

@test "check shows the pools, the rules in their order, and where the segment is" {
	check <<-'EOF'
		[pool web]
		ports = 20000-20999, 22000-22499   ; ranges
		protocols = tcp
		sharing = none
		hold = 60s
		quota = 512
		exhausted = wait 2s
		explicit-bind = deny
		slice = 3/15

		[pool rtp]
		ports = 40000-40999
		protocols = udp
		parity = even
		exhausted = fallback
		hold = 500ms

		[pool ci]
		ports = 30000-33999,
		  35000
		block = 100

		[rule crawler]
		program = /usr/bin/curl wget python3*
		user = www-data 12345
		group = 0
		destination = 10.0.0.0/8:443 [2001:db8::]/32:80-90 ::1 *:53
		protocol = tcp
		pool = web

		[rule lan]
		destination = 192.168.0.0/16
		pool = none

		[rule rest]
		pool = rtp

		[segment]
		directory = /run/portfence
		group = www-data
	EOF
	diff - <(echo "$output") <<-'EOF'
		POOL  SIZE  PROTOCOLS  SHARING      HOLD   QUOTA  EXHAUSTED  EXPLICIT  PARITY  BLOCK  PORTS
		web   100   tcp        none         60s    512    wait 2s    deny      any     -      20300-20399
		rtp   500   udp        destination  500ms  -      fallback   allow     even    -      40000-40999
		ci    4001  tcp udp    destination  120s   -      fail       allow     any     100    30000-33999,35000

		RULE     POOL  CALLS
		crawler  web   program /usr/bin/curl wget python3*, user www-data 12345, group root, destination 10.0.0.0/8:443 [2001:db8::/32]:80-90 ::1 *:53, protocol tcp
		lan      none  destination 192.168.0.0/16
		rest     rtp   all
		-        none  all others: the kernel chooses

		segment in /run/portfence, shared by the group www-data, mode 0660
	EOF
	[ "$status" -eq 0 ]
	[ -z "$stderr" ]
}

@test "what no rule is about goes to the pool named default, or to the only pool if there is no rule" {
	others()
	{
		check
		awk '$1 == "-" { print $2 }' <<<"$output"
	}
	only=$'[pool a]\nports = 20000\n' second=$'[pool default]\nports = 20001\n'
	rule=$'[rule r]\nuser = 0\npool = a\n' block=$'block = 1\n'
	[ "$(others <<<"$only")" = a ]
	[ "$(others <<<"$only$rule")" = none ]
	[ "$(others <<<"$only$second")" = default ]
	[ "$(others <<<"$only$second$rule")" = default ]
	[ "$(others <<<"$only${second/default/b}")" = none ]
	[ "$(others <<<"$only$block")" = a ]
}

@test "durations are in ms, s, m, h or plain seconds" {
	for duration in 500ms=500ms 1500ms=1500ms 60s=60s 60=60s 2m=120s 1h=3600s 24h=86400s 0=0s; do
		assert_pool "ports = 1024
hold = ${duration%=*}" "${duration#*=}" HOLD
	done
}

@test "lines may be indented, end in CRLF, and go on in the next one; colons, comments and a BOM do not matter" {
	for policy in '\xef\xbb\xbf[pool p]\nports=20000-20009' '[pool p]\r\nports = 20000-20009\r\n' \
		'# x\n  [pool p]  ; x\n\tports = 20000-20009 ; x\n\thold = 2m' '[pool p]\nports: 20000-20004,\n 20005-20009' \
		'[pool p]\nports =\n\n\t20000-20004,\n# x\n\t; x\n\t20005-20009 ; x\n' '[  pool   p  ] # x\nports = 20000-20009'; do
		check < <(printf '%b' "$policy")
		[ "$(pool_says p PORTS)" = 20000-20009 ]
	done
}

@test "an address in brackets goes on with the value above it, and an indented section does not" {
	check <<-'EOF'
		[pool a]
		ports = 20000
		[rule r]
		pool = a
		destination = 10.0.0.1
		  [2001:db8::1]:443
		  [rule s]
		  pool = none
	EOF
	[ "$status" -eq 0 ]
	grep -qx 'r     a     destination 10.0.0.1 \[2001:db8::1\]:443' <<<"$output"
	grep -qx 's     none  all' <<<"$output"
}

@test "every form of a destination is shown as it was meant" {
	while read -r given shown; do
		check <<<"[pool a]
ports = 20000
[rule r]
pool = a
destination = $given"
		[ "$(awk '$1 == "r" { print $4 }' <<<"$output")" = "${shown:-$given}" ]
	done <<-'EOF'
		10.0.0.1
		10.0.0.0/8
		10.0.0.1/32 10.0.0.1
		10.0.0.1:443
		10.0.0.0/8:80-90
		0.0.0.0/0
		::ffff:10.0.0.1 10.0.0.1
		::1
		2001:db8::/32
		[2001:db8::] 2001:db8::
		[2001:db8::1]:443
		[2001:db8::/32]:443
		[2001:db8::]/32:80-90 [2001:db8::/32]:80-90
		::/0 *
		*
		*:53
		*:1-65535 *
	EOF
}

@test "variables come from the environment, and two dollars are one" {
	export FIRST=20000 PORTS='20100, 20200-20299'
	# shellcheck disable=SC2016 # they are the policy's
	assert_pool 'ports = ${FIRST}-20009, ${PORTS}' 20000-20009,20100,20200-20299
	check <<-'EOF'
		[pool a]
		ports = 20000
		[rule r]
		program = $$${FIRST}$$
		pool = a
	EOF
	grep -qx "r     a     program .20000." <<<"$output"
}

# Prints the ports of a list of ranges, one a line.
ports_of()
{
	tr , '\n' <<<"$1" | sed 's/^[0-9]*$/&-&/; s/-/ /' | xargs -n 2 seq
}

@test "the slices of a pool are equal and have every port once" {
	whole=20000-20999,22000-22499,30007,40000-40008
	for part in 0 1 2 3 4; do
		export SLICE=$part/5
		assert_pool "ports = $whole
slice = \${SLICE}" 302 SIZE
		ports_of "$(pool_says p PORTS)"
	done >"$BATS_TEST_TMPDIR/slices"
	ports_of $whole | diff - "$BATS_TEST_TMPDIR/slices"
}

@test "pools of even and of odd ports may share a range, for no port is in both" {
	check <<-'EOF'
		[pool rtp]
		ports = 40000-40999
		parity = even
		[pool rtcp]
		ports = 40000-40999
		parity = odd
	EOF
	[ "$status" -eq 0 ]
	[ "$(pool_says rtp SIZE) $(pool_says rtcp SIZE)" = '500 500' ]
}

@test "every policy in config/ is one" {
	samples=("$ROOT"/config/*.conf)
	[ ${#samples[@]} -ge 6 ]
	for file in "${samples[@]}"; do
		NAT_SLICE=1/2 run --separate-stderr "$PORTFENCE" check "$file"
		[ "$status" -eq 0 ]
		[ -z "$stderr" ]
		[ "${lines[0]%% *}" = POOL ]
	done
	run --separate-stderr "$PORTFENCE" check "$ROOT/config/shared-nat.conf"
	[ "$status" -eq 125 ]
	grep -q "'\${NAT_SLICE}': not in the environment" <<<"$stderr"
}

@test "portfence.conf(5) tells of every section and key, and make install installs it" {
	for section in 'pool a' 'rule r' segment; do
		check <<<"[$section]
nonsense-beyond-guessing = 1"
		expected=${stderr##*expected }
		for key in ${expected//[,]/}; do
			[ "$key" = or ] || grep -q "^.It Cm $key = " "$ROOT/docs/portfence.conf.5"
		done
		grep -q "\[${section% *}" "$ROOT/docs/portfence.conf.5"
	done
	make -s -n -C "$ROOT" install DESTDIR=/there >"$BATS_TEST_TMPDIR/commands"
	grep -q '/there/usr/local/share/man/man5/portfence.conf.5 ' "$BATS_TEST_TMPDIR/commands"
	grep -q '/there/usr/local/share/doc/portfence/examples/ci.conf ' "$BATS_TEST_TMPDIR/commands"
}

# --- who decides --------------------------------------------------------------------------------------

@test "check --for says which rule and pool decide" {
	cat >"$FILE" <<-'EOF'
		[pool web]
		ports = 20000-20999
		[pool dns]
		ports = 21000-21999
		protocols = udp
		[rule dns]
		destination = *:53
		pool = dns
		[rule inside]
		destination = 10.0.0.0/8
		pool = none
		[rule shell]
		program = dash bash
		user = daemon
		pool = web
		[rule group]
		group = 1
		destination = 2001:db8::/32
		pool = web
	EOF
	sh=$(realpath "$(command -v sh)")
	while IFS='|' read -r options answer; do
		# shellcheck disable=SC2086 # words
		run -0 "$PORTFENCE" check "$FILE" $options
		[ "$output" = "${answer/SH/$sh}" ]
	done <<-'EOF'
		--for sh|SH, user root, tcp, bind or listen: no rule, the kernel chooses
		--for sh --user daemon|SH, user daemon, tcp, bind or listen: rule shell, pool web (20000-20999)
		--for /bin/sh --user 1 --udp|SH, user daemon, udp, bind or listen: rule shell, pool web (20000-20999)
		--for sh --to 10.1.2.3:80 --user daemon|SH, user daemon, tcp, to 10.1.2.3:80: rule inside, the kernel chooses
		--for sh --to 10.1.2.3:53 --udp|SH, user root, udp, to 10.1.2.3:53: rule dns, pool dns (21000-21999)
		--for sh --to 10.1.2.3:53|SH, user root, tcp, to 10.1.2.3:53: rule inside, the kernel chooses
		--for no-such --user daemon --to [2001:db8::1]:80|no-such, user daemon, tcp, to [2001:db8::1]:80: rule group, pool web (20000-20999)
	EOF
}

@test "a pool of which each run has a block is not left to the kernel" {
	echo $'[pool ci]\nports = 32900-33899\nblock = 100' >"$FILE"
	run -0 "$PORTFENCE" check "$FILE"
	grep -E '^- +ci +those of a run, which has a block for itself$' <<<"$output"
	run -0 "$PORTFENCE" check "$FILE" --for sh
	[[ $output == *': no rule, a block of pool ci (32900-33899)' ]]
}

@test "check says what is wrong with its options" {
	echo $'[pool a]\nports = 20000' >"$FILE"
	while IFS='|' read -r options message; do
		# shellcheck disable=SC2086 # words
		run --separate-stderr "$PORTFENCE" check "$FILE" $options
		[ "$status" -eq 125 ]
		[ -z "$output" ]
		[ "$stderr" = "portfence: check: $message" ]
	done <<-'EOF'
		--for|'--for' wants a value
		--for=|'--for' wants a program
		--to 10.0.0.0/8|--to '10.0.0.0/8': expected one address and one port, as in 10.0.0.1:443
		--to 10.0.0.1|--to '10.0.0.1': expected one address and one port, as in 10.0.0.1:443
		--to example.org:80|--to 'example.org:80': no address, expected one as in 10.0.0.1, 10.0.0.0/8:443, [::1]:80-99 or *:53
		--user no-such|--user 'no-such': no such user, expected a name or a number
		--sctp|no option '--sctp'; see portfence check --help
		another|'another' is one argument too many
		--udp|--user, --to and --udp want --for PROGRAM
	EOF
	run -0 --separate-stderr "$PORTFENCE" check --help
	[ "${lines[0]}" = 'Usage: portfence check [OPTION]... [FILE]' ]
}

# --- which file ---------------------------------------------------------------------------------------

@test "without a file, check takes \$PORTFENCE_POLICY_FILE, then the user's own, then the system's" {
	home=$(scratch)/home etc=$(scratch)/etc
	mkdir -p "$home/.config" "$etc"
	cp /etc/passwd /etc/group "$etc"
	for where in file home etc; do
		printf '[pool %s]\nports = 20000\n' $where >"$(scratch)/$where.conf"
	done
	mv "$(scratch)/home.conf" "$home/.config/portfence.conf"
	mv "$(scratch)/etc.conf" "$etc/portfence.conf"
	# The /etc of this command only is ours.
	which()
	{
		# shellcheck disable=SC2016 # the inner shell's
		run --separate-stderr env HOME="$home" "$@" unshare --mount \
			sh -c 'mount --bind "$1" /etc && exec "$2" check' sh "$etc" "$PORTFENCE"
	}
	which PORTFENCE_POLICY_FILE="$(scratch)/file.conf"
	[ "${lines[1]%% *}" = file ]
	which PORTFENCE_POLICY_FILE=
	[ "${lines[1]%% *}" = home ]
	rm "$home/.config/portfence.conf"
	which
	[ "${lines[1]%% *}" = etc ]
	rm "$etc/portfence.conf"
	which
	[ "$status" -eq 125 ]
	[ "$stderr" = 'portfence: check: no policy file; expected one, or ~/.config/portfence.conf' ]
	which PORTFENCE_POLICY_FILE=/no/such
	[ "$stderr" = 'portfence: /no/such: No such file or directory' ]
}

@test "a file that cannot be read, or is none, is refused in one line" {
	printf '[pool a]\nports = 20000\n' >"$FILE"
	chmod 000 "$FILE"
	mkdir "$BATS_TEST_TMPDIR/folder"
	head -c 2000000 /dev/zero | tr '\0' '#' >"$BATS_TEST_TMPDIR/big"
	refused()
	{
		run --separate-stderr setpriv --reuid=65534 "$PORTFENCE" check "$1"
		[ "$status" -eq 125 ]
		[ -z "$output" ]
		[ "$stderr" = "portfence: $1: $2" ]
	}
	refused "$FILE" 'Permission denied'
	refused "$BATS_TEST_TMPDIR/folder" 'Is a directory'
	refused "$BATS_TEST_TMPDIR/big" 'more than 1 MiB, expected a policy'
	refused /dev/zero 'more than 1 MiB, expected a policy'
	refused /no/such 'No such file or directory'
}

@test "a policy may come through a pipe" {
	run -0 "$PORTFENCE" check /dev/stdin < <(printf '[pool a]\nports = 20000\n')
	[ "$(pool_says a PORTS)" = 20000 ]
}

# --- what is refused ----------------------------------------------------------------------------------

# Prints what a line of tests/policy/malformed stands for.
policy_of()
{
	local policy=$1
	case $policy in '+'*) policy='[pool a]\nports = 20000-20999\n'${policy#+} ;; esac
	printf '%b' "$policy"
}

@test "a hundred malformed policies each give one clear line and exit status 125" {
	export EMPTY='' LONG
	LONG=/$(printf 'x%.0s' {1..299})
	unset NOT_THERE
	count=0
	while IFS= read -r line; do
		case $line in
		'#'*) ;;
		$'\t'*)
			echo "$policy: $line"
			assert_refused "${line#?}" < <(policy_of "$policy")
			count=$((count + 1))
			;;
		*) policy=$line ;;
		esac
	done <"$ROOT/tests/policy/malformed"
	echo "$count policies"
	[ $count -ge 100 ]
}

@test "all that is wrong is said, in the order of the lines" {
	assert_refused "1:1: 'size': before the first section, expected [pool NAME] or the like above it
3:1: 'prots': no such key, did you mean 'ports'?
4:8: '60x': no duration, expected a number and ms, s, m or h, as in 60s
6:17: 'dney': no such value, did you mean 'deny'?
8:2: 'pol': no such section, did you mean 'pool'?
11:8: 'wbe': no such pool, did you mean 'web'?
13:3: '10.0.0.1/8': bits beyond the first 8 are set, expected 0s
14:8: 'nobody-here': no such user, expected a name or a number
15:1: '[pool web': no ']', expected [pool NAME], [rule NAME] or [segment]" <<-'EOF'
		size = 3
		[pool web]
		prots = 20000
		hold = 60x
		[pool b]
		explicit-bind = dney
		ports = 20001
		[pol x]
		ports = nonsense
		[rule a]
		pool = wbe
		destination = 127.0.0.1
		  10.0.0.1/8
		user = nobody-here
		[pool web
	EOF
}

@test "more pools and rules than there may be are refused, and so is each further one" {
	pools=$(for i in {1..18}; do printf '[pool p%d]\nports = %d\n' "$i" "$((20000 + i))"; done)
	rules=$(for i in {1..65}; do printf '[rule r%d]\nuser = %d\npool = p1\n' "$i" "$i"; done)
	assert_refused "33:2: 'pool p17': one too many, expected 16 at the most
35:2: 'pool p18': one too many, expected 16 at the most" <<<"$pools"
	assert_refused "225:2: 'rule r65': one too many, expected 64 at the most" <<<"$(head -n 32 <<<"$pools")
$rules"
	check <<<"$(head -n 32 <<<"$pools")
$(head -n 192 <<<"$rules")"
	[ "$status" -eq 0 ]
}

@test "ports that only privileged programs get are accepted, with a warning" {
	netns_new
	echo $'[pool low]\nports = 600-700\n[pool high]\nports = 1024' >"$FILE"
	run --separate-stderr net "$PORTFENCE" check "$FILE"
	[ "$status" -eq 0 ]
	[ "$stderr" = "portfence: $FILE: pool 'low' has ports below 1024, which only privileged programs get" ]
	net sh -c 'echo 600 >/proc/sys/net/ipv4/ip_unprivileged_port_start'
	run --separate-stderr net "$PORTFENCE" check "$FILE"
	[ -z "$stderr" ]
}
