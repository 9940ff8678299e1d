# SPDX-License-Identifier: MIT
# What the .bats files share: network namespaces, servers, observers outside the process.

# shellcheck disable=SC2154 # `run` sets output, stderr, status and their lines

bats_require_minimum_version 1.5.0
# How often a test that failed is tried again: .ci/run says once, on machines that are not idle.
export BATS_TEST_RETRIES=${RETRIES:-0}

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
B=${B:-build}
case $B in /*) ;; *) B=$ROOT/$B ;; esac
PORTFENCE=$B/portfence
SHIM=$B/libportfence.so
PROBE=$B/probe
PRELOAD=$B/preload
# One pool for each claim: the default ip_local_port_range of a new namespace is 32768-60999.
BIND_POOL=20000-20999
LATE_POOL=40000-40999
PATH=$PATH:/usr/sbin:/sbin
export ROOT B PORTFENCE SHIM PROBE PRELOAD BIND_POOL LATE_POOL PATH LC_ALL=C
unset PORTFENCE_PORTS PORTFENCE_POLICY PORTFENCE_POOL PORTFENCE_DIR PORTFENCE_LOG PORTFENCE_DISABLE PORTFENCE_MARK
unset LD_PRELOAD

# --- where things live -----------------------------------------------------------------------

# A folder of this test, or of this file while no test runs; servers that drop privileges enter it.
scratch()
{
	local dir=${BATS_TEST_TMPDIR:-$BATS_FILE_TMPDIR}
	chmod 755 "$BATS_RUN_TMPDIR" "$BATS_RUN_TMPDIR"/{file,test} "$dir" 2>/dev/null || :
	echo "$dir"
}

# Gives this test a pool directory that is everybody's, as /dev/shm is.
pool_dir_new()
{
	PORTFENCE_DIR=$(scratch)/shm
	export PORTFENCE_DIR
	install -d -m 1777 "$PORTFENCE_DIR"
	ulimit -n 20000
}

# --- network namespaces ----------------------------------------------------------------------

netns_new()
{
	NETNS=portfence-$$-$BASHPID-$RANDOM
	export NETNS
	ip netns add "$NETNS"
	ip -n "$NETNS" link set lo up
}

# Gives the namespace 10.99.0.1, and with it a network where nobody answers: the kernel knows the
# neighbour 10.99.0.2, or it would give up on it after three seconds.
netns_add_silence()
{
	ip -n "$NETNS" link add silent0 type veth peer name silent1
	ip -n "$NETNS" address add 10.99.0.1/24 dev silent0
	ip -n "$NETNS" link set silent0 up
	ip -n "$NETNS" link set silent1 up
	ip -n "$NETNS" neighbour add 10.99.0.2 lladdr 02:00:00:00:00:01 dev silent0
}

# Ends what still runs in the namespace, children of servers say, and the namespace.
netns_end()
{
	local pid
	[ -n "${NETNS:-}" ] || return 0
	for pid in $(ip netns pids "$NETNS"); do
		kill "$pid" 2>/dev/null || :
	done
	ip netns delete "$NETNS"
}

# Runs a command in the namespace.
net()
{
	nsenter --net="/run/netns/$NETNS" -- "$@"
}

# A test's whole world, in which Python finds tests/probe/sockets.py. Files whose tests share servers
# call the parts themselves.
world_new()
{
	netns_new
	pool_dir_new
	export PYTHONPATH=$BATS_TEST_DIRNAME/probe PYTHONDONTWRITEBYTECODE=1
}

world_end()
{
	servers_end
	netns_end
}

# True where gc cannot see all processes: outside of the first PID namespace.
blind()
{
	[ "$(stat -Lc %i /proc/self/ns/pid)" -ne 4026531836 ]
}

# --- servers and other companions ------------------------------------------------------------

# Tries a command again and again, for SECONDS at most, until it succeeds.
wait_for()
{
	local end=$((SECONDS + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		if ((SECONDS > end)); then
			echo "waited in vain for: $*" >&2
			return 1
		fi
		sleep 0.02
	done
}

# Starts a command in the namespace, in the background. Its output is in $LOG, its pid in $PID.
serve()
{
	local dir
	dir=$(scratch)
	LOG=$(mktemp "$dir/log.XXXXXX")
	nsenter --net="/run/netns/$NETNS" -- "$@" >"$LOG" 2>&1 </dev/null 3>&- &
	PID=$!
	echo "$PID $(started "$PID")" >>"$dir/pids"
}

# True once something listens on PORT, whose datagrams are then a server's.
listening()
{
	net ss -Hltun "sport = :$1" | grep -q .
}

# Starts a server and waits until it listens: serve_on PORT COMMAND...
serve_on()
{
	local port=$1
	shift
	serve "$@"
	echo "$port" >>"$(scratch)/served"
	wait_for 20 listening "$port" || {
		cat "$LOG" >&2
		return 1
	}
}

# Starts the server of most tests: it takes every connection and every datagram.
sink_start()
{
	serve_on "${1:-8080}" "$PROBE/sink" "${1:-8080}" "${2:-tcp}"
}

# Starts an unfenced program that has TCP ports bound, or listens: strangers_on FIRST LAST [listen]
strangers_on()
{
	serve /usr/bin/python3 -uc 'if True:
		import signal, socket, sys
		held = []
		for port in range(int(sys.argv[1]), int(sys.argv[2]) + 1):
		    held.append(socket.socket())
		    held[-1].bind(("0.0.0.0", port))
		    if len(sys.argv) > 3: held[-1].listen()
		print("held")
		signal.pause()' "$@"
	wait_for_line '^held$'
}

# Starts a wrapped command in the background: fence_in_background RANGES COMMAND...
fence_in_background()
{
	local ranges=$1
	shift
	# shellcheck disable=SC2086 # words
	serve ${WATCHER-} "$PORTFENCE" run --ports "$ranges" -- "$@"
}

# Waits until the log of the companion started last has a line that matches.
wait_for_line()
{
	wait_for "${2:-20}" grep -Eq -- "$1" "$LOG" || {
		cat "$LOG" >&2
		return 1
	}
}

# Fails unless the log of the companion started last is TEXT.
assert_log()
{
	cat "$LOG"
	[ "$(cat "$LOG")" = "$1" ]
}

# When a process was started: with its pid, its name. The number alone may be another's by now.
started()
{
	sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20
}

# Ends one companion by its pid and waits until it is gone: companion_end PID [SIGNAL]
companion_end()
{
	pid_gone "$1" || kill "-${2:-TERM}" "$1" 2>/dev/null || return 0
	wait_for 5 pid_gone "$1" || kill -KILL "$1"
	wait "$1" 2>/dev/null || :
}

# True for a companion that has ended, and for a process that is not there.
pid_gone()
{
	local known
	kill -0 "$1" 2>/dev/null || return 0
	known=$(cat "$BATS_FILE_TMPDIR/pids" "${BATS_TEST_TMPDIR:-}/pids" 2>/dev/null | grep "^$1 ") ||
		return 1
	! grep -qx "$1 $(started "$1")" <<<"$known"
}

servers_end()
{
	local pid file
	file=$(scratch)/pids
	[ -e "$file" ] || return 0
	while read -r pid _; do
		companion_end "$pid"
	done <"$file"
	rm "$file"
}

# Put in front of a command: its names are resolved as resolv.conf in the file's folder says.
# shellcheck disable=SC2016,SC2034 # the inner shell's; for the files
NAMES=(unshare --mount -- sh -c
	'mount --bind "$1" /etc/resolv.conf && shift && exec "$@"' sh "${BATS_FILE_TMPDIR-}/resolv.conf")

# Put in front of a command: nobody runs it.
# shellcheck disable=SC2034 # for the files
NOBODY=(setpriv --reuid 65534 --regid 65534 --clear-groups --)

# --- wrapped commands ------------------------------------------------------------------------

# Runs a command in the namespace and in the fence: fence RANGES COMMAND...
fence()
{
	local ranges=$1
	shift
	# shellcheck disable=SC2086 # words
	net ${WATCHER-} "$PORTFENCE" run --ports "$ranges" -- "$@"
}

# The same by the environment alone: preload RANGES COMMAND...
preload()
{
	local ranges=$1
	shift
	# shellcheck disable=SC2086 # words
	net ${WATCHER-} env LD_PRELOAD="$SHIM" PORTFENCE_PORTS="$ranges" "$@"
}

# --- observers -------------------------------------------------------------------------------

# Starts to watch every SYN and every datagram of the namespace.
wire_start()
{
	serve "$PROBE/wire"
	WIRE=$LOG WIRE_PID=$PID
	wait_for_line '^ready$'
}

# Ends the watch. $WIRE then has lines "tcp SOURCE DESTINATION" and "udp SOURCE DESTINATION".
wire_end()
{
	companion_end "$WIRE_PID"
	grep -q '^end, 0 lost$' "$WIRE"
}

# What was on the wire, without the datagrams that are servers' answers.
wire_packets()
{
	local served
	served=$(cat "$BATS_FILE_TMPDIR/served" "$BATS_TEST_TMPDIR/served" 2>/dev/null | tr '\n' ' ')
	awk -v served="$served" '
		BEGIN { n = split(served, s); for (i = 1; i <= n; i++) is_server["udp", s[i]] = 1 }
		($1 == "tcp" || $1 == "udp") && !(($1, $2) in is_server)' "$WIRE"
}

# The source ports of that.
wire_sources()
{
	wire_packets | cut -d' ' -f2
}

# The local ports an strace -yy log shows: of TCP sockets, and those the kernel told the program.
strace_ports()
{
	sed -nE -e 's/.*<TCP:\[[0-9.]+:([0-9]+).*/\1/p' -e 's/.*<TCPv6:\[\[[^]]*\]:([0-9]+).*/\1/p' \
		-e 's/.*getsockname\(.*sin6?_port=htons\(([0-9]+)\).*/\1/p' "$1"
}

