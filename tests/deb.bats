#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# The Debian package: built from a copy of the sources, installed by dpkg, used as installed.

# shellcheck disable=SC2016,SC2154 # shells inside have variables of their own; `run` sets output

load test_helper

setup_file()
{
	netns_new
	sink_start
	mkdir "$BATS_FILE_TMPDIR/sources"
	cd "$BATS_FILE_TMPDIR/sources" || return
	tar -C "$ROOT" -c --exclude-vcs --exclude='./build*' --exclude='*.deb' . | tar -x
	env -u MAKEFLAGS make -s deb
	PACKAGE=$(echo "$PWD"/portfence_*_"$(dpkg --print-architecture)".deb)
	export PACKAGE
	installed 'dpkg --no-triggers --install "$1" >/dev/null' sh "$PACKAGE"
}

setup()
{
	cd "$(scratch)" || return
}

teardown_file()
{
	servers_end
	netns_end
}

# Runs a shell in this file's copy of the system, in which the package is installed. What is different
# there is in $BATS_FILE_TMPDIR/upper. installed SCRIPT [ARGUMENT...]
installed()
{
	net unshare --mount sh -ec '
		cd "$1"
		shift
		mkdir -p upper work root
		mount -t overlay -o "lowerdir=/,upperdir=$PWD/upper,workdir=$PWD/work" overlay root
		for dir in proc sys dev run tmp; do mount --rbind /$dir root/$dir; done
		exec chroot root env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root sh -ec "$@"' \
		sh "$BATS_FILE_TMPDIR" "$@"
}

# Boots that copy, by its own systemd, to run one service. Returns the service's exit status.
booted()
{
	net timeout -s KILL 60 unshare --mount --pid --ipc --cgroup --fork --kill-child sh -ec '
		cd "$1"
		mount -t overlay -o "lowerdir=/,upperdir=$PWD/upper,workdir=$PWD/work" overlay root
		mount -t proc proc root/proc
		mount -t sysfs sysfs root/sys
		mount -t cgroup2 cgroup2 root/sys/fs/cgroup
		mount --rbind /dev root/dev
		for dir in dev/shm run tmp; do mount -t tmpfs tmpfs root/$dir; done
		mkdir -p "root/run/systemd/system/$2.d"
		ln -s /dev/null root/run/systemd/system/network-online.target
		printf "%s\n" "[Unit]" DefaultDependencies=no SuccessAction=exit-force FailureAction=exit-force \
			"[Service]" Restart=no StandardOutput=null >"root/run/systemd/system/$2.d/test.conf"
		exec chroot root env -i container=test /lib/systemd/systemd --system --unit="$2" \
			--log-target=console --show-status=no' \
		sh "$BATS_FILE_TMPDIR" "$1"
}

@test "make deb builds the package of this version, and lintian finds nothing" {
	[ "$(dpkg-deb -f "$PACKAGE" Version)" = "$(sed -n 's/^VERSION = //p' "$ROOT/Makefile")" ]
	run lintian --allow-root --display-info --pedantic --fail-on error,warning,info "$PACKAGE"
	echo "$output"
	[ "$status" -eq 0 ]
	[ -z "$output" ]
}

@test "the package has the command, the library, pages, completions and samples" {
	dpkg-deb -c "$PACKAGE" | awk '{ print $6 }' >contents
	for file in bin/portfence lib/portfence/libportfence.so lib/portfence/portfence-prometheus \
		share/bash-completion/completions/portfence share/zsh/vendor-completions/_portfence \
		share/doc/portfence/copyright share/doc/portfence/changelog.gz; do
		grep -qx "./usr/$file" contents
	done
	for file in "$ROOT"/docs/*.[157]; do
		grep -qx "./usr/share/man/man${file##*.}/${file##*/}.gz" contents
	done
	for file in "$ROOT"/config/*; do
		grep -qxE "./usr/share/doc/portfence/examples/${file##*/}(\.gz|/)?" contents
	done
}

@test "the server of metrics alone needs its library, which is recommended" {
	[[ $(dpkg-deb -f "$PACKAGE" Depends) != *microhttpd* ]]
	[[ $(dpkg-deb -f "$PACKAGE" Recommends) =~ ^libmicrohttpd12\ .*$ ]]
}

@test "a program run by the installed command is fenced, and its children, too" {
	wire_start
	run -0 installed 'command -v portfence
		portfence run --ports 20000-20099 -- "$@"
		portfence run --ports 20000-20099 -- env -i "$@"' \
		sh /usr/bin/python3 -c 'import socket; socket.create_connection(("127.0.0.1", 8080))'
	[ "$output" = /usr/bin/portfence ]
	wire_end
	[ "$(wire_sources | wc -l)" -eq 2 ]
	wire_sources | assert_ports_in 20000-20099
}

@test "installed pages and completions are found" {
	run -0 installed 'man -w 1 portfence; man -w 7 portfence
		bash --norc -c ". /usr/share/bash-completion/bash_completion; _completion_loader portfence; complete -p portfence"
		zsh -fc "autoload -Uz compinit; compinit -uD; print \$_comps[portfence]"'
	[ "$output" = '/usr/share/man/man1/portfence.1.gz
/usr/share/man/man7/portfence.7.gz
complete -F _portfence portfence
_portfence' ]
}

@test "the unit among the samples runs a command in the pool of its name, by a policy" {
	wire_start
	run -0 installed 'cp /usr/share/doc/portfence/examples/portfence@.service /etc/systemd/system/
		systemd-analyze verify --man=no portfence@web.service
		mkdir /etc/portfence
		printf "%s\n" "[pool mail]" "ports = 20000-20099" "[pool web]" "ports = 21000-21099" >/etc/portfence.conf
		echo "COMMAND=\"/usr/bin/nc -z 127.0.0.1 8080\"" >/etc/portfence/web.env'
	[ -z "$output" ]
	booted portfence@web.service
	wire_end
	wire_sources | assert_ports_in 21000-21099
}

@test "the drop-in among the samples fences a unit" {
	wire_start
	run -0 installed 'cd /etc/systemd/system
		printf "%s\n" "[Service]" "ExecStart=/usr/bin/nc -z 127.0.0.1 8080" >client.service
		install -D -m 644 /usr/share/doc/portfence/examples/systemd-dropin.example client.service.d/portfence.conf
		systemd-analyze verify --man=no client.service'
	[ -z "$output" ]
	booted client.service
	wire_end
	wire_sources | assert_ports_in 20000-20999
}

@test "the man pages have no mistakes" {
	mandoc -T lint -W warning "$ROOT"/docs/*.[157] | sed "/unexpected section: Sh ERRORS/d" >mistakes
	cat mistakes
	[ ! -s mistakes ]
}

@test "a package that is removed leaves nothing" {
	[ -e "$BATS_FILE_TMPDIR/upper/usr/bin/portfence" ]
	installed 'dpkg --no-triggers --purge portfence >/dev/null'
	run -0 find "$BATS_FILE_TMPDIR"/upper/{usr,var} -name '*portfence*'
	echo "$output"
	[ -z "$output" ]
}
