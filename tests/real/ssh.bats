#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# SSH and rsync: sessions, copies and every kind of forwarding, from either side.

# shellcheck disable=SC2317 # assert_job calls them
# shellcheck disable=SC2016 # some variables are for sh

load real_helper

setup_file()
{
	local number
	netns_new
	cd "$(scratch)" || return
	mkdir -p /run/sshd tree/below
	ssh-keygen -q -t ed25519 -N '' -f host
	ssh-keygen -q -t ed25519 -N '' -f user
	for number in {1..20}; do
		head -c $((number * 20011)) /dev/urandom >"tree/below/file$number"
	done
	head -c 3000000 /dev/urandom >tree/file
	printf '%s\n' 'Host *' 'HostName 127.0.0.1' 'User root' "IdentityFile $PWD/user" \
		'IdentitiesOnly yes' 'UserKnownHostsFile /dev/null' 'StrictHostKeyChecking no' \
		'LogLevel ERROR' 'ExitOnForwardFailure yes' 'KexAlgorithms curve25519-sha256' \
		'Host here' 'Port 2222' 'Host there' 'Port 2223' 'Host fenced' 'Port 2224' >config
	serve_on 2222 /usr/sbin/sshd -D -e -f "$(sshd_config 2222)"
	serve_on 2223 /usr/sbin/sshd -D -e -f "$(sshd_config 2223)"
	cat >nginx.conf <<-E
		daemon off; pid $PWD/nginx.pid; error_log stderr warn;
		events { }
		http { access_log off; server { listen 8080; root $PWD/tree; } }
	E
	serve_on 8080 nginx -c "$PWD/nginx.conf"
}

teardown_file()
{
	world_end
}

setup()
{
	pool_dir_new
	cd "$BATS_TEST_TMPDIR" || return
	FILES=$BATS_FILE_TMPDIR
	CONFIG=$FILES/config
}

teardown()
{
	servers_end
	calls_forget
}

# Writes a configuration and prints its path: sshd_config PORT
# With this SHLVL, bash reads no .bashrc.
sshd_config()
{
	printf '%s\n' "Port $1" 'ListenAddress 127.0.0.1' "HostKey $BATS_FILE_TMPDIR/host" 'PidFile none' \
		"AuthorizedKeysFile $BATS_FILE_TMPDIR/user.pub" 'StrictModes no' 'UsePAM no' \
		'PermitRootLogin yes' 'MaxStartups 100' 'MaxSessions 100' \
		'SetEnv SHLVL=1' 'Subsystem sftp internal-sftp' >"$PWD/sshd.$1"
	echo "$PWD/sshd.$1"
}

# The packets to these PORTs, and no others.
packets_to()
{
	awk -v ports=" $* " '$1 == "tcp" && index(ports, " " $3 " ")' "$WIRE"
}

# Fails unless the folder is a copy of the tree; removes it.
assert_tree()
{
	diff -r "$1" "$FILES/tree"
	rm -r "${1:?}"
}

# Fails unless these arguments of curl fetch the file, five times at once.
assert_fetches()
{
	net curl -sSfZ --parallel-immediate -o 'out#1' "${@:2}" "$1/file?[1-5]" 2>progress
	for out in out{1..5}; do
		cmp "$out" "$FILES/tree/file"
	done
	rm out?
}

# --- the client ---------------------------------------------------------------------------------

@test "six sessions at once, data both ways" {
	job()
	{
		seq 6 | fenced xargs -P 6 -I{} sh -c 'ssh -F "$0" here cat <"$1" >{}' \
			"$CONFIG" "$FILES/tree/file"
		for out in {1..6}; do
			cmp "$out" "$FILES/tree/file"
			rm "$out"
		done
	}
	assert_job ssh openssh-client job
}

@test "a tree, there and back, by both protocols" {
	job()
	{
		fenced scp -qrF "$CONFIG" "$FILES/tree" "here:$PWD/there"
		fenced scp -qrOF "$CONFIG" "here:$PWD/there" back
		assert_tree there
		assert_tree back
	}
	assert_job scp openssh-client job
}

@test "a tree, there and back, in one batch" {
	job()
	{
		mkdir there
		printf '%s\n' "put -r $FILES/tree $PWD/there/tree" "get -r $PWD/there/tree back" >orders
		fenced sftp -qF "$CONFIG" -b orders here
		assert_tree there/tree
		assert_tree back
		rmdir there
	}
	assert_job sftp openssh-client job
}

@test "a tree over ssh, there and back" {
	job()
	{
		fenced rsync -a -e "ssh -F $CONFIG" "$FILES/tree/" "here:$PWD/there/"
		fenced rsync -a -e "ssh -F $CONFIG" "here:$PWD/there/" back
		assert_tree there
		assert_tree back
	}
	assert_job rsync rsync job
}

