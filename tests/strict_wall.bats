#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# run --strict behind a firewall that drops, and counts, whatever leaves from outside the pool.

# shellcheck disable=SC2154,SC2030,SC2031 # `run` sets output and status
# shellcheck disable=SC2016 # shells inside have variables of their own
load test_helper

setup_file()
{
	local dir
	dir=$(scratch)
	# The servers are elsewhere, so that their answers do not meet the wall.
	netns_new
	export CLIENT=$NETNS SERVER=$NETNS-server
	ip netns add "$SERVER"
	ip -n "$SERVER" link set lo up
	ip -n "$CLIENT" link add wall0 type veth peer name wall1 netns "$SERVER"
	ip -n "$CLIENT" address add 10.98.0.1/24 dev wall0
	ip -n "$SERVER" address add 10.98.0.2/24 dev wall1
	ip -n "$CLIENT" link set wall0 up
	ip -n "$SERVER" link set wall1 up
	NETNS=$SERVER
	serve_on 8000 /usr/bin/python3 -m http.server --directory "$BATS_TEST_DIRNAME/probe" 8000
	serve_on 53 dnsmasq -k -C /dev/null --no-resolv --no-hosts --listen-address=10.98.0.2 \
		--bind-interfaces --address=/test/10.98.0.2 --local=/test/ --pid-file= --user=root
	start_sshd "$dir"
	NETNS=$CLIENT
	printf '%s\n' 'nameserver 10.98.0.2' 'options timeout:1 attempts:1' >"$dir/resolv.conf"
	musl-gcc -static -o "$dir/musl" "$BATS_TEST_DIRNAME/strict/dial.c"
	HOME=$dir GO111MODULE=off CGO_ENABLED=0 GOFLAGS='' \
		go build -o "$dir/go" "$BATS_TEST_DIRNAME/strict/get.go"
	cat >"$dir/Get.java" <<-'EOF'
		public class Get {
			public static void main(String[] args) throws Exception {
				byte[] page = new java.net.URI(args[0]).toURL().openStream().readAllBytes();
				System.out.println(page.length > 0);
			}
		}
	EOF
	javac -d "$dir" "$dir/Get.java"
}

start_sshd()
{
	mkdir -p /run/sshd
	ssh-keygen -q -t ed25519 -N '' -f "$1/host"
	ssh-keygen -q -t ed25519 -N '' -f "$1/user"
	printf '%s\n' 'Port 2222' "HostKey $1/host" "AuthorizedKeysFile $1/user.pub" 'PidFile none' \
		'StrictModes no' 'UsePAM no' 'PermitRootLogin yes' >"$1/sshd_config"
	printf '%s\n' 'Host *' 'Port 2222' 'User root' "IdentityFile $1/user" 'IdentitiesOnly yes' \
		'UserKnownHostsFile /dev/null' 'StrictHostKeyChecking no' 'LogLevel ERROR' >"$1/ssh_config"
	serve_on 2222 /usr/sbin/sshd -D -e -f "$1/sshd_config"
}

teardown_file()
{
	servers_end
	NETNS=$SERVER netns_end
	NETNS=$CLIENT netns_end
}

setup()
{
	DIR=$BATS_FILE_TMPDIR
	pool_dir_new
	cd "$(scratch)" || return
}

teardown()
{
	servers_end
}

# Puts up a wall with a gate: wall RANGES
wall()
{
	net nft -f - <<-EOF
		table inet wall
		delete table inet wall
		table inet wall {
			counter by_tcp { }
			counter by_dns { }
			counter by_udp { }
			chain output {
				type filter hook output priority 0;
				tcp sport != $1 counter name by_tcp drop
				udp sport != $1 udp dport 53 counter name by_dns drop
				udp sport != $1 counter name by_udp drop
			}
		}
	EOF
}

