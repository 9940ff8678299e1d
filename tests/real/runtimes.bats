#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Runtimes and languages: servers on port 0 and their clients, and what a runtime has of its own.

# shellcheck disable=SC2317 # assert_job calls them

load real_helper

setup_file()
{
	local dir sources=$BATS_TEST_DIRNAME/languages
	netns_new
	dir=$(scratch)
	cd "$dir" || return
	g++ -o echo-asio "$sources/echo.cc" 3>&- &
	local compiler=$!
	javac -d . "$sources/Echo.java"
	/usr/bin/rustc -o echo-rust "$sources/echo.rs"
	musl-gcc -o echo-musl "$sources/echo.c"
	musl-gcc -static -o echo-musl-static "$sources/echo.c"
	gcc -static -o echo-static "$sources/echo.c"
	HOME=$dir GO111MODULE=off GOFLAGS='' go build -o connect-go "$sources/connect.go"
	mkdir www
	head -c 100000 /dev/urandom >www/file
	cat >nginx.conf <<-E
		daemon off; worker_processes 1; pid $dir/nginx.pid; error_log stderr warn;
		events { }
		http { access_log off; root $dir/www; server { listen 8080; } }
	E
	serve_on 8080 nginx -c "$dir/nginx.conf"
	names_start
	wait $compiler
}

teardown_file()
{
	world_end
}

setup()
{
	pool_dir_new
	cd "$BATS_TEST_TMPDIR" || return
	BUILT=$BATS_FILE_TMPDIR LANGUAGES=$BATS_TEST_DIRNAME/languages
}

teardown()
{
	servers_end
	calls_forget
}

# Fails unless a program that opens a TCP and a UDP server on port 0, and 50 and 20 clients of them,
# names 72 ports, all in the pool, and says that all 70 answers were right:
# assert_echoes PROGRAM PACKAGE COMMAND...
assert_echoes()
{
	local program=$1 package=$2 command=("${@:3}")
	job()
	{
		fenced "${command[@]}" >told
		[ "$(tail -1 told)" = '70 right' ]
		head -n -1 told >ports
		[ "$(wc -l <ports)" -eq 72 ]
		assert_named "$(cat ports)"
	}
	assert_job "$program" "$package" job
}

@test "an echo over TCP and UDP, in asyncio" {
	assert_echoes Python python3 /usr/bin/python3 "$LANGUAGES/echo.py"
}

@test "an echo over TCP and UDP, in libuv's loop" {
	assert_echoes "Python uvloop" python3-uvloop /usr/bin/python3 "$LANGUAGES/echo.py" uvloop
}

@test "processes, forked and spawned, share a dictionary over TCP" {
	job()
	{
		fenced /usr/bin/python3 "$LANGUAGES/managers.py" >told
		[ "$(tail -1 told)" = '40 right' ]
		assert_named "$(head -1 told)"
	}
	assert_job "Python multiprocessing" python3 job
}

@test "an echo over TCP and UDP, by two workers of a cluster" {
	assert_echoes Node.js nodejs node "$LANGUAGES/echo.js"
}

@test "an echo over TCP and UDP, a selector and threads, IPv4 as v4-mapped IPv6" {
	assert_echoes Java openjdk-17-jre-headless java -cp "$BUILT" Echo
}

@test "an echo over TCP and UDP, a child for each connection" {
	assert_echoes Perl perl perl "$LANGUAGES/echo.pl"
}

@test "an echo over TCP and UDP, threads, over IPv6" {
	assert_echoes Ruby ruby ruby "$LANGUAGES/echo.rb"
}

@test "an echo over TCP and UDP, streams and the extension sockets (loaded with RTLD_DEEPBIND)" {
	assert_echoes PHP php8.2-cli php "$LANGUAGES/echo.php"
}

@test "twenty fetches at once by the extension curl (loaded with RTLD_DEEPBIND)" {
	job()
	{
		fenced php "$LANGUAGES/fetch.php" 20 http://127.0.0.1:8080/file >ports
		[ "$(find . -name 'out.*' | wc -l)" -eq 20 ]
		for file in out.*; do
			cmp "$file" "$BUILT/www/file"
		done
		rm out.*
		assert_named "$(cat ports)"
	}
	assert_job PHP php8.2-curl job
}

@test "an echo over TCP and UDP, a process for each connection" {
	assert_echoes Erlang erlang-base escript "$LANGUAGES/echo.erl"
}

@test "an echo over TCP and UDP, on sockets of the newer kind" {
	assert_echoes Erlang erlang-base escript "$LANGUAGES/echo.erl" socket
}

@test "an echo over TCP and UDP" {
	assert_echoes "Lua with LuaSocket" lua-socket lua5.4 "$LANGUAGES/echo.lua"
}

@test "an echo over TCP and UDP, in threads of the standard library, over IPv6" {
	assert_echoes Rust rustc "$BUILT/echo-rust"
}

@test "an echo over TCP and UDP, in one event loop" {
	assert_echoes "C++ Boost.Asio" libboost1.74-dev "$BUILT/echo-asio"
}

@test "an echo over TCP and UDP, in a program of musl's" {
	assert_echoes "C, linked with musl" musl-tools "$BUILT/echo-musl"
}

@test "a connection by redirection" {
	job()
	{
		fenced bash -c 'exec 3<>/dev/tcp/127.0.0.1/8080 &&
			printf "GET /file HTTP/1.0\r\n\r\n" >&3 && cat <&3' |
			sed '1,/^\r$/d' | cmp - "$BUILT/www/file"
	}
	assert_job bash bash job
}

@test "a name that the C library asks DNS for, a page, a connection to a port" {
	job()
	{
		with_names toybox wget -O out http://web.test:8080/file
		cmp out "$BUILT/www/file"
		printf 'GET /file HTTP/1.0\r\n\r\n' | fenced toybox nc 127.0.0.1 8080 |
			sed '1,/^\r$/d' | cmp - "$BUILT/www/file"
	}
	assert_job toybox toybox job libc:udp/53
}

# Debian's two busyboxes exclude each other; the static one is installed, and refused below.
@test "a page, a connection, a name that the C library asks DNS for" {
	apt-get -qq -o APT::Sandbox::User=root download busybox
	dpkg -x busybox_*.deb .
	job()
	{
		with_names bin/busybox wget -q -O out http://web.test:8080/file
		cmp out "$BUILT/www/file"
		printf 'GET /file HTTP/1.0\r\n\r\n' | fenced bin/busybox nc 127.0.0.1 8080 |
			sed '1,/^\r$/d' | cmp - "$BUILT/www/file"
	}
	assert_job 'busybox, dynamic' busybox-static job libc:udp/53
}

# --- what cannot be fenced, and says so ------------------------------------------------------

@test "a load generator of Go's" {
	assert_refused hey hey 'Go programs make their own system calls' \
		hey -n 4 -c 2 http://127.0.0.1:8080/file
}

@test "a connection by system calls of its own" {
	assert_refused Go golang-go 'Go programs make their own system calls' "$BUILT/connect-go"
}

@test "a static echo over TCP and UDP, in a program of glibc's" {
	assert_refused "C, static" libc6-dev 'it is linked statically and loads no library' \
		"$BUILT/echo-static"
}

@test "a static echo over TCP and UDP, in a program of musl's" {
	assert_refused "C, static, with musl" musl-tools \
		'it is linked statically and loads no library' "$BUILT/echo-musl-static"
}

@test "a page by a static program" {
	assert_refused busybox busybox-static 'it is linked statically and loads no library' \
		busybox wget -qO out http://127.0.0.1:8080/file
}
