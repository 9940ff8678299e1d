#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Real programs: every source port they use, seen on the wire or by their server, is in the pool.

load test_helper

setup_file()
{
	local dir
	netns_new
	dir=$(scratch)
	cat >"$dir/nginx.conf" <<-EOF
		daemon off; worker_processes 1; pid $dir/nginx.pid; error_log stderr warn;
		events { }
		http {
			log_format port '\$remote_port'; access_log $dir/ports port;
			server { listen 8080; listen [::]:8080; return 200 "ok\n"; }
		}
	EOF
	serve_on 8080 nginx -c "$dir/nginx.conf"
	serve_on 7000 "$PROBE/sink" 7000
	serve_on 6379 redis-server --port 6379 --bind 127.0.0.1 --save ''
	serve_on 53 dnsmasq -k -C /dev/null --no-resolv --no-hosts --listen-address=127.0.0.1 \
		--bind-interfaces --address=/test/127.0.0.1 --pid-file= --user=root
	start_postgres "$dir"
	start_sshd "$dir"
}

start_postgres()
{
	local bin
	bin=$(echo /usr/lib/postgresql/*/bin)
	install -d -o postgres "$1/pg"
	(cd "$1/pg" && runuser -u postgres -- "$bin/initdb" -D "$1/pg/d" -A trust) >/dev/null
	serve_on 5432 setpriv --reuid=postgres --regid=postgres --clear-groups \
		"$bin/postgres" -D "$1/pg/d" -k "$1/pg" -c listen_addresses=127.0.0.1 -c fsync=off
}

start_sshd()
{
	mkdir -p /run/sshd "$1/ssh"
	ssh-keygen -q -t ed25519 -N '' -f "$1/ssh/host"
	ssh-keygen -q -t ed25519 -N '' -f "$1/ssh/user"
	cat >"$1/ssh/sshd_config" <<-EOF
		Port 2222
		ListenAddress 127.0.0.1
		HostKey $1/ssh/host
		AuthorizedKeysFile $1/ssh/user.pub
		PidFile none
		StrictModes no
		UsePAM no
		PermitRootLogin yes
	EOF
	cat >"$1/ssh/ssh_config" <<-EOF
		Host *
		Port 2222
		User root
		IdentityFile $1/ssh/user
		IdentitiesOnly yes
		UserKnownHostsFile /dev/null
		StrictHostKeyChecking no
		LogLevel ERROR
	EOF
	serve_on 2222 /usr/sbin/sshd -D -e -f "$1/ssh/sshd_config"
}

teardown_file()
{
	world_end
}

setup()
{
	pool_dir_new
	cd "$BATS_TEST_TMPDIR" || return
}

teardown()
{
	servers_end
}

@test "curl takes its ports from the pool" {
	assert_fenced curl -sSf -o page http://127.0.0.1:8080/
	assert_fenced curl -sSfg -o page 'http://[::1]:8080/'
}

@test "curl --parallel takes as many ports as it has connections (trap 13c)" {
	assert_fenced curl -sSfZ --parallel-immediate -o page 'http://127.0.0.1:8080/?[1-20]'
	[ "$(wire_sources | sort -u | wc -l)" -eq 20 ]
}

@test "curl --interface binds its address and takes its port from the pool" {
	assert_fenced curl -sSf --interface 127.0.0.1 -o page http://127.0.0.1:8080/
}

@test "nginx sees curl come from the pool" {
	: >"$BATS_FILE_TMPDIR/ports"
	fence "$BIND_POOL" curl -sSf -o page 'http://127.0.0.1:8080/?[1-5]' -H 'Connection: close'
	assert_ports_in "$BIND_POOL" <"$BATS_FILE_TMPDIR/ports"
}

@test "strace shows no port of curl outside the pool" {
	net strace -f -qq -yy -e trace=%network,close -o log \
		"$PORTFENCE" run --ports "$BIND_POOL" -- curl -sSf -o page http://127.0.0.1:8080/
	strace_ports log | assert_ports_in "$BIND_POOL"
}

@test "wget takes its ports from the pool" {
	assert_fenced wget -qO page http://127.0.0.1:8080/
	assert_fenced wget -qO page --bind-address=127.0.0.1 http://127.0.0.1:8080/
}

@test "Python urllib takes its ports from the pool" {
	assert_fenced /usr/bin/python3 -c \
		'import urllib.request as r; r.urlopen("http://127.0.0.1:8080/").read()'
}

@test "Python asyncio takes its ports from the pool" {
	cat >client.py <<-'EOF'
		import asyncio

		async def get():
		    reader, writer = await asyncio.open_connection("127.0.0.1", 8080)
		    writer.write(b"GET / HTTP/1.0\r\n\r\n")
		    assert b"200" in await reader.read()
		    writer.close()

		async def main():
		    await asyncio.gather(*[get() for _ in range(20)])

		asyncio.run(main())
	EOF
	assert_fenced /usr/bin/python3 client.py
}

@test "Node http takes its ports from the pool (trap 13e)" {
	assert_fenced node -e \
		'require("http").get("http://127.0.0.1:8080/", r => r.resume().on("end", process.exit))'
}

@test "Java HttpClient, Socket and DatagramSocket take their ports from the pool" {
	cat >Client.java <<-'EOF'
		import java.net.*;
		import java.net.http.*;

		public class Client {
			public static void main(String[] a) throws Exception {
				var request = HttpRequest.newBuilder(URI.create("http://127.0.0.1:8080/")).build();
				var handler = HttpResponse.BodyHandlers.ofString();
				if (HttpClient.newHttpClient().send(request, handler).statusCode() != 200)
					System.exit(1);
				new Socket("127.0.0.1", 8080).close();
				var to = new InetSocketAddress("127.0.0.1", 7000);
				new DatagramSocket().send(new DatagramPacket(new byte[1], 1, to));
				System.exit(0);
			}
		}
	EOF
	javac Client.java
	assert_fenced java -cp . Client
	grep -q '^udp' "$WIRE"
}

@test "OpenBSD netcat takes its TCP and UDP ports from the pool" {
	assert_fenced nc.openbsd -z 127.0.0.1 8080
	assert_fenced sh -c 'echo x | nc.openbsd -u -q0 127.0.0.1 7000'
}

@test "ssh takes its port from the pool, as its server sees" {
	config=$BATS_FILE_TMPDIR/ssh/ssh_config
	assert_fenced ssh -F "$config" 127.0.0.1 true
	# shellcheck disable=SC2016 # the other side's variable
	fence "$BIND_POOL" ssh -F "$config" 127.0.0.1 'echo $SSH_CLIENT' |
		cut -d' ' -f2 | assert_ports_in "$BIND_POOL"
}

@test "psql takes its port from the pool, as its server sees" {
	assert_fenced psql -h 127.0.0.1 -U postgres -c 'select 1'
	fence "$BIND_POOL" psql -h 127.0.0.1 -U postgres -Atc 'select inet_client_port()' |
		assert_ports_in "$BIND_POOL"
}

@test "redis-cli takes its port from the pool, as its server sees" {
	assert_fenced redis-cli ping
	fence "$BIND_POOL" redis-cli client info | sed 's/.* addr=[^:]*:\([0-9]*\).*/\1/' |
		assert_ports_in "$BIND_POOL"
}

@test "dig takes its UDP and TCP ports from the pool (trap 13e)" {
	assert_fenced dig +short @127.0.0.1 a.test
	grep -q '^udp' "$WIRE"
	assert_fenced dig +short +tcp @127.0.0.1 a.test
}

@test "drill, which never binds its socket, takes its port from the pool (trap 13d)" {
	assert_fenced drill @127.0.0.1 a.test
	grep -q '^udp' "$WIRE"
}

@test "socat takes its UDP ports from the pool (trap 13d)" {
	assert_fenced sh -c 'echo x | socat -u - UDP4-SENDTO:127.0.0.1:7000'
	assert_fenced sh -c 'echo x | socat -u - UDP4:127.0.0.1:7000'
	assert_fenced sh -c 'echo x | socat -u - UDP6:[::1]:7000'
}

@test "ab, which connects again while it is connecting, takes one port a connection (trap 13a)" {
	assert_fenced ab -q -n 200 -c 10 http://127.0.0.1:8080/
	[ "$(wire_sources | wc -l)" -ge 200 ]
}

@test "iperf3 with four streams, TCP and UDP, client and server in one pool (traps 13a, 13c)" {
	for pool in "$BIND_POOL" "$LATE_POOL"; do
		serve_on 5201 "$PORTFENCE" run --ports "$pool" -- iperf3 -s
		server=$PID
		wire_start
		fence "$pool" iperf3 -c 127.0.0.1 -P 4 -n 1M
		fence "$pool" iperf3 -u -c 127.0.0.1 -P 4 -n 100K
		wire_end
		grep -v '^udp 5201 ' "$WIRE" | grep -E '^(tcp|udp)' | cut -d' ' -f2 | assert_ports_in "$pool"
		companion_end "$server"
		[ "$(status_of LEASED)" -eq 0 ]
		rm "$PORTFENCE_DIR"/*
	done
}
