#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# The web: clients, browsers, libraries of many languages, and proxies whose upstream side is fenced.

# shellcheck disable=SC2317 # assert_job calls them

load real_helper

setup_file()
{
	local dir
	netns_new
	dir=$(scratch)
	cd "$dir" || return
	openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 2 -subj /CN=localhost \
		-addext subjectAltName=DNS:localhost,IP:127.0.0.1 2>openssl.log
	mkdir www
	head -c 100000 /dev/urandom >www/file
	cat >nginx.conf <<-E
		daemon off; worker_processes 2; pid $dir/nginx.pid; error_log stderr warn;
		worker_rlimit_nofile 20000;
		events { worker_connections 8000; }
		http {
			access_log off; root $dir/www;
			server { listen 8080; listen [::]:8080; }
			server { listen 8443 ssl http2; ssl_certificate $dir/cert.pem; ssl_certificate_key $dir/key.pem; }
		}
	E
	serve_on 8080 nginx -c "$dir/nginx.conf"
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
	calls_forget
}

# Fails unless each FILE is what the server has.
assert_fetched()
{
	local file
	for file; do
		cmp "$file" "$BATS_FILE_TMPDIR/www/file"
	done
}

@test "one page over HTTP/1.1, IPv4 and IPv6" {
	job()
	{
		fenced curl -sS http://127.0.0.1:8080/file -o a 'http://[::1]:8080/file' -o b
		assert_fetched a b
	}
	assert_job curl curl job
}

@test "fifty connections side by side" {
	job()
	{
		rm -f out.*
		fenced curl -sSZ --parallel-immediate --parallel-max 50 -o 'out.#1' 'http://127.0.0.1:8080/file?[1-50]'
		assert_fetched out.*
		[ "$(find . -name "out.*" | wc -l)" -eq 50 ]
	}
	assert_job curl curl job
}

@test "HTTP/2 over TLS, by name" {
	job()
	{
		fenced curl -sSk --http2 -o out -w '%{http_version}' https://localhost:8443/file >version
		[ "$(cat version)" = 2 ]
		assert_fetched out
	}
	assert_job curl curl job
}
