#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# The samples for containers: the image is built without a network, and run; who looks is outside.

# shellcheck disable=SC2016,SC2154 # shells inside have variables of their own; `run` sets output

load test_helper
load container_helper

setup_file()
{
	netns_new
	ip -n "$NETNS" address add 192.0.2.1/32 dev lo
	sink_start 80
	containers_new

	cd "$BATS_FILE_TMPDIR" || return
	mkdir -p base/etc image/root
	tree_add base /bin/sh bin/sh
	tree_add base "$PROBE/dial" usr/bin/curl
	printf 'FROM scratch\nCOPY base /\n' >Containerfile
	podman_in build --quiet --tag base .
	install -D "$PORTFENCE" image/root/usr/local/bin/portfence
	install -D "$SHIM" image/root/usr/local/lib/portfence/libportfence.so
	cp "$ROOT/config/web-client.conf" image/portfence.conf
	cp "$ROOT"/config/{Containerfile,entrypoint.sh} image/
	podman_in build --quiet --build-arg BASE=localhost/base --tag fenced image
}

teardown_file()
{
	servers_end
	netns_end
}

setup()
{
	pool_dir_new
	wire_start
}

teardown()
{
	servers_end
}

@test "what runs in the container leaves from the pool of its policy" {
	contained fenced curl tcp 192.0.2.1 80
	wire_end
	wire_sources | assert_ports_in 20000-21999
}

@test "ports in the container's environment come before its policy" {
	contained --env PORTFENCE_PORTS=23000-23009 fenced curl tcp 192.0.2.1 80
	wire_end
	wire_sources | assert_ports_in 23000-23009
}

@test "the program is the container's first process, and its status the container's" {
	run -7 contained fenced sh -c 'echo $$; exit 7'
	[ "$output" = 1 ]
	run -127 contained fenced no-such-program
}

@test "replicas with a slice each leave from ports that never meet" {
	for replica in 0 1; do
		contained --hostname web-$replica --entrypoint entrypoint.sh \
			--volume "$ROOT/config/shared-nat.conf:/etc/portfence.conf" fenced \
			sh -c 'for i in 1 2 3 4 5 6 7 8; do curl tcp 192.0.2.1 80; done' >ports.$replica
	done
	wire_end
	assert_ports_in 32768-46847 <ports.0
	assert_ports_in 46848-60927 <ports.1
	[ "$(wire_sources | sort -u)" = "$(sort -u ports.0 ports.1)" ]
}

@test "containers that share network and memory share a pool" {
	for _ in 1 2 3; do
		contained --volume "$PORTFENCE_DIR:/dev/shm" --env PORTFENCE_PORTS=24000-24003 \
			fenced curl tcp 192.0.2.1 80
	done
	[ "$(find "$PORTFENCE_DIR" -type f | wc -l)" -eq 1 ]
	[ "$(status_of PORTS)" = 24000-24003 ]
	[ "$(net "$PORTFENCE" log --no-header | wc -l)" -eq 3 ]
}

# Runs the raw probe in a strict run in a container: contained_strictly RANGES PODMAN-OPTION...
contained_strictly()
{
	contained "${@:2}" --volume "$PROBE/raw:/raw" --entrypoint portfence fenced \
		run --strict --ports "$1" -- /raw connect 80
}

# Writes a filter for podman that allows all but a system call.
profile_without()
{
	printf '{ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
		{ "names": ["%s"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1 } ] }' "$1"
}

@test "a strict run under podman's own filter fences raw system calls, with each claim" {
	run -0 contained fenced sh -c 'while read -r name value; do
		[ "$name" != Seccomp: ] || echo "$value"; done </proc/self/status'
	[ "$output" = 2 ]
	for pool in 20000-20999 40000-40999; do
		run -0 contained_strictly "$pool"
		assert_ports_in "$pool" <<<"$output"
	done
}

@test "a strict run says what a sandbox does not allow, and =auto goes on without" {
	cd "$BATS_TEST_TMPDIR"
	profile_without seccomp >no-filter.json
	profile_without pidfd_getfd >no-copy.json
	run --separate-stderr -125 contained_strictly 40000-40999 --security-opt seccomp=no-filter.json
	assert_one_line 'the seccomp filter is refused here: Operation not permitted'
	run --separate-stderr -125 contained_strictly 20000-20999 --security-opt seccomp=no-copy.json
	assert_one_line 'pidfd_getfd'
	run --separate-stderr -0 contained_strictly 40000-40999 --security-opt seccomp=no-copy.json
	assert_ports_in 40000-40999 <<<"$output"
	run --separate-stderr -0 contained --security-opt seccomp=no-filter.json \
		--entrypoint portfence fenced run --strict=auto --ports 40000-40999 -- \
		curl tcp 192.0.2.1 80
	assert_one_line 'only what the library sees is fenced'
	assert_ports_in 40000-40999 <<<"$output"
}
