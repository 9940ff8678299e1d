# SPDX-License-Identifier: MIT
# What the files of tests/real share: a job is done bare, then in the fence with each claim, and both
# times it is watched from outside, on the wire.

# shellcheck disable=SC2154 # `run` sets output, stderr, status and their lines

load ../test_helper

RECORDS=$B/real
# The prefix of what is fenced; empty while a job is done bare.
FENCE=()
# What a job runs unfenced, a proxy's client say, and the port it asks: neither counts.
COMPANION=wire COMPANION_ASKS=0

# --- what a job is made of -------------------------------------------------------------------

# Runs a command of the job in the namespace.
fenced()
{
	net "${FENCE[@]}" "$@"
}

# Starts a DNS server for the names that end in .test, all of which are 127.0.0.1.
names_start()
{
	echo 'nameserver 127.0.0.1' >"$(scratch)/resolv.conf"
	serve_on 53 dnsmasq -k -C /dev/null --no-resolv --no-hosts --listen-address=127.0.0.1 \
		--bind-interfaces --address=/test/127.0.0.1 --pid-file= --user=root
}

# Runs a command of the job where /etc/resolv.conf names that server.
with_names()
{
	net "${NAMES[@]}" "${FENCE[@]}" "$@"
}

# Starts a server of the job and waits until it listens: serve_fenced PORT COMMAND...
# The job ends it by companion_end "$PID".
serve_fenced()
{
	local port=$1
	shift
	serve_on "$port" "${FENCE[@]}" "$@"
}

# The packets a job is judged by, as "PROTOCOL SOURCE DESTINATION": those that open a connection, and
# datagrams that are no server's answers. A file whose companions call out, too, has its own.
packets()
{
	wire_packets | awk -v asked="$COMPANION_ASKS" '$3 != asked'
}

# --- how it is judged ------------------------------------------------------------------------

# Does a job bare and in the fence, where every port of its packets must be in the pool, and no lease
# may be left behind: assert_job PROGRAM PACKAGE JOB [[libc:]PROTOCOL/PORT...]
# What goes to the PORTs at the end is the documented exception: it leaves from elsewhere; where libc
# itself sends it, only without --strict, so such a job is done with it, too. JOB is a function that
# fails unless its work was done, complete and correct. With STRICT=1, every job is strict.
assert_job()
{
	local program=$1 package=$2 job=$3 pool way ways=('')
	local exceptions=()
	shift 3

	FENCE=()
	range_set 41000 60999
	calls_start
	watch "$job" "$(scratch)/bare"
	calls_end >"$(scratch)/calls"
	range_set 32768 60999
	run assert_ports_in "$BIND_POOL,$LATE_POOL" < <(cut -d' ' -f2 "$(scratch)/bare")
	[[ $output == 'port '* ]] || {
		echo "$program was not seen to leave from anywhere else when bare: $output" >&2
		return 1
	}
	[[ $* != *libc:* ]] || ways+=(--strict)
	[ -z "${STRICT-}" ] || ways=(--strict)
	for pool in "$BIND_POOL" "$LATE_POOL"; do
		for way in "${ways[@]}"; do
			FENCE=("$PORTFENCE" run --ports "$pool" ${way:+"$way"} --)
			mapfile -t exceptions < <(escapes_of "$way" "$@")
			assert_fenced "$pool" "$job" "${exceptions[@]}"
		done
	done
	record "$program" "$package" "$(cut -d' ' -f1 "$(scratch)/seen" | sort -u | paste -sd' ')" \
		"$(sed -E 's/libc:([^ ]+)/\1 without --strict/g' <<<"$*")"
}

# Prints the exceptions that there are in a run: escapes_of WAY [[libc:]PROTOCOL/PORT...]
escapes_of()
{
	local way=$1 escape
	shift
	for escape; do
		[[ $way == --strict && $escape == libc:* ]] || echo "${escape#libc:}"
	done
}

# Does a job in FENCE, as assert_job says: assert_fenced POOL JOB [PROTOCOL/PORT...]
assert_fenced()
{
	local pool=$1 job=$2 escape escapes='^$'
	shift 2
	for escape; do
		escapes+="|^${escape%/*} [0-9]+ ${escape#*/}\$"
	done
	PORTFENCE_DIR=$(mktemp -d "$(scratch)/shm.XXXXXX")
	chmod 1777 "$PORTFENCE_DIR"
	watch "$job" "$(scratch)/seen"
	grep -vE "$escapes" "$(scratch)/seen" | cut -d' ' -f2 | assert_ports_in "$pool"
	for escape; do
		run assert_ports_in "$pool" < <(grep -E "^${escape%/*} [0-9]+ ${escape#*/}\$" \
			"$(scratch)/seen" | cut -d' ' -f2)
		echo "$escape: $output"
		# The kernel's own choice may be a port of the late pool.
		[[ $output == 'port '* || (-z $output && $pool == "$LATE_POOL") ]]
	done
	wait_for 10 no_lease_left || {
		net "$PORTFENCE" status
		net "$PORTFENCE" ls --all
		net "$PORTFENCE" log
		return 1
	}
}

