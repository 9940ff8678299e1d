#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# The web: clients, a browser, libraries of many languages, proxies whose upstream side is fenced.

# shellcheck disable=SC2317,SC2034 # assert_job calls and uses them

load real_helper

setup_file()
{
	local dir
	netns_new
	dir=$(scratch)
	cd "$dir" || return
	openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 2 \
		-subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1 2>openssl.log
	mkdir www
	head -c 100000 /dev/urandom >www/file
	printf '<a href="file?%d">file</a>\n' {1..10} >www/links.html
	cp "$BATS_TEST_DIRNAME/languages/page.html" www
	cat >nginx.conf <<-E
		daemon off; worker_processes 2; pid $dir/nginx.pid; error_log stderr warn;
		worker_rlimit_nofile 20000;
		events { worker_connections 8000; }
		http {
			access_log off; root $dir/www; types { text/html html; }
			add_header Access-Control-Allow-Origin *;
			ssl_certificate $dir/cert.pem; ssl_certificate_key $dir/key.pem;
			server { listen 8080; listen [::]:8080; }
			server { listen 8443 ssl http2; }
		}
	E
	serve_on 8080 nginx -c "$dir/nginx.conf"
	names_start
	javac -d . "$BATS_TEST_DIRNAME/languages/Fetch.java"
}

teardown_file()
{
	world_end
}

