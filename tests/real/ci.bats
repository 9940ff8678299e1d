#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Parallel test runs: suites that trust a port they have closed clash when bare, and never in blocks.

# shellcheck disable=SC2016 # make, sh and bats expand them

load real_helper

setup()
{
	netns_new
	pool_dir_new
	cd "$BATS_TEST_TMPDIR" || return
	printf '%s\n' '[pool ci]' 'ports = 30000-30799' 'block = 100' 'parity = even' >ci.conf
	jobs_new 8
	cat >job.py <<-'E'
		"""Finds a free port, and trusts that it and the next one will still be free a moment later."""
		import socket

		def together():
		    """Returns once all jobs of the moment are here."""
		    with socket.socket(socket.AF_UNIX) as gate:
		        gate.connect("barrier")
		        gate.recv(1)

		def server(port):
		    s = socket.socket()
		    s.bind(("127.0.0.1", port))
		    s.listen()
		    return s

		def work():
		    try:
		        try:
		            with server(0) as s:
		                port = s.getsockname()[1]
		        finally:
		            together()
		        pair = [server(port), server(port + 1)]
		    finally:
		        together()
		    for s in pair:
		        client = socket.create_connection(s.getsockname())
		        s.accept()[0].sendall(b"works")
		        assert client.recv(5) == b"works"
		    with open("ports", "a") as file:
		        file.write(f"{port}\n{port + 1}\n")

		if __name__ == "__main__":
		    work()
	E
}

teardown()
{
	world_end
}

# Sets how many jobs a suite has, and how many are at work at a time: jobs_new COUNT [AT-A-TIME]
# They want two ports each, and bare there is one port for each, and one more.
jobs_new()
{
	JOBS=$1
	net sysctl -qw net.ipv4.ip_local_port_range="50000 $((49999 + $1))"
	rm -f barrier
	serve /usr/bin/python3 -uc 'if True:
		import socket, sys
		gate = socket.socket(socket.AF_UNIX)
		gate.bind("barrier")
		gate.listen(100)
		print("open")
		while True:
		    for each in [gate.accept()[0] for _ in range(int(sys.argv[1]))]: each.close()' "${2-$1}"
	wait_for_line '^open$'
}

# Runs a suite with a prefix of each of its jobs: suite PREFIX COMMAND...
# The command puts $WRAP before each job.
suite()
{
	net env -u MAKEFLAGS -u MAKELEVEL WRAP="$1" "${@:2}"
}

# Fails unless the jobs of a suite clash when they are bare: assert_clashes COMMAND...
assert_clashes()
{
	run suite '' "$@"
	[ "$status" -ne 0 ]
	[[ $output == *'Address already in use'* ]]
}

# Fails unless all goes well, twice, with a block for each job, on ports that are its own:
# assert_stable COMMAND...
assert_stable()
{
	for _ in 1 2; do
		rm -f ports
		wire_start
		suite "$PORTFENCE run --policy $PWD/ci.conf --pool ci --wait 60s --" "$@"
		wire_end
		[ "$(sort -u ports | wc -l)" -eq $((2 * JOBS)) ]
		assert_ports_in 30000-30799 <ports
		[ "$(packets | wc -l)" -eq $((2 * JOBS)) ]
		packets | cut -d' ' -f2 | assert_ports_in 30000-30799
	done
}

makefile_new()
{
	printf '%s\n' 'jobs := $(addprefix job-,1 2 3 4 5 6 7 8)' 'all: $(jobs)' '$(jobs):' \
		'	$(WRAP) /usr/bin/python3 job.py' '.PHONY: all $(jobs)' >Makefile
}

@test "make -j" {
	makefile_new
	assert_clashes make -s -k -j8
	assert_stable make -s -k -j8
}

@test "make -j with fewer blocks than jobs, which wait for one" {
	printf '%s\n' '[pool ci]' 'ports = 30000-30399' 'block = 100' 'parity = even' >ci.conf
	makefile_new
	jobs_new 8 4
	assert_stable make -s -k -j8
}

@test "ctest -j" {
	mkdir suite
	for job in 1 2 3 4 5 6 7 8; do
		echo "add_test(job-$job sh -c \"cd $PWD && exec \$WRAP /usr/bin/python3 job.py\")"
	done >suite/CTestTestfile.cmake
	assert_clashes ctest --test-dir suite -j8 --output-on-failure --no-tests=error
	assert_stable ctest --test-dir suite -j8 --output-on-failure --no-tests=error
}

@test "pytest-xdist, a block for each worker" {
	jobs_new 4
	for job in 1 2 3 4; do
		printf '%s\n' 'import job' 'def test_work():' '    job.work()' >test_$job.py
	done
	printf '%s\n' '#!/bin/sh' 'exec $WRAP /usr/bin/python3 "$@"' >python
	chmod 755 python
	pytest=(/usr/bin/python3 -m pytest -q -p no:cacheprovider --dist loadfile
		--tx "4*popen//python=$PWD/python")
	assert_clashes "${pytest[@]}"
	assert_stable "${pytest[@]}"
}

@test "bats --jobs" {
	for job in 1 2 3 4 5 6 7 8; do
		printf '@test "job %s" {\n	cd "%s"\n	$WRAP /usr/bin/python3 job.py\n}\n' $job "$PWD"
	done >suite.bats
	# This bats has variables that another takes for its own.
	nested=(sh -c 'exec env -i PATH=/usr/bin:/bin HOME="$PWD" TMPDIR="$PWD" WRAP="$WRAP" \
		PORTFENCE_DIR="$PORTFENCE_DIR" bats --jobs 8 suite.bats')
	assert_clashes "${nested[@]}"
	assert_stable "${nested[@]}"
}
