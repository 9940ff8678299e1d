#!/bin/bash
# SPDX-License-Identifier: MIT
# Shows portfence at work on loopback: a real nginx, curl and Python. Checks whatever it claims and
# exits 1 if that does not hold. Stops what it started. `make demo` runs it.
set -euo pipefail
cd "$(dirname "$0")/.."

FIRST=20000 LAST=20999
RANGE=$FIRST-$LAST
B=${B:-build}
PATH=$PATH:/usr/sbin:/sbin
work=$(mktemp -d "${TMPDIR:-/tmp}/portfence-demo.XXXXXX")
export PORTFENCE_DIR=$work LC_ALL=C
unset PORTFENCE_PORTS PORTFENCE_POLICY PORTFENCE_POOL PORTFENCE_DISABLE LD_PRELOAD
web='' holder=''

bold='' dim='' plain=''
if [ -t 1 ] && [ -z "${NO_COLOR-}" ] && [ "${TERM-dumb}" != dumb ]; then
	bold=$'\e[1m' dim=$'\e[2m' plain=$'\e[0m'
fi

say()
{
	printf '\n%s\n' "$*"
}

fail()
{
	printf 'demo: %s\n' "$*" >&2
	exit 1
}

stop()
{
	[ -z "$1" ] || { kill "$1" && wait "$1"; } 2>/dev/null || :
}

trap 'stop "$holder"; stop "$web"; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

# Prints a command as one would type it.
echo_command()
{
	local word line=
	for word; do
		[[ $word =~ ^[A-Za-z0-9_./:=@,+-]+$ ]] || word="'$word'"
		line+=" $word"
	done
	printf '%s$%s%s\n' "$bold" "$line" "$plain"
}

# Echoes a command, runs it, shows what it prints and leaves that in $output.
output=
show()
{
	echo_command "$@"
	output=$("$@") || fail "exit status $?: $*"
	printf '%s%s%s\n' "$dim" "$output" "$plain"
}

is_inside()
{
	[ "$1" -ge $FIRST ] && [ "$1" -le $LAST ]
}

# Fails unless the words given are ports, one at least, all inside the range.
assert_inside()
{
	local port
	[ $# -gt 0 ] || fail 'no source port was seen'
	for port; do
		is_inside "$port" || fail "source port $port is outside $RANGE"
	done
}

# Prints the source ports of the connections to nginx, as the kernel has them.
open_ports()
{
	ss -Htn state established "dport = :$port" | awk '{ sub(/.*:/, "", $3); print $3 }'
}

# Starts nginx on a port and returns when it serves. It stays $web.
serve()
{
	cat >"$work/nginx.conf" <<-EOF
		daemon off;
		pid $work/nginx.pid;
		worker_processes 1;
		error_log stderr notice;
		events { worker_connections 256; }
		http {
			access_log off;
			client_body_temp_path $work/body;
			proxy_temp_path $work/proxy;
			fastcgi_temp_path $work/fastcgi;
			uwsgi_temp_path $work/uwsgi;
			scgi_temp_path $work/scgi;
			server { listen 127.0.0.1:$1; return 200 "you come from port \$remote_port\n"; }
		}
	EOF
	local line log
	exec {log}< <(exec nginx -e stderr -p "$work" -c "$work/nginx.conf" 2>&1)
	web=$!
	while read -r -t 20 -u "$log" line; do
		case $line in *'start worker process '*) return 0 ;; esac
	done
	wait "$web" || :
	web=''
	return 1
}

# --- the show --------------------------------------------------------------------------------

[ -x "$B/portfence" ] || fail "$B/portfence is missing; run make first"
for port in 8080 18080 18081 18082 18083; do
	[ -z "$(ss -Hltn "sport = :$port")" ] && serve $port && break
done
[ -n "$web" ] || fail 'nginx did not start'
url=http://127.0.0.1:$port/
fenced=("$B/portfence" run --ports "$RANGE" --)
python=(/usr/bin/python3 -c "import urllib.request as u; print(u.urlopen(\"$url\").read().decode().strip())")
hold=(/usr/bin/python3 tests/demo_hold.py 5 127.0.0.1 "$port")

say "nginx is up on port $port. It tells each client the source port that it comes from.
Left alone, the kernel picks that from $(tr -s '\t' '-' </proc/sys/net/ipv4/ip_local_port_range):"
show curl -s "$url"
is_inside "${output##* }" && say '(which happens to overlap the range used below)'
show "${python[@]}"

say "The same programs, unchanged, behind a fence of $RANGE:"
show "${fenced[@]}" curl -s "$url"
assert_inside "${output##* }"
show "${fenced[@]}" "${python[@]}"
assert_inside "${output##* }"

say 'A client that keeps five connections open. What the kernel has to say about it:'
echo_command "${fenced[@]}" "${hold[@]}"
coproc HOLD { exec "${fenced[@]}" "${hold[@]}"; }
holder=$HOLD_PID
read -r -t 20 -u "${HOLD[0]}" held || fail 'the client did not connect'
show ss -tn state established "dport = :$port"
mapfile -t seen < <(open_ports)
assert_inside "${seen[@]}"
[ ${#seen[@]} -eq 5 ] || fail "the kernel shows ${#seen[@]} connections, not 5"

say 'And portfence, about its connections and its pool:'
show "$B/portfence" ls
for source in $held; do
	grep -qE "[:.]${source}[[:space:]]" <<<"$output" || fail "portfence ls does not show port $source"
done
show "$B/portfence" status

kill "$holder"
wait "$holder" 2>/dev/null || :
holder=''
say "All $((${#seen[@]} + 2)) fenced connections left from $RANGE. Now try it on a program of yours:"
echo_command "${fenced[@]}" COMMAND