# Fails unless the input has a port, and none outside RANGES.
assert_ports_in()
{
	awk -v ranges="$1" '
		BEGIN { n = split(ranges, r, ",") }
		{
			inside = 0
			for (i = 1; i <= n; i++) {
				split(r[i], end, "-")
				last = r[i] ~ /-/ ? end[2] : end[1]
				if (/^[0-9]+$/ && $1 >= end[1] + 0 && $1 <= last + 0) inside = 1
			}
			if (!inside) { print "port " $0 " is outside " ranges; bad = 1; exit }
		}
		END {
			if (NR == 0) print "no port was seen"
			exit bad || NR == 0
		}'
}

# Runs a command in the fence with each claim, watched from the wire; all its ports must be inside.
assert_fenced()
{
	local pool
	for pool in "$BIND_POOL" "$LATE_POOL"; do
		wire_start
		fence "$pool" "$@"
		wire_end
		wire_sources | assert_ports_in "$pool"
	done
}

# Runs a probe in the fence that prints one port: assert_prints_port_in RANGES PROBE ARGUMENT...
assert_prints_port_in()
{
	local ranges=$1 probe=$2
	shift 2
	run --separate-stderr fence "$ranges" "$PROBE/$probe" "$@"
	echo "$probe $*: $output $stderr"
	[ "$status" -eq 0 ]
	[ -z "$stderr" ]
	assert_ports_in "$ranges" <<<"${lines[-1]}"
}

# The local ends of the TCP sockets that match an ss filter, one "ADDRESS:PORT PEER" a line.
tcp_pairs()
{
	net ss -Htn "$@" | awk '{ print $(NF - 1), $NF }'
}

# Their local ports alone.
tcp_local_ports()
{
	tcp_pairs "$@" | sed 's/ .*//; s/.*://'
}

# A cell of `portfence status`, of its first pool: status_of COLUMN
status_of()
{
	net "$PORTFENCE" status | awk -v column="$1" '
		NR == 1 { for (i = 1; i <= NF; i++) if ($i == column) at = i }
		NR == 2 && at { print $at; found = 1 }
		END { exit !found }'
}

# True once no port of the first pool is leased.
no_lease_left()
{
	[ "$(status_of LEASED)" -eq 0 ]
}

# Fails unless standard error was exactly one line of portfence, which contains TEXT.
assert_one_line()
{
	echo "stderr: $stderr"
	[ "${#stderr_lines[@]}" -eq 1 ]
	[[ $stderr == "portfence: "* ]]
	[[ $stderr == *"${1-}"* ]]
}