# What the wall dropped: "TCP UDP-TO-PORT-53 OTHER-UDP".
dropped()
{
	net nft -j list counters | /usr/bin/python3 -c '
import json, sys
found = {c["counter"]["name"]: c["counter"]["packets"] for c in json.load(sys.stdin)["nftables"] if "counter" in c}
print(found["by_tcp"], found["by_dns"], found["by_udp"])'
}

# Runs a command in a strict run behind the wall, with each claim: it must work, and nothing be
# dropped.
assert_passes()
{
	local pool
	for pool in "$BIND_POOL" "$LATE_POOL"; do
		wall "$pool"
		net "${NAMES[@]}" "$PORTFENCE" run --strict --ports "$pool" -- "$@"
		echo "$pool: $*: dropped $(dropped)"
		[ "$(dropped)" = '0 0 0' ]
	done
}

@test "curl by host name" {
	assert_passes curl -sSf -o page http://host.test:8000/raw.c
	cmp page "$BATS_TEST_DIRNAME/probe/raw.c"
}

@test "curl by host name without --strict: its queries are dropped, and nothing else" {
	wall "$BIND_POOL"
	run net "${NAMES[@]}" "$PORTFENCE" run --ports "$BIND_POOL" -- \
		curl -sS -o page http://host.test:8000/raw.c
	[ "$status" -eq 6 ] # no such host
	grep -Ex '0 [1-9][0-9]* 0' <<<"$(dropped)"
}

# Runs a command without --strict, whatever it is; what the wall drops must match. The kernel does
# not choose from the pool, so nothing is in it by chance: assert_escapes PATTERN COMMAND...
assert_escapes()
{
	local pattern=$1
	shift
	wall "$BIND_POOL"
	run net "${NAMES[@]}" timeout 2 "$PORTFENCE" run --force --ports "$BIND_POOL" -- "$@"
	echo "$*: $status, dropped $(dropped)"
	grep -Ex "$pattern" <<<"$(dropped)"
}

@test "without --strict, names are not resolved: the queries are dropped, and nothing else" {
	for client in "$DIR/go http://host.test:8000/raw.c" "$DIR/musl host.test 8000" \
		"busybox wget -qO page http://host.test:8000/raw.c" \
		"java -cp $DIR Get http://host.test:8000/raw.c" "ssh -F $DIR/ssh_config host.test true" \
		"curl -sS -o page http://host.test:8000/raw.c"; do
		# shellcheck disable=SC2086 # words
		assert_escapes '0 [1-9][0-9]* 0' $client
		[ "$status" -ne 0 ]
	done
}

@test "without --strict, by address: connections of Go and static programs are dropped, no others" {
	for client in "$DIR/go http://10.98.0.2:8000/raw.c" "$DIR/musl 10.98.0.2 8000" \
		"busybox wget -qO page http://10.98.0.2:8000/raw.c"; do
		# shellcheck disable=SC2086 # words
		assert_escapes '[1-9][0-9]* 0 0' $client
	done
	for client in "java -cp $DIR Get http://10.98.0.2:8000/raw.c" \
		"ssh -F $DIR/ssh_config 10.98.0.2 true" \
		"curl -sS -o page http://10.98.0.2:8000/raw.c"; do
		# shellcheck disable=SC2086 # words
		assert_escapes '0 0 0' $client
		[ "$status" -eq 0 ]
	done
}

@test "a Go client by host name" {
	assert_passes "$DIR/go" http://host.test:8000/raw.c
}

@test "a static client of musl by host name" {
	assert_passes "$DIR/musl" host.test 8000
}

@test "Python by host name" {
	assert_passes /usr/bin/python3 -c '
import urllib.request
assert urllib.request.urlopen("http://host.test:8000/raw.c").read()'
}

@test "Java by host name" {
	assert_passes java -cp "$DIR" Get http://host.test:8000/raw.c
}

@test "ssh by host name" {
	assert_passes ssh -F "$DIR/ssh_config" host.test true
}

@test "busybox, static, by host name" {
	assert_passes busybox wget -qO page http://host.test:8000/raw.c
}
