#!/bin/sh
# SPDX-License-Identifier: MIT
# Entrypoint of replicas that leave through one address of a NAT, with shared-nat.conf: each takes
# its slice of the ports. Its number is the end of its name, as in a StatefulSet: web-0, web-1, ...
set -eu
read -r name </proc/sys/kernel/hostname
export NAT_SLICE="${NAT_SLICE:-${name##*-}/${REPLICAS:-2}}"
exec portfence run --policy /etc/portfence.conf -- "$@"
