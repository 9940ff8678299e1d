#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Real programs that fork, change their user, reload and lose workers: inside the fence they work as
# outside, their ports are right before, during and after, and at the end no port is leased.

# shellcheck disable=SC2154 # `run` sets stderr
# shellcheck disable=SC2030,SC2031 # each test is a process of its own

load test_helper

setup()
{
	world_new
	cd "$BATS_TEST_TMPDIR" || return
}

teardown()
{
	world_end
}

# Ends the companion and checks that it left nothing.
assert_ends_clean()
{
	companion_end "$1"
	wait_for 10 no_lease_left
}

# Starts a server inside a pool: serve_fenced RANGES PORT COMMAND...
serve_fenced()
{
	local ranges=$1 port=$2
	shift 2
	serve_on "$port" "$PORTFENCE" run --ports "$ranges" -- "$@"
}

# The ports on the wire from which PORT was called are COUNT at least, all of the pool.
assert_called_from()
{
	awk -v port="$1" '$1 == "tcp" && $3 == port { print $2 }' "$WIRE" >sources
	[ "$(wc -l <sources)" -ge "$3" ]
	assert_ports_in "$2" <sources
}

# --- OpenSSH ------------------------------------------------------------------------------------

# Makes the keys and the configuration of a server on port 2222 and of its client.
ssh_prepare()
{
	mkdir -p /run/sshd
	ssh-keygen -q -t ed25519 -N '' -f host
	ssh-keygen -q -t ed25519 -N '' -f user
	printf '%s\n' 'Port 2222' 'ListenAddress 127.0.0.1' "HostKey $PWD/host" 'PidFile none' \
		"AuthorizedKeysFile $PWD/user.pub" 'StrictModes no' 'UsePAM no' 'PermitRootLogin yes' \
		"Subsystem sftp internal-sftp" >sshd_config
	printf '%s\n' 'Host *' 'Port 2222' 'User root' "IdentityFile $PWD/user" 'IdentitiesOnly yes' \
		'UserKnownHostsFile /dev/null' 'StrictHostKeyChecking no' 'LogLevel ERROR' \
		'ExitOnForwardFailure yes' >ssh_config
}

