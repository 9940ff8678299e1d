#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# FTP: many transfers at once, active and passive, from either side.

# shellcheck disable=SC2317 # assert_job calls them

load real_helper

setup_file()
{
	local number
	netns_new
	cd "$(scratch)" || return
	mkdir -p ftp/pub empty
	for number in {1..30}; do
		head -c $((number * 10007)) /dev/urandom >"ftp/pub/file$number"
	done
	install -d -o ftp ftp/in
	serve_on 2121 vsftpd "$(vsftpd_config 2121)"
}

teardown_file()
{
	world_end
}

setup()
{
	pool_dir_new
	cd "$BATS_TEST_TMPDIR" || return
	FILES=$BATS_FILE_TMPDIR/ftp
	rm -rf "$FILES"/in/*
}

teardown()
{
	servers_end
	calls_forget
}

# Writes a configuration and prints its path: vsftpd_config PORT [SETTING...]
vsftpd_config()
{
	local port=$1
	shift
	printf '%s\n' listen=YES listen_address=127.0.0.1 listen_port="$port" background=NO \
		anonymous_enable=YES no_anon_password=YES anon_root="$BATS_FILE_TMPDIR/ftp" local_enable=NO \
		write_enable=YES anon_upload_enable=YES anon_mkdir_write_enable=YES \
		anon_other_write_enable=YES anon_umask=022 secure_chroot_dir="$BATS_FILE_TMPDIR/empty" xferlog_enable=NO \
		seccomp_sandbox=NO "$@" >"$PWD/vsftpd.$port"
	echo "$PWD/vsftpd.$port"
}

# The packets where the client is fenced and the server calls: what it calls is the client's port.
packets_of_active_client()
{
	awk '$1 == "tcp" { print $1, $3 == 2121 ? $2 " " $3 : $3 " " $2 }' "$WIRE"
}

# The packets where the server is fenced, on port 2122: what it calls from, and where it is called.
packets_of_active_server()
{
	awk '$1 == "tcp" && $3 != 2122' "$WIRE"
}

packets_of_passive_server()
{
	awk '$1 == "tcp" && $3 != 2122 { print $1, $3, $2 }' "$WIRE"
}

# Fails unless the folder has the thirty files; empties it.
assert_all()
{
	diff -r "$1" "$FILES/pub"
	rm -r "${1:?}"/*
}

# --- the client ---------------------------------------------------------------------------------

@test "files one by one, passive" {
	job()
	{
		mkdir -p got
		(cd got && seq -f 'ftp://127.0.0.1:2121/pub/file%.0f' 30 | fenced xargs tnftp -p) >log
		assert_all got
	}
	assert_job tnftp tnftp job
}

@test "files one by one, active" {
	packets() { packets_of_active_client; }
	job()
	{
		mkdir -p got
		(cd got && seq -f 'ftp://127.0.0.1:2121/pub/file%.0f' 30 | fenced xargs tnftp -A) >log
		assert_all got
	}
	assert_job tnftp tnftp job
}

@test "a tree, eight files at once, there and back, passive" {
	job()
	{
		fenced lftp -c 'open ftp://127.0.0.1:2121; mirror --parallel=8 pub got'
		fenced lftp -c 'open ftp://127.0.0.1:2121; mirror -R --parallel=8 got in'
		assert_all got
		assert_all "$FILES/in"
	}
	assert_job lftp lftp job
}

@test "a tree, eight files at once, there and back, active" {
	packets() { packets_of_active_client; }
	job()
	{
		local set='set ftp:passive-mode off; open ftp://127.0.0.1:2121'
		fenced lftp -c "$set; mirror --parallel=8 pub got"
		fenced lftp -c "$set; mirror -R --parallel=8 got in"
		assert_all got
		assert_all "$FILES/in"
	}
	assert_job lftp lftp job
}

@test "thirty files at once, passive" {
	job()
	{
		mkdir -p got
		fenced curl -sSZ --parallel-immediate -o 'got/file#1' 'ftp://127.0.0.1:2121/pub/file[1-30]' \
			2>progress
		assert_all got
	}
	assert_job curl curl job
}

@test "thirty files at once, active" {
	packets() { packets_of_active_client; }
	job()
	{
		mkdir -p got
		fenced curl -sSZ --parallel-immediate -P - -o 'got/file#1' \
			'ftp://127.0.0.1:2121/pub/file[1-30]' 2>progress
		assert_all got
	}
	assert_job curl curl job
}

@test "a folder, active" {
	packets() { packets_of_active_client; }
	job()
	{
		fenced wget -q -nd -P got --no-passive-ftp -r ftp://127.0.0.1:2121/pub/
		assert_all got
	}
	assert_job wget wget job
}

# --- the server ---------------------------------------------------------------------------------

# Fetches the thirty files, eight at once.
fetch_actively()
{
	net lftp -c "set ftp:passive-mode off; open ftp://127.0.0.1:2122; mirror --parallel=8 pub got"
	assert_all got
}

# Fetches the thirty files, all at once: fetch_passively [OPTION...]
fetch_passively()
{
	mkdir -p got
	net curl -sSZ --parallel-immediate "$@" -o 'got/file#1' 'ftp://127.0.0.1:2122/pub/file[1-30]' \
		2>progress
	assert_all got
}

@test "a server asks the kernel for each passive port" {
	packets() { packets_of_passive_server; }
	job()
	{
		serve_fenced 2122 /usr/bin/python3 -m pyftpdlib -i 127.0.0.1 -p 2122 -d "$FILES"
		fetch_passively
		companion_end "$PID"
	}
	assert_job pyftpdlib python3-pyftpdlib job
}

@test "a server calls its active clients; passive ports of its own choice stay its own" {
	packets()
	{
		awk '$1 == "tcp" && $3 != 2122 { print $1, $2 >= 61000 ? $3 " passive" : $2 " " $3 }' "$WIRE"
	}
	job()
	{
		serve_fenced 2122 vsftpd "$(vsftpd_config 2122)"
		fetch_actively
		fetch_passively --local-port 61000-61999
		companion_end "$PID"
	}
	assert_job vsftpd vsftpd job tcp/passive
}

@test "passive ports configured to be the pool's" {
	packets() { packets_of_passive_server; }
	job()
	{
		local range=${FENCE[3]:-30000-30999}
		serve_fenced 2122 vsftpd \
			"$(vsftpd_config 2122 pasv_min_port="${range%-*}" pasv_max_port="${range#*-}")"
		fetch_passively
		companion_end "$PID"
	}
	assert_job vsftpd vsftpd job
}