@test "a tree from a daemon, there and back" {
	printf '%s\n' 'use chroot = no' 'uid = root' '[all]' "path = $PWD" 'read only = no' >rsyncd.conf
	serve_on 8730 rsync --daemon --no-detach --port=8730 --config="$PWD/rsyncd.conf"
	job()
	{
		fenced rsync -a "$FILES/tree/" rsync://127.0.0.1:8730/all/there/
		fenced rsync -a rsync://127.0.0.1:8730/all/there/ back
		assert_tree there
		assert_tree back
	}
	assert_job rsync rsync job
}

@test "forwarding to the server, -L and -D" {
	packets() { packets_to 2222; }
	job()
	{
		serve_fenced 2280 ssh -F "$CONFIG" -NL 2280:127.0.0.1:8080 -D 2281 here
		assert_fetches http://127.0.0.1:2280
		assert_fetches http://127.0.0.1:8080 --socks5 127.0.0.1:2281
		companion_end "$PID"
	}
	assert_job ssh openssh-client job
}

@test "forwarding from the server, -R" {
	packets() { packets_to 2222 8080; }
	job()
	{
		serve_fenced 2282 ssh -F "$CONFIG" -NR 2282:127.0.0.1:8080 here
		assert_fetches http://127.0.0.1:2282
		companion_end "$PID"
	}
	assert_job ssh openssh-client job
}

@test "through another host, ProxyJump" {
	packets() { packets_to 2222; }
	job()
	{
		fenced ssh -F "$CONFIG" -J here there cat <"$FILES/tree/file" >out
		cmp out "$FILES/tree/file"
	}
	assert_job ssh openssh-client job
}

@test "through a program, ProxyCommand nc" {
	job()
	{
		fenced ssh -F "$CONFIG" -o ProxyCommand='nc %h %p' here cat <"$FILES/tree/file" >out
		cmp out "$FILES/tree/file"
	}
	assert_job ssh openssh-client job
}

@test "twenty sessions over one connection, ControlMaster" {
	job()
	{
		serve "${FENCE[@]}" ssh -F "$CONFIG" -MNS "$PWD/control" here
		wait_for 10 test -S control
		seq 20 | fenced xargs -P 10 -I{} sh -c 'ssh -F "$0" -S control here cat <"$1" >{}' \
			"$CONFIG" "$FILES/tree/below/file20"
		for out in {1..20}; do
			cmp "$out" "$FILES/tree/below/file20"
			rm "$out"
		done
		net ssh -F "$CONFIG" -S control -O exit here 2>said
		wait_for 10 pid_gone "$PID"
	}
	assert_job ssh openssh-client job
	[ "$(wc -l <seen)" -eq 1 ]
}

# --- the server ---------------------------------------------------------------------------------

@test "the server connects for its clients, -L and -D" {
	packets() { packets_to 8080; }
	job()
	{
		serve_fenced 2224 /usr/sbin/sshd -D -e -f "$(sshd_config 2224)"
		local sshd=$PID
		serve_on 2280 ssh -F "$CONFIG" -NL 2280:127.0.0.1:8080 -D 2281 fenced
		assert_fetches http://127.0.0.1:2280
		assert_fetches http://127.0.0.1:8080 --socks5 127.0.0.1:2281
		companion_end "$PID"
		companion_end "$sshd"
	}
	assert_job sshd openssh-server job
}

@test "the server listens for its clients, -R with a port that the kernel is asked for" {
	packets()
	{
		awk -v port="$(cat port)" '$3 == port { print $1, $3, $2 }' "$WIRE"
	}
	job()
	{
		serve_fenced 2224 /usr/sbin/sshd -D -e -f "$(sshd_config 2224)"
		local sshd=$PID
		serve ssh -F "$CONFIG" -o LogLevel=INFO -NR 0:127.0.0.1:8080 fenced
		wait_for_line '^Allocated port'
		sed -n 's/^Allocated port \([0-9]*\).*/\1/p' "$LOG" >port
		assert_fetches "http://127.0.0.1:$(cat port)"
		companion_end "$PID"
		companion_end "$sshd"
	}
	assert_job sshd openssh-server job
}

@test "what a session starts is in the server's fence" {
	packets() { packets_to 8080; }
	job()
	{
		serve_fenced 2224 /usr/sbin/sshd -D -e -f "$(sshd_config 2224)"
		net ssh -F "$CONFIG" fenced curl -sS http://127.0.0.1:8080/file >out
		cmp out "$FILES/tree/file"
		companion_end "$PID"
	}
	assert_job sshd openssh-server job
}
