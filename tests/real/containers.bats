#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Containers: whose entrypoint is the fence; pods, bundles and sandboxes, with and without privileges.

# shellcheck disable=SC2016,SC2154 # shells inside have variables of their own; assert_job sets pool
# shellcheck disable=SC2030,SC2031 # each test is a process of its own
# shellcheck disable=SC2317 # assert_job calls them

load real_helper
load ../container_helper

setup_file()
{
	netns_new
	containers_new
	cd "$(scratch)" || return
	mkdir www
	head -c 100000 /dev/urandom >www/file
	cat >nginx.conf <<-E
		daemon off; worker_processes 1; pid $PWD/nginx.pid; error_log stderr warn;
		events { worker_connections 1000; }
		http { access_log off; root $PWD/www; server { listen 8080; } }
	E
	serve_on 8080 nginx -c "$PWD/nginx.conf"
	sink_start 8081

	mkdir -p image/{dev,etc,out,proc,run,sys,tmp,usr,var}
	tree_add image /bin/sh bin/sh
	tree_add image /bin/cat bin/cat
	tree_add image /usr/bin/curl usr/bin/curl
	tree_add image "$PROBE/dial" usr/bin/dial
	tree_add image "$PROBE/hold" usr/bin/hold
	tree_add_fence image
	printf '%s\n' 'FROM scratch' 'COPY image /' 'ENTRYPOINT ["portfence", "run", "--"]' >Containerfile
	podman_in build --quiet --tag fenced .
}

teardown_file()
{
	world_end
}

setup()
{
	pool_dir_new
	cd "$BATS_TEST_TMPDIR" || return
	mkdir -m 777 out
	IMAGE=$BATS_FILE_TMPDIR/image
}

teardown()
{
	local dir
	[ -n "${BATS_TEST_COMPLETED-}" ] || {
		podman_in pod rm --all --force --time 0
		podman_in rm --all --force --time 0
	}
	servers_end
	calls_forget
	for dir in "$BATS_TEST_TMPDIR"/shm*; do
		! mountpoint -q "$dir" || umount "$dir"
	done
}

# What a job runs in a container: twenty files at once.
CURL=(curl -sSZ --parallel-immediate -o '/out/got.#1' 'http://127.0.0.1:8080/file?[1-20]')

