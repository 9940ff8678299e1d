#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# FTP: in active mode the client listens, and the port the server calls back is in the pool.

load test_helper

setup_file()
{
	local dir
	netns_new
	dir=$(scratch)
	mkdir -p "$dir/ftp/pub" "$dir/empty"
	echo data >"$dir/ftp/pub/file"
	cat >"$dir/vsftpd.conf" <<-EOF
		listen=YES
		listen_address=127.0.0.1
		listen_port=2121
		background=NO
		anonymous_enable=YES
		no_anon_password=YES
		anon_root=$dir/ftp
		local_enable=NO
		secure_chroot_dir=$dir/empty
		xferlog_enable=NO
		seccomp_sandbox=NO
	EOF
	serve_on 2121 vsftpd "$dir/vsftpd.conf"
}

teardown_file()
{
	world_end
}

setup()
{
	pool_dir_new
}

teardown()
{
	servers_end
}

# Fetches the file by a wrapped client, with each claim: the ports of the control connection, and
# those the server called (active) or the client called from (passive), are in the pool.
assert_fetches()
{
	local mode=$1 pool
	shift
	for pool in "$BIND_POOL" "$LATE_POOL"; do
		wire_start
		[ "$(fence "$pool" "$@")" = data ]
		wire_end
		awk '$1 == "tcp" && $3 == 2121 { print $2 }' "$WIRE" | assert_ports_in "$pool"
		awk -v mode="$mode" '$1 == "tcp" && $3 != 2121 { print mode == "active" ? $3 : $2 }' \
			"$WIRE" | assert_ports_in "$pool"
	done
}

@test "curl in active mode (EPRT) listens in the pool (trap 13c)" {
	assert_fetches active curl -sS -P - ftp://127.0.0.1:2121/pub/file
}

@test "curl in active mode (PORT) listens in the pool" {
	assert_fetches active curl -sS -P - --disable-eprt ftp://127.0.0.1:2121/pub/file
}

@test "lftp in active mode, which listens without a bind, listens in the pool (trap 13d)" {
	assert_fetches active lftp -c 'set ftp:passive-mode off; open -p 2121 127.0.0.1; cat pub/file'
}

@test "curl and lftp in passive mode connect from the pool" {
	assert_fetches passive curl -sS ftp://127.0.0.1:2121/pub/file
	assert_fetches passive lftp -c 'set ftp:passive-mode on; open -p 2121 127.0.0.1; cat pub/file'
}

@test "curl with a port range of its own keeps that range" {
	wire_start
	fence "$BIND_POOL" curl -sS -P 127.0.0.1:30000-30010 ftp://127.0.0.1:2121/pub/file
	wire_end
	awk '$1 == "tcp" && $3 != 2121 { print $3 }' "$WIRE" | assert_ports_in 30000-30010
}