setup()
{
	pool_dir_new
	cd "$BATS_TEST_TMPDIR" || return
	LANGUAGES=$BATS_TEST_DIRNAME/languages
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

# Fails unless there are NUMBER files out.*, each what the server has; then there are none.
assert_fetched_all()
{
	[ "$(find . -name 'out.*' | wc -l)" -eq "$1" ]
	assert_fetched out.*
	rm out.*
}

# Fails unless a program fetches URL forty times: assert_fetches PROGRAM PACKAGE URL COMMAND...
assert_fetches()
{
	local program=$1 package=$2 url=$3 command=("${@:4}")
	job()
	{
		with_names "${command[@]}" 40 "$url"
		assert_fetched_all 40
	}
	assert_job "$program" "$package" job
}

@test "one page over HTTP/1.1, IPv4 and IPv6" {
	job()
	{
		fenced curl -sS -o out.4 http://127.0.0.1:8080/file -o out.6 'http://[::1]:8080/file'
		assert_fetched_all 2
	}
	assert_job curl curl job
}

@test "fifty connections side by side" {
	job()
	{
		fenced curl -sSZ --parallel-immediate -o 'out.#1' 'http://127.0.0.1:8080/file?[1-50]'
		assert_fetched_all 50
	}
	assert_job curl curl job
}

@test "HTTP/2 over TLS, by name" {
	job()
	{
		fenced curl -sSk --http2 -o out.1 -w '%{http_version}' https://localhost:8443/file >told
		[ "$(cat told)" = 2 ]
		assert_fetched_all 1
	}
	assert_job curl curl job
}

@test "a hundred pages on one connection, from an address it binds" {
	job()
	{
		fenced curl -sS --interface 127.0.0.1 -o 'out.#1' -w '%{local_port}\n' \
			'http://127.0.0.1:8080/file?[1-100]' >told
		assert_fetched_all 100
		[ "$(sort -u told | wc -l)" -eq 1 ]
		assert_named "$(head -1 told)"
	}
	assert_job curl curl job
}

@test "a name that the C library asks DNS for" {
	job()
	{
		with_names curl -sS -o out.1 http://web.test:8080/file
		assert_fetched_all 1
	}
	assert_job curl curl job libc:udp/53
}

@test "two pages on one connection, IPv6, an address it binds" {
	job()
	{
		fenced wget -q http://127.0.0.1:8080/file?1 http://127.0.0.1:8080/file?2
		fenced wget -qO out.3 'http://[::1]:8080/file'
		fenced wget -qO out.4 --bind-address=127.0.0.1 http://127.0.0.1:8080/file
		mv 'file?1' out.1 && mv 'file?2' out.2
		assert_fetched_all 4
	}
	assert_job wget wget job
}

@test "a mirror over TLS" {
	job()
	{
		rm -rf localhost*
		fenced wget -qr -l1 --no-check-certificate https://localhost:8443/links.html
		[ "$(find localhost* -name 'file*' | wc -l)" -eq 10 ]
		assert_fetched localhost*/file*
	}
	assert_job wget wget job
}

@test "500 requests over twenty connections, with and without keep-alive" {
	job()
	{
		for number in -n500 -kn500; do
			fenced ab -q "$number" -c 20 http://127.0.0.1:8080/file >told
			grep -Eq '^Complete requests: +500$' told
			grep -Eq '^Failed requests: +0$' told
			grep -Eq '^HTML transferred: +50000000 bytes$' told
		done
	}
	assert_job ab apache2-utils job
}

# Its own resolver binds ports that it chooses itself, and it asks the C library, too.
@test "a page that fetches sixty files of four hosts" {
	local sum
	sum=$(sha256sum <"$BATS_FILE_TMPDIR/www/file" | cut -d' ' -f1)
	job()
	{
		rm -rf profile
		with_names chromium --headless --no-sandbox --disable-gpu --disable-quic \
			--no-first-run --disable-background-networking --disable-component-update \
			--disable-sync --user-data-dir="$PWD/profile" --virtual-time-budget=60000 --dump-dom \
			"http://localhost:8080/page.html#$sum" >told 2>errors || {
			cat errors
			return 1
		}
		cat told
		grep -q '>60 are right<' told
	}
	assert_job chromium chromium job udp/53
}

@test "forty requests over eight kept connections, IPv6 or IPv4" {
	assert_fetches Node.js nodejs http://localhost:8080/file node "$LANGUAGES/fetch.js"
}

@test "forty requests to a name that it asks DNS for itself (c-ares)" {
	assert_fetches Node.js nodejs http://web.test:8080/file node "$LANGUAGES/fetch.js" --ask
}

@test "forty requests in eight threads, each with its session" {
	assert_fetches "Python requests" python3-requests http://localhost:8080/file \
		/usr/bin/python3 "$LANGUAGES/fetch_requests.py"
}

@test "forty requests over TLS and four connections, from an address it binds" {
	assert_fetches "Python urllib3" python3-urllib3 https://localhost:8443/file \
		/usr/bin/python3 "$LANGUAGES/fetch_urllib3.py" "$BATS_FILE_TMPDIR/cert.pem"
}

@test "forty requests at once" {
	assert_fetches "Python aiohttp" python3-aiohttp http://127.0.0.1:8080/file \
		/usr/bin/python3 "$LANGUAGES/fetch_aiohttp.py"
}

@test "forty requests at once, IPv4 as v4-mapped IPv6" {
	assert_fetches "Java HttpClient" openjdk-17-jre-headless http://127.0.0.1:8080/file \
		java -cp "$BATS_FILE_TMPDIR" Fetch
}

@test "forty requests, half of them over one kept connection" {
	assert_fetches "Perl LWP" libwww-perl http://localhost:8080/file perl "$LANGUAGES/fetch.pl"
}

@test "forty requests in eight threads, each with a kept connection" {
	assert_fetches "Ruby net/http" ruby http://127.0.0.1:8080/file ruby "$LANGUAGES/fetch.rb"
}

# --- proxies: unfenced clients ask one on port 8081, and its own connections count ------------

# Fails unless fifty fetches through a proxy, which `ask` has for curl, are right:
# assert_proxy PROGRAM PACKAGE COMMAND...
assert_proxy()
{
	local program=$1 package=$2 proxy=("${@:3}")
	local COMPANION=curl COMPANION_ASKS=8081
	job()
	{
		serve_fenced 8081 "${proxy[@]}"
		net curl -sSZ --parallel-immediate "${ask[@]}"
		assert_fetched_all 50
		companion_end "$PID" "${ending-TERM}"
	}
	assert_job "$program" "$package" job
}

@test "a reverse proxy, its upstream by address, IPv6 and from an address it binds" {
	cat >nginx.conf <<-E
		daemon off; worker_processes 2; pid $PWD/nginx.pid; error_log stderr warn;
		events { }
		http {
			access_log off; proxy_temp_path $PWD;
			server {
				listen 8081;
				location / { proxy_pass http://127.0.0.1:8080; }
				location /v6/ { proxy_pass http://[::1]:8080/; }
				location /bound/ { proxy_pass http://127.0.0.1:8080/; proxy_bind 127.0.0.1; }
			}
		}
	E
	ask=(-o 'out.#1' 'http://127.0.0.1:8081/file?[1-20]'
		-o 'out.6.#1' 'http://127.0.0.1:8081/v6/file?[1-15]'
		-o 'out.bound.#1' 'http://127.0.0.1:8081/bound/file?[1-15]')
	assert_proxy nginx nginx-light nginx -c "$PWD/nginx.conf"
}

@test "a reverse proxy with health checks, in two threads" {
	cat >haproxy.cfg <<-E
		global
			nbthread 2
		defaults
			mode http
			timeout connect 5s
			timeout client 5s
			timeout server 5s
			http-reuse never
		listen web
			bind 127.0.0.1:8081
			server four 127.0.0.1:8080 check inter 20ms
			server six [::1]:8080 check inter 20ms
			server bound 127.0.0.1:8080 source 127.0.0.1
	E
	ask=(-o 'out.#1' 'http://127.0.0.1:8081/file?[1-50]')
	assert_proxy HAProxy haproxy haproxy -db -f haproxy.cfg
}

@test "a forward proxy, pages and tunnels" {
	chmod 755 .
	cat >squid.conf <<-E
		http_port 127.0.0.1:8081
		http_access allow all
		pid_filename none
		cache deny all
		access_log none
		cache_log /dev/null
		coredump_dir /
		icp_port 0
		pinger_enable off
		dns_nameservers 127.0.0.1
		shutdown_lifetime 0 seconds
	E
	# Asked to end, it takes two seconds; but whoever kills a supervisor does not end its program.
	[ -n "${STRICT-}" ] || ending=KILL
	ask=(-x http://127.0.0.1:8081 -o 'out.#1' 'http://web.test:8080/file?[1-30]'
		--next -sSkx http://127.0.0.1:8081 -o 'out.tls.#1' 'https://127.0.0.1:8443/file?[1-20]')
	assert_proxy Squid squid squid -N -f squid.conf
}

@test "a TLS tunnel, a thread for each connection" {
	printf '%s\n' 'foreground = yes' 'pid =' '[web]' 'client = yes' 'accept = 127.0.0.1:8081' \
		'connect = 127.0.0.1:8443' >stunnel.conf
	ask=(-o 'out.#1' 'http://127.0.0.1:8081/file?[1-50]')
	assert_proxy stunnel stunnel4 stunnel4 stunnel.conf
}

@test "a relay, a process for each connection" {
	ask=(-o 'out.#1' 'http://127.0.0.1:8081/file?[1-50]')
	assert_proxy socat socat socat TCP-LISTEN:8081,bind=127.0.0.1,backlog=50,reuseaddr,fork \
		TCP:127.0.0.1:8080
}