# Fails unless they are what the server has.
assert_got()
{
	local file
	[ "$(find out -name 'got.*' | wc -l)" -eq 20 ]
	for file in out/got.*; do
		cmp "$file" "$BATS_FILE_TMPDIR/www/file"
	done
	rm out/*
}

# Sets $ENTRY, what is the first process inside; it is empty while a job is done bare.
entry_set()
{
	ENTRY=()
	[ -z "$pool" ] || ENTRY=(portfence run --ports "$pool" --)
}

# Runs a container of the image, whose entrypoint is the fence, or without that, while a job is done
# bare: boxed OPTION... fenced COMMAND...
boxed()
{
	local how=(--entrypoint '[]')
	[ -z "$pool" ] || how=(--env "PORTFENCE_PORTS=$pool")
	contained "${how[@]}" --volume "$PORTFENCE_DIR:/dev/shm" --volume "$PWD/out:/out" "$@"
}

# --- podman ----------------------------------------------------------------------------------

@test "an entrypoint on a read-only root, of a user without capabilities" {
	job()
	{
		boxed --read-only --cap-drop all --security-opt no-new-privileges --user 1000:1000 \
			fenced "${CURL[@]}"
		assert_got
	}
	assert_job podman podman job
}

@test "an entrypoint in a rootless container" {
	mkdir home run
	cp -a "$IMAGE" home/image
	for file in storage containers; do
		sed "s#$CONTAINERS#$PWD/home#" "$CONTAINERS/$file.conf" >home/$file.conf
	done
	chown -R nobody home run
	chmod 700 run
	rootless()
	{
		net "${WITH_CGROUPS[@]}" setpriv --reuid=nobody --regid=nogroup --clear-groups \
			env HOME="$PWD/home" XDG_RUNTIME_DIR="$PWD/run" CONTAINERS_CONF="$PWD/home/containers.conf" \
			CONTAINERS_STORAGE_CONF="$PWD/home/storage.conf" podman run --rm --network=host \
			--volume "$PORTFENCE_DIR:/dev/shm" --volume "$PWD/out:/out" --rootfs "$PWD/home/image" "$@"
	}
	job()
	{
		entry_set
		rootless "${ENTRY[@]}" "${CURL[@]}"
		assert_got
	}
	# The segment is of the user that is root in there, and only there.
	status_of()
	{
		rootless portfence status | awk 'NR == 2 { print $5 }'
	}
	assert_job podman podman job
}

@test "podman exec, which passes by the entrypoint: the image's environment" {
	job()
	{
		local env=()
		[ -z "$pool" ] || env=(--env LD_PRELOAD=/usr/local/lib/portfence/libportfence.so
			--env PORTFENCE_PORTS="$pool")
		podman_in run --detach --name long --network=host --entrypoint '["cat"]' --interactive \
			"${env[@]}" --volume "$PORTFENCE_DIR:/dev/shm" --volume "$PWD/out:/out" fenced >/dev/null
		podman_in exec long "${CURL[@]}"
		podman_in rm --force --time 0 long
		assert_got
	}
	assert_job podman podman job
}

@test "an entrypoint of musl: a program and a library that know no glibc" {
	mkdir -p musl/{dev,lib,out,proc,sys,tmp}
	cp /lib/ld-musl-x86_64.so.1 musl/lib
	musl-gcc -D_GNU_SOURCE -pthread -o musl/threads "$BATS_TEST_DIRNAME/../probe/threads.c"
	cp "$SHIM" musl/lib
	job()
	{
		local env=()
		[ -z "$pool" ] || env=(--env LD_PRELOAD=/lib/libportfence.so --env PORTFENCE_PORTS="$pool")
		contained "${env[@]}" --volume "$PORTFENCE_DIR:/dev/shm" --rootfs "$PWD/musl" \
			/threads 8 20 8081 >said
		grep -qx '160 connected, 0 failed' said
	}
	assert_job podman podman job
}

# --- two containers in one network -----------------------------------------------------------

# The ports of the connections to an address.
held()
{
	tcp_local_ports state established "dst $1 dport = :8081"
}

# Starts a container that holds forty connections to an address: holder_start NAME ADDRESS OPTION...
holder_start()
{
	serve "${WITH_CGROUPS[@]}" podman run --rm --name "$1" "${@:3}" fenced hold 40 8081 "$2"
	wait_for_line ' held'
	assert_log '40 held'
}

@test "the memory of a pod: containers have blocks of their own, as long as they live" {
	printf '%s\n' '[pool ci]' 'ports = 24000-24299' 'block = 100' >policy.conf
	podman_in pod create --name pod --network=host >/dev/null
	share=(--pod pod --volume "$PWD/policy.conf:/etc/portfence.conf:ro")
	for each in 2 3 4; do
		holder_start "box$each" "127.0.0.$each" "${share[@]}"
	done
	for each in 2 3 4; do
		held "127.0.0.$each" | sed 's/..$/00/' | sort -u >>blocks
	done
	sort blocks
	[ "$(sort blocks | paste -sd' ')" = '24000 24100 24200' ]
	run -125 podman_in run --rm "${share[@]}" fenced hold 1 8081 127.0.0.5
	[[ $output == *'all blocks of 100 ports are taken (3)'* ]]
	podman_in rm --force --time 0 box3
	holder_start box5 127.0.0.5 "${share[@]}"
	[ "$(held 127.0.0.5 | sed 's/..$/00/' | sort -u)" = "$(sed -n 2p blocks)" ]
	podman_in pod rm --force --time 0 pod
}

@test "memory of their own, a late pool: the kernel keeps containers apart at no loss" {
	for each in 1 2; do
		holder_start box$each 127.0.0.2 --network=host --env PORTFENCE_PORTS=40000-40099
	done
	held 127.0.0.2 >ports
	assert_ports_in 40000-40099 <ports
	[ "$(sort -u ports | wc -l)" -eq 80 ]
	podman_in rm --force --time 0 box1 box2
}

@test "memory of their own, a bind pool: a port that another container has costs a refusal" {
	holder_start box1 127.0.0.2 --network=host --env PORTFENCE_PORTS=24000-24099
	holder_start box2 127.0.0.3 --network=host --env PORTFENCE_PORTS=24000-24099
	held 127.0.0.2 >ports.1
	assert_ports_in 24000-24099 <ports.1
	held 127.0.0.3 | assert_ports_in 24000-24099
	contained --env PORTFENCE_PORTS=24000-24099 fenced sh -c '
		for i in 1 2 3 4 5; do for j in 1 2 3 4 5 6 7 8; do dial tcp 127.0.0.2 8081 || :; done; done' >said
	grep -v '^EADDRNOTAVAIL$' said >ports.3
	assert_ports_in 24000-24099 <ports.3
	[ "$(sort -u ports.1 ports.3 | wc -l)" -eq "$((40 + $(wc -l <ports.3)))" ]
	[ "$(grep -c '^EADDRNOTAVAIL$' said)" -le 1 ]
	podman_in rm --force --time 0 box1 box2
}

# --- other runtimes --------------------------------------------------------------------------

# Makes a bundle that runs a command: bundle_new COMMAND...
bundle_new()
{
	rm -rf bundle
	mkdir bundle
	runc spec --bundle bundle
	/usr/bin/python3 - "$IMAGE" "$PORTFENCE_DIR" "$PWD/out" "$@" <<-'E'
		import json, sys
		with open("bundle/config.json") as file:
		    config = json.load(file)
		image, memory, out, *command = sys.argv[1:]
		config["process"].update(terminal=False, rlimits=[], args=command)
		config["root"] = {"path": image, "readonly": True}
		config["mounts"] = [m for m in config["mounts"] if m["destination"] != "/dev/shm"] + [
		    {"destination": d, "source": s, "type": "bind", "options": ["bind", "rw"]}
		    for d, s in (("/dev/shm", memory), ("/out", out))]
		del config["linux"]["resources"]
		namespaces = config["linux"]["namespaces"]
		config["linux"]["namespaces"] = [n for n in namespaces if n["type"] not in ("network", "cgroup")]
		with open("bundle/config.json", "w") as file:
		    json.dump(config, file)
	E
}

# Runs a bundle whose command is curl behind the fence, or bare.
bundle_job()
{
	entry_set
	bundle_new "${ENTRY[@]}" "${CURL[@]}"
	net "${WITH_CGROUPS[@]}" "$RUNTIME" --root "$PWD/state" run --bundle "$PWD/bundle" real
	assert_got
}

@test "a bundle, the fence its first process" {
	RUNTIME=runc
	assert_job runc runc bundle_job
}

@test "a bundle, the fence its first process (crun)" {
	RUNTIME=crun
	assert_job crun crun bundle_job
}

@test "a sandbox of everything but the network, of root and of nobody" {
	job()
	{
		local user
		entry_set
		for user in root nobody; do
			net setpriv --reuid="$user" --clear-groups env -u PORTFENCE_DIR bwrap --unshare-all --share-net \
				--ro-bind "$IMAGE" / --dev /dev --proc /proc --bind "$PORTFENCE_DIR" /dev/shm \
				--bind "$PWD/out" /out "${ENTRY[@]}" "${CURL[@]}"
			assert_got
		done
	}
	assert_job bwrap bubblewrap job
}

@test "a container of systemd's, its second process" {
	job()
	{
		# As /dev/shm is: a segment on a disk would be of another boot, which nspawn makes up.
		mountpoint -q "$PORTFENCE_DIR" || mount -t tmpfs -o mode=1777 none "$PORTFENCE_DIR"
		entry_set
		net systemd-nspawn --quiet --register=no --keep-unit --as-pid2 --directory="$IMAGE" --read-only \
			--bind="$PORTFENCE_DIR:/dev/shm" --bind="$PWD/out:/out" --console=pipe \
			"${ENTRY[@]}" "${CURL[@]}"
		assert_got
	}
	assert_job systemd-nspawn systemd-container job
}
