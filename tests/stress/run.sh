#!/bin/bash
# SPDX-License-Identifier: MIT
# Kills processes in the fence for a while and looks for what that broke:
# run.sh [SECONDS [SEED [ROUND]]]
# The time is shared by the rounds, or all goes to one of them. Everything happens in namespaces of
# its own, and ends with them. The last line has the figures; the exit status is 0 if nothing is
# wrong.
set -eu
cd "$(dirname "$0")/../.."

B=${B:-build}
case $B in /*) ;; *) B=$PWD/$B ;; esac
seed=${2:-}
seed=${seed:-$RANDOM$RANDOM}
home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
export LC_ALL=C PATH=$PATH:/usr/sbin:/sbin
unset "${!PORTFENCE_@}" LD_PRELOAD

# Copies, where another user can reach them.
chmod 755 "$home"
mkdir "$home/stress" "$home/probe"
cp "$B/portfence" "$B/libportfence.so" "$home"
cp "$B"/stress/{driver,worker,fill} "$home/stress"
cp "$B"/probe/{sink,wire} "$home/probe"

echo "seed $seed"
# shellcheck disable=SC2016 # the inner shell's
unshare --net --pid --fork --kill-child --mount --mount-proc -- sh -c \
	'ip link set lo up && exec "$0" "$@"' \
	"$home/stress/driver" "${1:-16}" "$seed" "$home/portfence" "$home/stress" "$home" \
	"${3:--1}" &
# A shell that waits in the foreground would not hear of it.
trap 'kill -KILL $!; wait; exit 143' INT TERM
wait $!
