#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# nginx as a reverse proxy inside the fence: what its upstream sees under load.

load test_helper

setup()
{
	world_new
	dir=$(scratch)
	cat >"$dir/upstream.conf" <<-EOF
		daemon off; worker_processes 2; pid $dir/upstream.pid; error_log $dir/upstream.err warn;
		worker_rlimit_nofile 20000;
		events { worker_connections 8000; }
		http {
			log_format port '\$remote_port'; access_log $dir/ports port;
			server { listen 127.0.0.1:8080 backlog=4096; return 200 "ok\n"; }
		}
	EOF
	cat >"$dir/proxy.conf" <<-EOF
		daemon off; worker_processes 4; pid $dir/proxy.pid; error_log $dir/proxy.err warn;
		worker_rlimit_nofile 20000;
		events { worker_connections 8000; }
		http {
			log_format status '\$status'; access_log $dir/statuses status;
			server { listen 127.0.0.1:8081 backlog=4096; location / {
				proxy_pass http://127.0.0.1:8080; } }
		}
	EOF
	serve_on 8080 nginx -c "$dir/upstream.conf"
}

teardown()
{
	world_end
}

# Starts the proxy inside a pool.
start_proxy()
{
	serve_on 8081 "$PORTFENCE" run --ports "$1" -- nginx -c "$dir/proxy.conf"
}

# Every answer was 200, nginx had nothing to complain about, every port is in the pool.
assert_proxied()
{
	[ ! -s "$dir/proxy.err" ] || {
		head "$dir/proxy.err" >&2
		return 1
	}
	# 499: wrk hangs up on those under way when its time is over.
	[ "$(grep -vc 499 "$dir/statuses")" -gt 100 ]
	[ "$(grep -v 499 "$dir/statuses" | sort -u)" = 200 ]
	assert_ports_in "$1" <"$dir/ports"
}

@test "wrk gets only 200 through a proxy whose pool is claimed by bind (trap 13c)" {
	start_proxy 10000-29999
	run net wrk -t2 -c50 -d1 http://127.0.0.1:8081/
	[[ $output == *'requests in'* && $output != *Non-2xx* && $output != *'Socket errors'* ]]
	assert_proxied 10000-29999
}

@test "wrk gets only 200 through a proxy whose pool is claimed late" {
	start_proxy 34000-59999
	run net wrk -t2 -c50 -d1 http://127.0.0.1:8081/
	[[ $output == *'requests in'* && $output != *Non-2xx* && $output != *'Socket errors'* ]]
	assert_proxied 34000-59999
}

@test "ab gets only 200 through a proxy, with either claim" {
	for pool in 10000-19999 40000-49999; do
		start_proxy "$pool"
		run net ab -q -n 4000 -c 50 http://127.0.0.1:8081/
		[[ $output == *'Complete requests:      4000'* ]]
		[[ $output == *'Failed requests:        0'* && $output != *Non-2xx* ]]
		assert_proxied "$pool"
		companion_end "$PID" QUIT
		: >"$dir/ports"
	done
}

@test "ab and wrk themselves, inside the fence, finish every request (traps 13a, 13c)" {
	fence "$BIND_POOL" ab -q -n 500 -c 50 http://127.0.0.1:8080/ >"$dir/ab"
	grep -q 'Failed requests:        0' "$dir/ab"
	fence "$BIND_POOL" wrk -t2 -c50 -d1 http://127.0.0.1:8080/ >"$dir/wrk"
	run ! grep -E 'Socket errors|Non-2xx' "$dir/wrk"
	assert_ports_in "$BIND_POOL" <"$dir/ports"
}