@test "sshd, privileges apart and sandboxed, forwards from the pool; scp and ssh -L work (trap 20)" {
	ssh_prepare
	serve_on 8080 nginx -c "$(nginx_config 8080 'return 200 "ok\n";')"
	head -c 3000000 /dev/urandom >file
	for pool in "$BIND_POOL" "$LATE_POOL"; do
		serve_fenced "$pool" 2222 /usr/sbin/sshd -D -e -f "$PWD/sshd_config"
		sshd=$PID sshd_log=$LOG
		wire_start
		fence "$pool" ssh -F ssh_config 127.0.0.1 true
		fence "$pool" scp -q -F ssh_config file 127.0.0.1:"$PWD/copy"
		cmp file copy
		serve_on 2280 "$PORTFENCE" run --ports "$pool" -- \
			ssh -F ssh_config -N -L 2280:127.0.0.1:8080 127.0.0.1
		for _ in 1 2 3; do
			[ "$(net curl -sSf http://127.0.0.1:2280/)" = ok ]
		done
		assert_ends_clean "$PID"
		wire_end
		assert_called_from 8080 "$pool" 3
		assert_called_from 2222 "$pool" 3
		run ! grep -Ei 'fatal|error|bad system call|signal' "$sshd_log"
		assert_ends_clean "$sshd"
		rm copy "$PORTFENCE_DIR"/*
	done
}

# --- PostgreSQL ---------------------------------------------------------------------------------

@test "PostgreSQL's backends call other servers from the pool, pgbench -C connects anew each time (traps 13c, 14)" {
	bin=$(echo /usr/lib/postgresql/*/bin)
	install -d -o postgres pg
	(cd pg && runuser -u postgres -- "$bin/initdb" -D d -A trust) >/dev/null
	for pool in "$BIND_POOL" "$LATE_POOL"; do
		serve_fenced "$pool" 5432 setpriv --reuid=postgres --regid=postgres --clear-groups \
			"$bin/postgres" -D "$PWD/pg/d" -k "$PWD/pg" -c listen_addresses=127.0.0.1 -c fsync=off
		server=$PID
		net psql -h 127.0.0.1 -U postgres -qc 'create extension if not exists dblink'
		net pgbench -h 127.0.0.1 -U postgres -iq postgres
		echo "select port from dblink('host=127.0.0.1 user=postgres',
			'select inet_client_port()') as remote(port int);" >call.sql
		for _ in 1 2 3; do
			net psql -h 127.0.0.1 -U postgres -Atf call.sql
		done | assert_ports_in "$pool"
		wire_start
		run fence "$pool" pgbench -h 127.0.0.1 -U postgres -C -c 8 -j 2 -t 50 -S postgres
		echo "$output"
		[[ $output == *'processed: 400/400'* ]]
		wire_end
		assert_called_from 5432 "$pool" 400
		assert_ends_clean "$server"
		rm "$PORTFENCE_DIR"/*
	done
}

# --- nginx --------------------------------------------------------------------------------------

# Writes an nginx configuration for one server and prints its path: nginx_config PORT LOCATION
nginx_config()
{
	cat >"$PWD/$1.conf" <<-EOF
		daemon off; worker_processes 4; pid $PWD/$1.pid; error_log $PWD/$1.err warn;
		worker_rlimit_nofile 20000;
		events { worker_connections 4000; }
		http {
			log_format line '\$status \$remote_port'; access_log $PWD/$1.log line;
			server { listen 127.0.0.1:$1 backlog=4096; location / { $2 } }
		}
	EOF
	echo "$PWD/$1.conf"
}

has_requests()
{
	[ "$(wc -l <"$1")" -gt "$2" ]
}

# Kills a worker of the nginx with this pid; one that the reload ended may be gone meanwhile.
worker_kill()
{
	kill -KILL "$(pgrep -n -P "$1")"
}

@test "nginx reloads and loses a worker under load: every answer is right, and every port (trap 14)" {
	serve_on 8080 nginx -c "$(nginx_config 8080 'return 200 "ok\n";')"
	config=$(nginx_config 8081 'proxy_pass http://127.0.0.1:8080;')
	for pool in 10000-19999 40000-49999; do
		: >8080.log
		: >8081.log
		serve_fenced "$pool" 8081 nginx -c "$config"
		proxy=$PID
		serve wrk -t1 -c20 -d4 http://127.0.0.1:8081/
		wrk=$PID
		wait_for 10 has_requests 8081.log 200
		net nginx -c "$config" -s reload
		wait_for 10 has_requests 8081.log $(($(wc -l <8081.log) + 200))
		wait_for 10 worker_kill "$proxy"
		wait_for 10 has_requests 8081.log $(($(wc -l <8081.log) + 200))
		net nginx -c "$config" -s reload
		wait_for 20 pid_gone "$wrk"
		# 499: who was with the killed worker, or hangs up at the end.
		[ "$(grep -vc '^499' 8081.log)" -gt 600 ]
		run ! grep -Ev '^(200|499) ' 8081.log
		sed 's/.* //' 8080.log | assert_ports_in "$pool"
		run ! grep -E 'bind|connect\(\)|crit|emerg' 8081.err
		assert_ends_clean "$proxy"
		rm "$PORTFENCE_DIR"/*
	done
}

# --- Redis --------------------------------------------------------------------------------------

redis_replica_is_up()
{
	net redis-cli -p 6380 info replication | grep -q '^master_link_status:up'
}

@test "Redis saves in forked children under load and finds its master again, from the pool (trap 14)" {
	serve_on 6379 redis-server --port 6379 --bind 127.0.0.1 --save '' \
		--repl-diskless-sync-delay 0 --unixsocket "$PWD/master"
	for pool in "$BIND_POOL" "$LATE_POOL"; do
		serve_fenced "$pool" 6380 redis-server --port 6380 --bind 127.0.0.1 --save '' --dir "$PWD" \
			--replica-read-only no --replicaof 127.0.0.1 6379
		replica=$PID
		wait_for 20 redis_replica_is_up
		wire_start
		fence_in_background "$pool" redis-benchmark -p 6380 -c 20 -n 60000 -t set,get -q
		benchmark=$PID benchmark_log=$LOG
		for _ in 1 2 3; do
			net redis-cli -p 6380 bgsave
			wait_for 20 redis_saved
			redis-cli -s master client kill type replica
			wait_for 20 redis_replica_is_up
		done
		wait_for 60 pid_gone "$benchmark"
		wire_end
		assert_called_from 6379 "$pool" 3
		run ! grep -i error "$benchmark_log"
		tcp_local_ports state established 'dport = :6379' | assert_ports_in "$pool"
		assert_ends_clean "$replica"
		rm "$PORTFENCE_DIR"/*
	done
}

redis_saved()
{
	local state
	state=$(net redis-cli -p 6380 info persistence | tr -d '\r')
	grep -qx rdb_bgsave_in_progress:0 <<<"$state" && grep -qx rdb_last_bgsave_status:ok <<<"$state"
}

# --- languages ----------------------------------------------------------------------------------

@test "Java's HttpClient and ProcessBuilder in turn: every port is of the pool (trap 15)" {
	serve_on 8080 nginx -c "$(nginx_config 8080 'return 200 "ok\n";')"
	cat >Client.java <<-'EOF'
		import java.net.*;
		import java.net.http.*;
		import java.util.stream.*;

		public class Client {
			static void get() {
				try {
					var request = HttpRequest.newBuilder(URI.create("http://127.0.0.1:8080/")).build();
					var handler = HttpResponse.BodyHandlers.ofString();
					var answer = HttpClient.newHttpClient().send(request, handler);
					if (answer.statusCode() != 200)
						throw new Exception(answer.toString());
				} catch (Exception e) {
					e.printStackTrace();
					System.exit(1);
				}
			}
			public static void main(String[] a) throws Exception {
				for (int i = 0; i < 5; i++) {
					IntStream.range(0, 8).parallel().forEach(n -> get());
					var child = new ProcessBuilder("curl", "-sSf", "http://127.0.0.1:8080/").start();
					if (child.waitFor() != 0)
						System.exit(2);
					get();
				}
				System.exit(0);
			}
		}
	EOF
	javac Client.java
	for pool in "$BIND_POOL" "$LATE_POOL"; do
		for mechanism in POSIX_SPAWN VFORK FORK; do
			: >8080.log
			fence "$pool" java -Djdk.lang.Process.launchMechanism=$mechanism -cp . Client
			[ "$(wc -l <8080.log)" -eq 50 ]
			sed 's/.* //' 8080.log | assert_ports_in "$pool"
			wait_for 10 no_lease_left
		done
		rm "$PORTFENCE_DIR"/*
	done
}

@test "Python's multiprocessing, forked and spawned, and subprocess: every port is of the pool (traps 14, 15)" {
	serve_on 8080 nginx -c "$(nginx_config 8080 'return 200 "ok\n";')"
	cat >client.py <<-'EOF'
		import multiprocessing, subprocess, sys
		import urllib.request as request

		def get(_):
		    return request.urlopen("http://127.0.0.1:8080/").status

		if __name__ == "__main__":
		    kept = request.urlopen("http://127.0.0.1:8080/")
		    for method in "fork", "spawn", "forkserver":
		        with multiprocessing.get_context(method).Pool(4) as pool:
		            assert pool.map(get, range(20)) == [200] * 20
		        for close_fds in True, False:
		            command = ["curl", "-sSf", "-o", "page", "http://127.0.0.1:8080/"]
		            subprocess.run(command, close_fds=close_fds, check=True)
		        assert get(0) == 200
		    assert kept.read() == b"ok\n"
	EOF
	for pool in "$BIND_POOL" "$LATE_POOL"; do
		: >8080.log
		fence "$pool" /usr/bin/python3 client.py
		[ "$(wc -l <8080.log)" -eq 70 ]
		sed 's/.* //' 8080.log | assert_ports_in "$pool"
		wait_for 10 no_lease_left
		rm "$PORTFENCE_DIR"/*
	done
}
