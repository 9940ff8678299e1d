#!/bin/sh
# SPDX-License-Identifier: MIT
# Builds the Debian package beside the sources, out of a copy of them: deb.sh VERSION
set -eu
cd "$(dirname "$0")/.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/portfence"
tar -c --exclude-vcs --exclude='./build*' --exclude='*.deb' . | tar -x -C "$work/portfence"
cp -r packaging/debian "$work/portfence/"
sed -i "s/@VERSION@/$1/" "$work/portfence/debian/changelog"
(
	cd "$work/portfence"
	env -i PATH="$PATH" DEB_BUILD_OPTIONS="noautodbgsym parallel=$(nproc)" \
		dpkg-buildpackage -b -uc -us
) >"$work/log" 2>&1 || {
	cat "$work/log" >&2
	exit 1
}
for package in "$work"/*.deb; do
	mv "$package" .
	echo "${package##*/}"
done
