#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# What is exported, as those take it that it is for: nft, iptables, sysctl, promtool, YAML.

# shellcheck disable=SC2016,SC2154 # shells inside have variables of their own; `run` sets stderr

load test_helper

setup()
{
	world_new
	HOSTS=()
	cd "$(scratch)" || return
	cat >policy.conf <<-'EOP'
		[pool web]
		ports = 20000-20999, 22000
		[pool backup-2.0]
		ports = 21000-21099
		protocols = tcp
		[rule backup]
		destination = 10.98.0.2:8081 [fe80::]/10:443
		pool = backup-2.0
		[rule web]
		pool = web
	EOP
}

teardown()
{
	servers_end
	for namespace in "${HOSTS[@]}"; do
		ip netns delete "$namespace"
	done
	netns_end
}

export_policy()
{
	net "$PORTFENCE" export "$@" --policy policy.conf
}

# Gives the namespace 10.98.0.1 and a neighbour, 10.98.0.2, that answers every connection to 8080
# and 8081 with where it came from.
peer_new()
{
	local PEER=$NETNS-peer
	ip netns add "$PEER"
	HOSTS+=("$PEER")
	ip -n "$NETNS" link add out0 type veth peer name in0 netns "$PEER"
	ip -n "$NETNS" address add 10.98.0.1/24 dev out0
	ip -n "$PEER" address add 10.98.0.2/24 dev in0
	ip -n "$NETNS" link set out0 up
	ip -n "$PEER" link set in0 up
	ip -n "$PEER" link set lo up
	serve nsenter --net="/run/netns/$PEER" /usr/bin/python3 -uc 'if True:
		import select, socket
		families = ("", socket.AF_INET), ("::", socket.AF_INET6)
		listeners = [socket.create_server((address, port), family=family)
		    for port in (8080, 8081) for address, family in families]
		print("up")
		while True:
		    for listener in select.select(listeners, [], [])[0]:
		        connection, address = listener.accept()
		        connection.sendall(f"HTTP/1.0 200 OK\r\n\r\n{address[0]} {address[1]}\n".encode())
		        connection.shutdown(socket.SHUT_WR)
		        connection.recv(4096)
		        connection.close()'
	wait_for_line '^up$'
}

# Asks the neighbour, in the fence of the policy.
ask_fenced()
{
	net "$PORTFENCE" run --policy policy.conf -- curl -s -m 10 "http://10.98.0.2:${1:-8080}/"
}

@test "an exported nft filter lets out what is fenced and drops the same program unfenced" {
	peer_new
	export_policy nft | net nft -c -f -
	export_policy nft --filter | net nft -f -
	export_policy nft --filter | net nft -f - # once more: replaced, not doubled
	[ "$(net nft list chain inet portfence outgoing | grep -c accept)" -eq 1 ]
	run -0 ask_fenced 8080
	assert_ports_in 20000-20999,22000 <<<"${output#* }"
	run -0 ask_fenced 8081
	assert_ports_in 21000-21099 <<<"${output#* }"
	run net curl -s -m 0.5 http://10.98.0.2:8080/
	[ "$status" -eq 28 ]
	[ "$(net nft list chain inet portfence outgoing | sed -n 's/.*packets \([0-9]*\).*/\1/p')" -ge 1 ]
}

