#!/bin/sh
# SPDX-License-Identifier: MIT
# Installs what a verb needs and Debian does not have yet: setup.sh build|demo|check|real|cov|lint|fuzz|bench|deb
# Says nothing and asks nobody when nothing is missing. No daemon is started by it.
set -eu

# PACKAGE:COMMAND is wanted only where COMMAND is not there from elsewhere.
build='gcc libc6-dev make uthash-dev libinih-dev libjson-c-dev libmicrohttpd-dev
	libncurses-dev libseccomp-dev'
demo="$build curl iproute2 nginx-light:nginx python3"
check="$demo bats libcmocka-dev libmnl-dev util-linux mount procps wget apache2-utils wrk strace tmux valgrind hyperfine
	redis-server redis-tools postgresql bind9-dnsutils ldnsutils dnsmasq-base vsftpd lftp
	openssh-server openssh-client netcat-openbsd socat xxd
	libjemalloc2 libtcmalloc-minimal4 libfaketime libproxychains4 microsocks iperf3
	nodejs:node default-jdk-headless:javac
	clang gcc-multilib musl-tools qemu-user
	binutils-aarch64-linux-gnu libc6-dev-arm64-cross libgcc-12-dev-arm64-cross
	binutils-s390x-linux-gnu libc6-dev-s390x-cross libgcc-12-dev-s390x-cross
	liburing-dev busybox-static
	golang-go:go libcap2-bin nftables:nft iptables prometheus:promtool python3-yaml
	bash-completion zsh dpkg-dev debhelper lintian mandoc systemd podman crun"
real="$check openssl
	chromium python3-requests python3-aiohttp python3-uvloop libwww-perl ruby
	haproxy squid stunnel4
	php-cli php-curl erlang-base lua5.4 lua-socket rustc g++ libboost-dev toybox hey
	busybox-static
	postfix swaks msmtp dovecot-imapd dovecot-pop3d fetchmail isync
	tnftp python3-pyftpdlib rsync
	xvfb x11-apps x11-xserver-utils tigervnc-standalone-server tigervnc-viewer freerdp2-x11
	freerdp2-shadow-x11
	sip-tester baresip-core
	unbound knot-dnsutils dnsperf ntpsec-ntpdate mariadb-server mariadb-client memcached
	libmemcached-tools mosquitto mosquitto-clients rabbitmq-server amqp-tools rpcbind
	nfs-ganesha-mem libnfs-utils
	runc catatonit bubblewrap systemd-container
	cmake:ctest python3-pytest python3-pytest-xdist parallel"
cov="$check llvm libclang-rt-dev"
fuzz="$build clang libclang-rt-14-dev"
bench="$demo util-linux redis-server redis-tools postgresql wrk iperf3 apache2-utils gnuplot-nox"
deb="$build dpkg-dev debhelper"
lint="$build clang clang-format clang-tidy cppcheck shellcheck"

PATH=$PATH:/usr/sbin:/sbin
export PATH DEBIAN_FRONTEND=noninteractive

is_installed()
{
	[ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# Prints those of the given packages that are missing.
missing()
{
	for want; do
		package=${want%%:*}
		command=${want#"$package"}
		[ -n "$command" ] && command -v "${command#:}" >/dev/null && continue
		is_installed "$package" || printf '%s ' "$package"
	done
}

# Runs apt-get; what it prints is shown only if it fails.
apt()
{
	apt-get -qq -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300 "$@" >"$log" 2>&1 || {
		cat "$log" >&2
		exit 1
	}
}

install_packages()
{
	guard=/usr/sbin/policy-rc.d
	log=$(mktemp)
	if [ -e $guard ]; then
		trap 'rm -f "$log"' EXIT
	else
		trap 'rm -f "$log" $guard' EXIT
		printf '#!/bin/sh\nexit 101\n' >$guard
		chmod 755 $guard
	fi
	apt update
	apt install -y --no-install-recommends "$@"
}

case ${1-} in
build) wanted=$build ;;
demo) wanted=$demo ;;
check) wanted=$check ;;
real) wanted=$real ;;
cov) wanted=$cov ;;
lint) wanted=$lint ;;
fuzz) wanted=$fuzz ;;
bench) wanted=$bench ;;
deb) wanted=$deb ;;
install) # from below, as root
	shift
	install_packages "$@"
	exit
	;;
*)
	echo 'usage: setup.sh build|demo|check|real|cov|lint|fuzz|bench|deb' >&2
	exit 2
	;;
esac

if ! command -v dpkg-query >/dev/null; then
	# shellcheck disable=SC2086
	echo "setup: no dpkg here; what Debian 12 calls" $wanted "must be there already" >&2
	exit 0
fi

# shellcheck disable=SC2086 # package names are words
packages=$(missing $wanted)
[ -n "$packages" ] || exit 0
echo "setup: installing $packages" >&2

# shellcheck disable=SC2086
if [ "$(id -u)" = 0 ]; then
	install_packages $packages
elif sudo -n true 2>/dev/null; then
	sudo -n "$0" install $packages
else
	echo "setup: not root and no sudo without a password; run: sudo $0 install $packages" >&2
	exit 1
fi