# The range the kernel chooses from, in the namespace. While a job is done bare, no pool is in it.
range_set()
{
	net sysctl -qw net.ipv4.ip_local_port_range="$1 $2"
}

# Fails unless the ports the kernel or a program names are in the pool; in a bare job any port will do.
assert_named()
{
	[ ${#FENCE[@]} -eq 0 ] || printf '%s\n' "$@" | assert_ports_in "$pool"
}

# Fails unless a program does its job bare, and in the fence is refused in one line that says WHY:
# assert_refused PROGRAM PACKAGE WHY COMMAND...
assert_refused()
{
	local program=$1 package=$2 why=$3
	shift 3
	FENCE=()
	calls_start
	fenced "$@"
	calls_end >"$(scratch)/calls"
	FENCE=("$PORTFENCE" run --ports "$BIND_POOL" --)
	run -126 --separate-stderr fenced "$@"
	[ -z "$output" ]
	assert_one_line "$why, so it cannot be fenced"
	record "$program" "$package" refused ''
}

# Does a job and leaves its packets in a file.
watch()
{
	wire_start
	"$1"
	wire_end
	packets >"$2"
}

# --- which calls a program makes -------------------------------------------------------------

# Starts to note the network calls of this shell's children, by the kernel's own tracing.
calls_start()
{
	local call
	TRACEFS=$(scratch)/tracefs TRACE=$(scratch)/tracefs/instances/portfence-$$
	mkdir -p "$TRACEFS"
	mountpoint -q "$TRACEFS" || mount -t tracefs none "$TRACEFS"
	mkdir "$TRACE"
	echo 8192 >"$TRACE/buffer_size_kb"
	echo 1 >"$TRACE/options/event-fork"
	echo 1 >"$TRACE/options/record-tgid"
	echo 1 >"$TRACE/events/sched/sched_process_fork/enable"
	echo 1 >"$TRACE/events/sched/sched_process_exit/enable"
	for call in enter_{socket,connect,bind,listen,sendto,sendmsg,sendmmsg,io_uring_setup} exit_socket; do
		echo 1 >"$TRACE/events/syscalls/sys_$call/enable"
	done
	TRACED=$BASHPID
	echo "$TRACED" >"$TRACE/set_event_pid"
}

# Ends that, and prints the calls that were made on internet sockets. On a busy machine the kernel
# follows strangers, too, who were given a number that one of ours had.
calls_end()
{
	: >"$TRACE/set_event_pid"
	awk -v root="$TRACED" -v others=" (nsenter|ip|ss|wire|$COMPANION)-[0-9]+ " '
		BEGIN { ours[root] }
		/^#/ { next }
		{ match($0, /-[0-9]+ +\([ 0-9-]+\)/); thread = substr($0, RSTART, RLENGTH)
		  match(thread, /\([ 0-9-]+\)/); process = substr(thread, RSTART, RLENGTH)
		  id = substr(thread, 2) + 0 }
		!(id in ours) { next }
		/ sched_process_fork: / { sub(/.*child_pid=/, ""); ours[$0 + 0]; next }
		/ sched_process_exit: / { delete ours[id]; next }
		$0 ~ others { next }
		match($0, /sys_[a-z_]+/) { call = substr($0, RSTART + 4, RLENGTH - 4) }
		/sys_socket\(/ { match($0, /family: [0-9a-fx]+/)
		  family[thread] = substr($0, RSTART + 8, RLENGTH - 8); next }
		/sys_socket -> / { fd = substr($0, index($0, "-> ") + 3)
		  sub(/^0x/, "", fd); sub(/^0+/, "", fd)
		  internet = family[thread] == "2" || family[thread] == "a" || family[thread] ~ /^0x0*[2a]$/
		  is[process, fd] = is[fd] = internet; if (internet) print "socket"; next }
		/sys_io_uring_setup\(/ { print call; next }
		match($0, /fd: [0-9a-fx]+/) { fd = substr($0, RSTART + 4, RLENGTH - 4)
		  sub(/^0x/, "", fd); sub(/^0+/, "", fd)
		  if ((process, fd) in is ? is[process, fd] : is[fd]) print call }
	' "$TRACE/trace" | sort -u | paste -sd' '
	calls_forget
}

# For teardown: a trace that a failed job left behind.
calls_forget()
{
	[ -n "${TRACEFS-}" ] && mountpoint -q "$TRACEFS" || return 0
	[ ! -d "$TRACE" ] || rmdir "$TRACE"
	umount "$TRACEFS"
}

# Notes what was seen, for docs/COMPATIBILITY.md: record PROGRAM PACKAGE PROTOCOLS ESCAPES
record()
{
	local version
	version=$(dpkg-query -W -f '${Version}' "$2" | sed 's/^[0-9]*://; s/[-+~].*//')
	mkdir -p "$RECORDS"
	printf '%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "$(basename "$BATS_TEST_FILENAME" .bats)" "$1" "$version" \
		"$BATS_TEST_DESCRIPTION" "$(cat "$(scratch)/calls")" "$3" "$4" >>"$RECORDS/seen"
}