@test "an SNAT rule on an exported set gives each pool its own address" {
	peer_new
	ip -n "$NETNS" address add 10.98.0.11/24 dev out0
	ip -n "$NETNS" address add 10.98.0.12/24 dev out0
	{
		export_policy nft
		cat <<-'EOF'
			table inet portfence {
				chain postrouting {
					type nat hook postrouting priority srcnat
					ip protocol tcp th sport @pool-web snat ip to 10.98.0.11
					ip protocol tcp th sport @pool-backup-2.0 snat ip to 10.98.0.12
				}
			}
		EOF
	} | net nft -f -
	[[ $(ask_fenced 8080) == '10.98.0.11 '* ]]
	[[ $(ask_fenced 8081) == '10.98.0.12 '* ]]
	[[ $(net curl -s -m 10 http://10.98.0.2:8080/) == '10.98.0.1 '* ]]
}

# Adds a host 10.97.N.2 in a namespace of its own, which the neighbour sees as 10.98.0.1: host_new N
host_new()
{
	ip netns add "$NETNS-host$1"
	HOSTS+=("$NETNS-host$1")
	ip -n "$NETNS" link add "host$1" type veth peer name out0 netns "$NETNS-host$1"
	ip -n "$NETNS" address add "10.97.$1.1/24" dev "host$1"
	ip -n "$NETNS-host$1" address add "10.97.$1.2/24" dev out0
	ip -n "$NETNS" link set "host$1" up
	ip -n "$NETNS-host$1" link set out0 up
	ip -n "$NETNS-host$1" route add default via "10.97.$1.1"
}

@test "two hosts behind one address, with a slice each, never meet at a port" {
	peer_new
	net sysctl -qw net.ipv4.ip_forward=1
	# Ports are kept where they are free, so what the neighbour sees is what the hosts chose.
	net nft -f - <<-'EOF'
		table ip shared {
			chain postrouting {
				type nat hook postrouting priority srcnat
				oifname "out0" masquerade
			}
		}
	EOF
	printf '%s\n' '[pool default]' 'ports = 20000-20009' 'slice = ${SLICE}/2' 'sharing = none' >policy.conf
	for host in 0 1; do
		host_new "$host"
		mkdir "shm.$host"
		for _ in {1..5}; do
			SLICE=$host PORTFENCE_DIR=$PWD/shm.$host nsenter --net="/run/netns/$NETNS-host$host" -- \
				"$PORTFENCE" run --policy policy.conf -- curl -s -m 10 http://10.98.0.2:8080/
		done >"answers.$host"
		[ "$(grep -c '^10.98.0.1 ' "answers.$host")" -eq 5 ]
	done
	cut -d' ' -f2 answers.0 | assert_ports_in 20000-20004
	cut -d' ' -f2 answers.1 | assert_ports_in 20005-20009
	[ "$(sort -u answers.0 answers.1 | wc -l)" -eq 10 ]
}

# Loads an exported iptables chain, and has the rules made that its comment says lead there:
# iptables_load FAMILY FILE
iptables_load()
{
	net "$1-restore" -n "$2"
	sed -n 's/^#   //p' "$2" | sed "s/iptables/$1/g" | net sh -e
}

@test "an exported iptables chain is taken by both families, and filters" {
	export_policy iptables >chain.rules
	export_policy iptables --filter >filter.rules
	for family in iptables ip6tables; do
		net $family -A OUTPUT -p tcp --dport 1 -j DROP
		net $family-restore -n -t chain.rules
		for file in chain.rules filter.rules filter.rules; do # once more: replaced, not doubled
			iptables_load $family $file
		done
		[ "$(net $family -S PORTFENCE | grep -c 'sport')" -eq 5 ]
		[ "$(net $family -S OUTPUT | grep -c 'j PORTFENCE')" -eq 2 ]
		[ "$(net $family -S OUTPUT | grep -c 'j DROP')" -eq 1 ]
	done
	peer_new
	run -0 ask_fenced 8080
	run net curl -s -m 0.5 http://10.98.0.2:8080/
	[ "$status" -eq 28 ]
}

# Writes a policy with rules that leave calls to the kernel, before and behind others.
policy_unfenced()
{
	cat >policy.conf <<-'EOP'
		[pool default]
		ports = 20000-20999
		[rule one]
		destination = 10.98.0.3
		protocol = tcp
		pool = default
		[rule inside]
		destination = 127.0.0.0/8 ::1 10.98.0.3:8080-8081 [fd98::]/64:8081
		pool = none
		[rule two]
		destination = 10.98.0.2:8081
		pool = none
		[rule names]
		destination = *:53
		protocol = udp
		pool = none
		[rule python]
		program = python3*
		destination = 10.98.0.2
		pool = none
		[rule daemons]
		user = nobody
		pool = none
	EOP
}

# Gives the neighbour an answer to datagrams: udp_answers_on ADDRESS PORT
udp_answers_on()
{
	serve nsenter --net="/run/netns/$NETNS-peer" /usr/bin/python3 -uc 'if True:
		import socket, sys
		answering = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
		answering.bind((sys.argv[1], int(sys.argv[2])))
		print("up")
		while True:
		    answering.sendto(b"answer", answering.recvfrom(64)[1])' "$@"
	wait_for_line '^up$'
}

# Asks over UDP, unfenced, from a port that the kernel chooses: ask_udp ADDRESS PORT
ask_udp()
{
	net /usr/bin/python3 -c 'if True:
		import socket, sys
		asking = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
		asking.settimeout(0.5)
		asking.connect((sys.argv[1], int(sys.argv[2])))
		asking.send(b"question")
		asking.recv(64)' "$@"
}

# Fails unless what the policy leaves to the kernel is let out, and nothing else is.
assert_unfenced()
{
	local answer
	# Loopback.
	for address in 127.0.0.1 '[::1]'; do
		net "$PORTFENCE" run --policy policy.conf -- curl -s -m 2 -o answer "http://$address:8080/"
	done
	# Destinations and their ports, of the first rule that is about them.
	answer=$(ask_fenced 8081)
	[ "${answer#* }" -gt 20999 ] # the kernel's choice
	run -28 net curl -s -m 0.5 http://10.98.0.2:8080/
	run -28 net curl -s -m 0.5 http://10.98.0.3:8080/
	net "$PORTFENCE" run --policy policy.conf -- curl -s -m 2 http://10.98.0.3:8080/ >answer
	cut -d' ' -f2 answer | assert_ports_in 20000-20999
	run -0 net curl -s -m 2 'http://[fd98::2]:8081/'
	run -28 net curl -s -m 0.5 'http://[fd98::2]:8080/'
	# Protocols: rule one is about TCP alone.
	ask_udp 10.98.0.2 53
	run ! ask_udp 10.98.0.2 54
	ask_udp 10.98.0.3 8080
}

# A neighbour with what assert_unfenced asks for, and a listener on this host.
peers_new()
{
	peer_new
	ip -n "$NETNS-peer" address add 10.98.0.3/24 dev in0
	ip -n "$NETNS" address add fd98::1/64 dev out0 nodad
	ip -n "$NETNS-peer" address add fd98::2/64 dev in0 nodad
	udp_answers_on 10.98.0.2 53
	udp_answers_on 10.98.0.2 54
	udp_answers_on 10.98.0.3 8080
	serve_on 8080 /usr/bin/python3 -m http.server --bind :: 8080
}

@test "an exported nft filter lets out what the policy leaves to the kernel" {
	policy_unfenced
	peers_new
	export_policy nft --filter >filter.nft
	net nft -f filter.nft
	assert_unfenced
	# What it does not let out, it says.
	[ "$(grep -c '^# .*all programs of this host' filter.nft)" -eq 1 ]
	[ "$(grep -c '^# Rule .* left out' filter.nft)" -eq 2 ]
	grep '^# Rule python is left out' filter.nft
	grep '^# Rule daemons is left out' filter.nft
}

@test "an exported iptables filter lets out what the policy leaves to the kernel, in both families" {
	policy_unfenced
	peers_new
	export_policy iptables --filter >filter.rules
	for family in iptables ip6tables; do
		iptables_load $family filter.rules
	done
	assert_unfenced
	[ "$(grep -c '^# .*all programs of this host' filter.rules)" -eq 1 ]
	[ "$(grep -c '^# Rule .* left out' filter.rules)" -eq 2 ]
}

@test "an exported sysctl keeps what was reserved, and adds the pools" {
	ip netns exec "$NETNS" sysctl -qw net.ipv4.ip_local_reserved_ports=22,21050-21199
	export_policy sysctl >reserved.conf
	net sysctl -qp reserved.conf
	[ "$(net sysctl -n net.ipv4.ip_local_reserved_ports)" = 22,20000-21199,22000 ]
}

@test "exported Suricata variables are YAML, with the ports and the destinations" {
	export_policy suricata >vars.yaml
	run -0 /usr/bin/python3 -c 'if True:
		import yaml
		v = yaml.safe_load(open("vars.yaml"))["vars"]
		print(v["port-groups"]["PORTFENCE_WEB"], v["port-groups"]["PORTFENCE_BACKUP_2_0"])
		print(v["address-groups"]["PORTFENCE_BACKUP"])'
	[ "${lines[0]}" = '[20000:20999,22000] [21000:21099]' ]
	[ "${lines[1]}" = '[10.98.0.2/32,fe80::/10]' ]
}

@test "names that would be one Suricata variable are refused in one line" {
	printf '%s\n' '[pool a.b]' 'ports = 1' '[pool c]' 'ports = 2' '[pool A-B]' 'ports = 3' >policy.conf
	run --separate-stderr export_policy suricata
	[ "$status" -eq 125 ]
	[ -z "$output" ]
	assert_one_line "pools 'a.b' and 'A-B' are both PORTFENCE_A_B"
	run -0 export_policy nft
	printf '%s\n' '[pool a]' 'ports = 1' '[rule a]' 'destination = ::1' 'pool = a' \
		'[rule x_1]' 'program = p' 'pool = a' '[rule x.1]' 'destination = ::2' 'pool = a' >policy.conf
	run -0 export_policy suricata # rule x_1 is no address group
	printf '%s\n' '[rule x-1]' 'destination = ::3' 'pool = a' >>policy.conf
	run --separate-stderr export_policy suricata
	[ "$status" -eq 125 ]
	[ -z "$output" ]
	assert_one_line "rules 'x.1' and 'x-1' are both PORTFENCE_X_1"
}

@test "exported metrics are what promtool wants, as a text and over HTTP" {
	sink_start 8080
	serve "$PORTFENCE" run --policy policy.conf -- curl -s -m 30 telnet://127.0.0.1:8080
	wait_for 5 eval '[ "$(tcp_local_ports "dport = :8080" | wc -l)" -eq 1 ]'
	net "$PORTFENCE" export prometheus >metrics
	grep -E '^portfence_pool_leases\{pool="web",segment="[^"]*"\} 1$' metrics
	grep -E '^portfence_pool_ports\{pool="backup-2.0",segment="[^"]*"\} 100$' metrics
	# shellcheck disable=SC2094 # check is no file
	promtool check metrics <metrics
	serve_on 9100 "$PORTFENCE" export prometheus --listen 127.0.0.1:9100
	net curl -s http://127.0.0.1:9100/metrics | cmp - metrics
	[ "$(net curl -s -o answer -w '%{http_code}' http://127.0.0.1:9100/)" -eq 404 ]
	[ "$(net curl -s -o answer -w '%{http_code}' -d x http://127.0.0.1:9100/metrics)" -eq 405 ]
	kill "$PID"
	wait "$PID"
	run --separate-stderr net "$PORTFENCE" export prometheus --listen 127.0.0.1:8080
	[ "$status" -eq 125 ]
	assert_one_line '127.0.0.1:8080: Address already in use'
}

@test "what export cannot do it says in one line" {
	for arguments in '' 'nft iptables' 'html' 'prometheus --ports 1' 'nft --listen 127.0.0.1:1' \
		'prometheus --listen localhost:1' 'prometheus --listen 127.0.0.1' 'nft --policy' 'nft --ports x' \
		'nft --ports 1 --policy policy.conf' 'nft --policy /none' 'nft --colour'; do
		# shellcheck disable=SC2086 # words
		run --separate-stderr net "$PORTFENCE" export $arguments
		[ "$status" -eq 125 ]
		assert_one_line
	done
	run -0 "$PORTFENCE" export --help
	run -0 net "$PORTFENCE" export nft --ports 20000-20999
	[[ $output == *'set pool-default {'* ]]
}
