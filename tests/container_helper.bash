# SPDX-License-Identifier: MIT
# What the tests with containers share: podman with a storage of its own, in the test's namespace.

# Gives this file a storage for images and containers, and limits that this user may set.
containers_new()
{
	export CONTAINERS=$BATS_FILE_TMPDIR/containers
	export CONTAINERS_STORAGE_CONF=$CONTAINERS/storage.conf CONTAINERS_CONF=$CONTAINERS/containers.conf
	mkdir "$CONTAINERS"
	printf '%s\n' '[storage]' 'driver = "vfs"' "graphroot = \"$CONTAINERS/store\"" \
		"runroot = \"$CONTAINERS/run\"" >"$CONTAINERS_STORAGE_CONF"
	printf '%s\n' '[containers]' 'default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]' \
		'cgroups = "disabled"' '[engine]' 'cgroup_manager = "cgroupfs"' 'events_logger = "none"' \
		"tmp_dir = \"$CONTAINERS/tmp\"" >"$CONTAINERS_CONF"
}

# The prefix of commands that want cgroups as they are on newer systems.
WITH_CGROUPS=(unshare --mount sh -c '
	umount --lazy --recursive /sys/fs/cgroup
	mount -t cgroup2 none /sys/fs/cgroup
	exec "$@"' sh)

# Runs podman in the namespace.
podman_in()
{
	net "${WITH_CGROUPS[@]}" podman "$@"
}

# Runs a container of the image: contained OPTION... fenced COMMAND...
contained()
{
	podman_in run --rm --network=host "$@"
}

# Copies a program and what it is linked with into an image's tree: tree_add TREE FILE PLACE
tree_add()
{
	install -D "$2" "$1/$3"
	ldd "$2" | grep -o '/[^ ]*' | xargs cp -L --parents -t "$1"
}

# Copies the command and the library to where `make install` has them.
tree_add_fence()
{
	tree_add "$1" "$PORTFENCE" usr/local/bin/portfence
	install -D "$SHIM" "$1/usr/local/lib/portfence/libportfence.so"
}
