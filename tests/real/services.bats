#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Services: names, time, databases, caches, queues and remote procedures, as clients and as servers that call.

# shellcheck disable=SC2317 # assert_job calls them
# shellcheck disable=SC2154 # `run` sets stderr, assert_job pool
# shellcheck disable=SC2030,SC2031 # each test is a process of its own

load real_helper

POSTGRES=$(echo /usr/lib/postgresql/*/bin)

setup_file()
{
	local dir
	dir=$(scratch)
	cd "$dir" || return
	netns_new
	export BROKER_NETNS=$NETNS
	rabbitmq_start
	netns_new
	# MariaDB hears that a replica has gone when it next has something to tell it.
	net sysctl -qw net.ipv4.tcp_fin_timeout=1

	seq -f 'h%g.many.test' 0 1999 >names
	awk 'BEGIN { for (i = 0; i < 2000; i++) print "10.0." int(i / 256) "." i % 256 }' >addresses
	sed 's/$/ A/' names >questions
	serve_on 53 dnsmasq --keep-in-foreground --conf-file=/dev/null --no-resolv --no-hosts --user=root \
		--listen-address=127.0.0.1,::1 --bind-interfaces --pid-file= \
		--synth-domain=many.test,10.0.0.0/16,h* --address=/db.test/127.0.0.1

	install -d -o postgres pg
	runuser -u postgres -- "$POSTGRES/initdb" -D pg/d -A trust --no-sync --wal-segsize=1 >initdb.log
	serve_on 5432 setpriv --reuid=postgres --regid=postgres --clear-groups "$POSTGRES/postgres" \
		-D "$dir/pg/d" -k "$dir/pg" -c listen_addresses=127.0.0.1 -c fsync=off

	mariadb-install-db --no-defaults --user=mysql --datadir="$dir/my" --skip-test-db --innodb-log-file-size=4M \
		--auth-root-authentication-method=normal >install-db.log 2>&1
	cp -a my my.copy
	mariadbd_on 3306 my --server-id=1 --log-bin
}

teardown_file()
{
	servers_end
	netns_end
	NETNS=$BROKER_NETNS
	netns_end
}

setup()
{
	pool_dir_new
	cd "$BATS_TEST_TMPDIR" || return
	HERE=$BATS_FILE_TMPDIR
}

teardown()
{
	servers_end
	calls_forget
}

# Fails unless a command of the job says TEXT: assert_says TEXT COMMAND...
assert_says()
{
	local text=$1
	shift
	run --separate-stderr fenced "$@"
	echo "$*: $output $stderr"
	[ "$status" -eq 0 ]
	[ "$output" = "$text" ]
}

# Judges a job by what is sent to PORT alone: the clients of a server that is fenced are not.
packets_to()
{
	TO=$1
	packets()
	{
		awk -v to="$TO" '$3 == to' "$WIRE"
	}
}

# --- names -----------------------------------------------------------------------------------

@test "two thousand questions over UDP; one over TCP, one over IPv6" {
	job()
	{
		fenced dig +short @127.0.0.1 -f "$HERE/names" >addresses
		cmp addresses "$HERE/addresses"
		assert_says 10.0.0.7 dig +short +tcp @127.0.0.1 h7.many.test
		assert_says 10.0.0.8 dig +short @::1 h8.many.test
	}
	assert_job dig bind9-dnsutils job
}

@test "a question over UDP, TCP and IPv6" {
	job()
	{
		assert_says 10.0.0.7 drill -Q @127.0.0.1 h7.many.test
		assert_says 10.0.0.8 drill -Q -t @127.0.0.1 h8.many.test
		assert_says 10.0.0.9 drill -Q @::1 h9.many.test
	}
	assert_job drill ldnsutils job
}

@test "questions over UDP and IPv6, two on one TCP connection" {
	job()
	{
		assert_says 10.0.0.7 kdig +short @127.0.0.1 h7.many.test
		assert_says 10.0.0.8 kdig +short @::1 h8.many.test
		assert_says $'10.0.0.9\n10.0.1.0' kdig +short +tcp +keepopen @127.0.0.1 h9.many.test h256.many.test
	}
	assert_job kdig knot-dnsutils job
}

# Fails unless all questions of a dnsperf were answered.
assert_all_answered()
{
	cat report
	grep -Eq '^ *Queries completed: +2000 \(100\.00%\)$' report
	grep -Eq '^ *Response codes: +NOERROR 2000 \(100\.00%\)$' report
}

# Asks the forwarder on PORT all there is to ask.
forwarder_ask()
{
	net dnsperf -s 127.0.0.1 -p "$1" -d "$HERE/questions" -n 1 -q 50 >report 2>&1
	assert_all_answered
	net dig +short -p "$1" @127.0.0.1 -f <(head -100 "$HERE/names") >addresses
	head -100 "$HERE/addresses" | cmp - addresses
}

# Fails unless the forwarder asked COUNT times at least, from many ports.
assert_asked()
{
	[ "$(wc -l <seen)" -ge "$1" ]
	[ "$(cut -d' ' -f2 seen | sort -u | wc -l)" -gt 500 ]
}

@test "two thousand questions from two threads" {
	job()
	{
		fenced dnsperf -s 127.0.0.1 -d "$HERE/questions" -n 1 -q 50 -c 20 -T 2 >report 2>&1
		assert_all_answered
	}
	assert_job dnsperf dnsperf job
}

@test "a forwarder of two thousand questions" {
	packets_to 53
	job()
	{
		serve_fenced 5301 dnsmasq --keep-in-foreground --conf-file=/dev/null --no-resolv --no-hosts \
			--user=root --listen-address=127.0.0.1 --bind-interfaces --port=5301 --pid-file= \
			--server=127.0.0.1 --cache-size=0
		forwarder_ask 5301
		companion_end "$PID"
	}
	assert_job dnsmasq dnsmasq-base job
	assert_asked 2100
}

# Starts an unbound that forwards to the server on port 53: unbound_on PORT [OPTION...]
unbound_on()
{
	printf '%s\n' 'server:' 'interface: 127.0.0.1' "port: $1" 'do-daemonize: no' 'username: ""' \
		'chroot: ""' 'local-zone: "test." nodefault' "directory: \"$PWD\"" 'pidfile: ""' \
		'use-syslog: no' 'num-threads: 2' 'do-not-query-localhost: no' 'module-config: "iterator"' \
		"${@:2}" 'remote-control:' 'control-enable: no' \
		'forward-zone:' 'name: "."' 'forward-addr: 127.0.0.1@53' >unbound.conf
	serve_fenced "$1" unbound -d -p -c "$PWD/unbound.conf"
}

@test "a forwarder over TCP; over UDP it names ports of its own choice" {
	packets_to 53
	job()
	{
		unbound_on 5302 'tcp-upstream: yes'
		net dig +short -p 5302 @127.0.0.1 -f <(head -100 "$HERE/names") >addresses
		companion_end "$PID"
		head -100 "$HERE/addresses" | cmp - addresses
		unbound_on 5303
		forwarder_ask 5303
		companion_end "$PID"
	}
	assert_job unbound unbound job udp/53
}

@test "a forwarder that names ports of the pool (outgoing-port-permit)" {
	packets_to 53
	job()
	{
		unbound_on 5304 'outgoing-port-avoid: 0-65535' "outgoing-port-permit: ${pool:-25000-25999}"
		forwarder_ask 5304
		companion_end "$PID"
	}
	assert_job unbound unbound job
	assert_asked 1000
}

@test "a server by name: the C library's question to port 53 is the kernel's to place" {
	echo 'nameserver 127.0.0.1' >resolv.conf
	job()
	{
		assert_says f unshare --mount sh -c 'mount --bind resolv.conf /etc/resolv.conf
			exec psql -h db.test -U postgres -Atc "select pg_is_in_recovery()"'
	}
	assert_job psql postgresql-client-15 job libc:udp/53
}

# --- time ------------------------------------------------------------------------------------

@test "the time of a server" {
	serve_on 123 /usr/bin/python3 -c 'if True:
		import socket, struct, time
		def now():
		    t = time.time() + 2208988800
		    return struct.pack("!II", int(t), int(t % 1 * 2**32))
		s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
		s.bind(("127.0.0.1", 123))
		while True:
		    q, peer = s.recvfrom(512)
		    t = now()
		    s.sendto(struct.pack("!BBbbII4s", 0x24, 1, q[2], -20, 0, 0, b"LOCL") + t + q[40:48] + t + now(), peer)'
	job()
	{
		fenced ntpdate -q 127.0.0.1 >said
		cat said
		[ "$(grep -cE ' [+-]0\.[0-9]+ .* 127\.0\.0\.1 s1 ' said)" -eq 1 ]
	}
	assert_job ntpdate ntpsec-ntpdate job
}

# --- databases -------------------------------------------------------------------------------

psql_judge()
{
	net psql -h "$HERE/pg" -U postgres -qAt "$@"
}

@test "ten thousand rows there and back" {
	seq 10000 >rows
	job()
	{
		psql_judge -c 'drop table if exists real; create table real (n int)'
		fenced psql -h 127.0.0.1 -U postgres -qc '\copy real from rows'
		fenced psql -h 127.0.0.1 -U postgres -qc '\copy (select * from real order by n) to back'
		cmp rows back
	}
	assert_job psql postgresql-client-15 job
}

@test "a hundred connections, one a transaction" {
	net pgbench -h "$HERE/pg" -U postgres -iq postgres
	job()
	{
		run fenced pgbench -h 127.0.0.1 -U postgres -nC -c 10 -j 2 -t 10 -S postgres
		echo "$output"
		[[ $output == *'processed: 100/100'* ]]
		[[ $output == *'failed transactions: 0 '* ]]
	}
	assert_job pgbench postgresql-15 job
}

has_rows()
{
	[ "$("$@" 2>/dev/null)" = "$(cat rows)" ]
}

@test "a standby copies its primary and streams from it" {
	job()
	{
		rm -rf standby
		install -d -o postgres standby
		psql_judge -c 'drop table if exists streamed; create table streamed (n int)'
		fenced setpriv --reuid=postgres --regid=postgres --clear-groups "$POSTGRES/pg_basebackup" \
			-h 127.0.0.1 -U postgres -D "$PWD/standby/d" -R -c fast --no-sync
		serve_fenced 5433 setpriv --reuid=postgres --regid=postgres --clear-groups \
			"$POSTGRES/postgres" -D "$PWD/standby/d" -k "$PWD/standby" -p 5433 \
			-c listen_addresses=127.0.0.1 -c fsync=off
		psql_judge -c 'insert into streamed select generate_series(1, 1000)'
		echo 1000 >rows
		wait_for 20 has_rows net psql -h "$PWD/standby" -p 5433 -U postgres -Atc 'select count(*) from streamed'
		companion_end "$PID" INT
	}
	assert_job postgres postgresql-15 job
}

# Asks the MariaDB of a folder: mariadb_judge FOLDER OPTION...
mariadb_judge()
{
	net mariadb --no-defaults -u root -N --socket="$1/socket" "${@:2}"
}

# Starts a MariaDB with the data in a folder: mariadbd_on PORT FOLDER [OPTION...]
mariadbd_on()
{
	serve_on "$1" "${FENCE[@]}" mariadbd --no-defaults --user=mysql --datadir="$PWD/$2" --port="$1" \
		--socket="$PWD/$2/socket" --bind-address=127.0.0.1 --skip-name-resolve \
		--innodb-buffer-pool-size=16M --innodb-flush-log-at-trx-commit=0 \
		--innodb-log-file-size=4M --innodb-fast-shutdown=2 "${@:3}"
}

@test "ten thousand rows, their dump, twenty clients at once" {
	seq 10000 >numbers
	job()
	{
		fenced mariadb --no-defaults -h 127.0.0.1 -u root -e 'create or replace database ten;
			create table ten.numbers (n int primary key)'
		fenced mariadb-import --no-defaults -h 127.0.0.1 -u root --local ten "$PWD/numbers"
		fenced mariadb-dump --no-defaults -h 127.0.0.1 -u root ten >dump
		grep -o '([0-9]*)[,;]' dump | tr -d '(),;' | cmp - numbers
		fenced mariadb-slap --no-defaults -h 127.0.0.1 -u root --auto-generate-sql --concurrency=20 \
			--number-of-queries=200 >report
		grep -q 'clients running queries: 20$' report
	}
	assert_job mariadb mariadb-client job
}

@test "a replica follows its primary" {
	job()
	{
		rm -rf replica
		cp -a "$HERE/my.copy" replica
		mariadb_judge "$HERE/my" -e 'drop database if exists followed; reset master'
		mariadbd_on 3307 replica --server-id=2
		mariadb_judge "$PWD/replica" -e "change master to master_host='127.0.0.1', master_port=3306,
			master_user='root'; start slave"
		mariadb_judge "$HERE/my" -e 'create database followed; create table followed.f (n int);
			insert into followed.f select seq from followed.seq_1_to_1000'
		echo 500500 >rows
		wait_for 20 has_rows mariadb_judge "$PWD/replica" -e 'select sum(n) from followed.f'
		companion_end "$PID"
	}
	assert_job mariadbd mariadb-server job
}

# --- caches ----------------------------------------------------------------------------------

@test "fifty clients, three thousand questions each way" {
	serve_on 6379 redis-server --bind 127.0.0.1 --save '' --unixsocket "$PWD/redis"
	job()
	{
		redis-cli -s redis config resetstat
		fenced redis-benchmark -c 50 -n 3000 -t set,get --csv >report
		[ "$(wc -l <report)" -eq 3 ]
		redis-cli -s redis info commandstats >stats
		grep -q '^cmdstat_get:calls=3000,' stats
		grep -q '^cmdstat_set:calls=3000,' stats
		redis-cli -s redis info stats | tr -d '\r' | grep -Ex 'total_connections_received:10[0-9]'
	}
	assert_job redis-benchmark redis-tools job
}

@test "a replica that names its address" {
	serve_on 6379 redis-server --bind 127.0.0.1 --save '' --repl-diskless-sync-delay 0 \
		--unixsocket "$PWD/redis"
	head -c 1000000 /dev/urandom | base64 -w0 | redis-cli -s redis -x set key
	redis-cli -s redis get key >rows
	job()
	{
		serve_fenced 6380 redis-server --port 6380 --bind 127.0.0.1 --save '' --replicaof 127.0.0.1 6379 \
			--bind-source-addr 127.0.0.1 --unixsocket "$PWD/replica"
		wait_for 20 has_rows redis-cli -s replica get key
		companion_end "$PID"
	}
	assert_job redis-server redis-server job
}

@test "files there and back, then a thousand keys of twenty threads" {
	serve_on 11211 memcached -l 127.0.0.1 -U 0 -u root
	job()
	{
		local file
		for file in 1 2 3; do
			head -c 100000 /dev/urandom | base64 >"file.$file"
		done
		fenced memccp --servers=127.0.0.1 file.1 file.2 file.3
		for file in 1 2 3; do
			fenced memccat --servers=127.0.0.1 --file=back "file.$file"
			cmp "file.$file" back
		done
		fenced memcslap --servers=127.0.0.1 --concurrency=20 --execute-number=50 --test=set --flush >report
		grep -Eq '^Time to set +1000 keys by +20 threads:' report
	}
	assert_job libmemcached libmemcached-tools job
}

# --- queues ----------------------------------------------------------------------------------

@test "a hundred messages, kept for a subscriber that comes back" {
	printf '%s\n' 'listener 1883 127.0.0.1' 'allow_anonymous true' 'user root' >broker.conf
	serve_on 1883 mosquitto -c broker.conf
	seq -f 'message %g' 100 >messages
	job()
	{
		fenced mosquitto_sub -h 127.0.0.1 -i reader -c -q 1 -t news -E
		fenced mosquitto_pub -h 127.0.0.1 -q 1 -t news -l <messages
		fenced mosquitto_sub -h 127.0.0.1 -i reader -c -q 1 -t news -C 100 | cmp - messages
	}
	assert_job mosquitto-clients mosquitto-clients job
}

@test "a broker bridges to another" {
	printf '%s\n' 'listener 1883 127.0.0.1' "listener 0 $PWD/far" 'allow_anonymous true' 'user root' >far.conf
	printf '%s\n' 'listener 1884 127.0.0.1' "listener 0 $PWD/near" 'allow_anonymous true' 'user root' \
		'connection bridge' 'address 127.0.0.1:1883' 'topic # out 1' >near.conf
	serve_on 1883 mosquitto -c far.conf
	seq -f 'message %g' 100 >messages
	job()
	{
		mosquitto_sub --unix far -i reader -c -q 1 -t news -E
		serve_fenced 1884 mosquitto -c near.conf
		mosquitto_pub --unix near -q 1 -t news -l <messages
		mosquitto_sub --unix far -i reader -c -q 1 -t news -C 100 | cmp - messages
		companion_end "$PID"
	}
	assert_job mosquitto mosquitto job
}

# Starts a broker in a namespace of its own, where it is alone with its port mapper, to which it talks
# now and then; it takes its time.
rabbitmq_start()
{
	install -d -o rabbitmq rabbit
	serve env HOME="$PWD/rabbit" RABBITMQ_NODENAME=real@localhost RABBITMQ_NODE_IP_ADDRESS=127.0.0.1 \
		RABBITMQ_MNESIA_BASE="$PWD/rabbit" RABBITMQ_LOG_BASE="$PWD/rabbit" RABBITMQ_LOGS=- \
		RABBITMQ_CONFIG_FILE=/nonexistent RABBITMQ_ENABLED_PLUGINS_FILE="$PWD/rabbit/plugins" \
		setpriv --reuid=rabbitmq --regid=rabbitmq --clear-groups /usr/lib/rabbitmq/bin/rabbitmq-server
}

@test "twenty messages, each published by its own connection, then consumed" {
	NETNS=$BROKER_NETNS
	packets_to 5672
	wait_for 60 listening 5672
	server=amqp://guest:guest@127.0.0.1:5672
	seq -f 'message %g' 20 >messages
	job()
	{
		fenced amqp-declare-queue -u "$server" -q real
		while read -r message; do
			fenced amqp-publish -u "$server" -r real -b "$message"$'\n' </dev/null
		done <messages
		fenced amqp-consume -u "$server" -q real -c 20 cat | cmp - messages
		fenced amqp-delete-queue -u "$server" -q real
	}
	assert_job amqp-tools amqp-tools job
}

# --- remote procedures -----------------------------------------------------------------------

@test "libtirpc: what root calls comes from below 1024, what others call from the pool" {
	serve_on 111 unshare --mount sh -c 'mount -t tmpfs none /run; exec rpcbind -f -w'
	job()
	{
		assert_says 'program 100000 version 2 ready and waiting' rpcinfo -T tcp 127.0.0.1 100000 2
		assert_says 'program 100000 version 2 ready and waiting' setpriv --reuid=nobody --clear-groups \
			rpcinfo -T udp 127.0.0.1 100000 2
	}
	assert_job rpcinfo rpcbind job tcp/111
	awk '$1 == "tcp" { print $2 }' "$WIRE" | assert_ports_in 512-1023
}

# What root sends to the server is judged apart.
@test "NFS: files there by root, from below 1024, and back by others, from the pool" {
	cat >ganesha.conf <<-E
		NFS_CORE_PARAM { NFS_Protocols = 4; Enable_NLM = false; Enable_RQUOTA = false; }
		NFSv4 { Graceless = true; RecoveryBackend = fs; Only_Numeric_Owners = true; }
		MEM { Inode_Size = 1048576; }
		EXPORT { Export_Id = 1; Path = /m; Pseudo = /m; Access_Type = RW; Squash = all;
			Transports = TCP; SecType = sys; FSAL { Name = MEM; } }
	E
	serve_on 2049 unshare --mount sh -c "mount -t tmpfs none /run; mount -t tmpfs none /var/lib/nfs
		mkdir -p /run/ganesha /var/lib/nfs/ganesha
		exec ganesha.nfsd -F -L $PWD/ganesha.log -f $PWD/ganesha.conf -p $PWD/ganesha.pid"
	packets()
	{
		awk '$3 == 2049 && $2 >= 1024' "$WIRE"
	}
	made=0
	job()
	{
		local url="nfs://127.0.0.1/m/$((++made))?version=4"
		head -c 1000 /dev/urandom >file
		fenced nfs-cp file "$url"
		fenced setpriv --reuid=nobody --clear-groups nfs-cat "$url" | cmp - file
	}
	assert_job libnfs libnfs-utils job
	awk '$3 == 2049 && $2 < 1024 { print $2 }' "$WIRE" | assert_ports_in 512-1023
}
