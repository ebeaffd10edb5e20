# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# What the scripts of this folder share; sourced by each of them.
set -eu

WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT

# fetch NAME=VERSION...: unpacks these Debian packages below $WORK/root, installs nothing
fetch() {
	echo "packages: $*" | fold -s -w 100
	mkdir "$WORK/debs" "$WORK/root"
	if ! (cd "$WORK/debs" && apt-get -qq -o APT::Sandbox::User=root download "$@"); then
		echo "these versions cannot be had here: nothing was tried" >&2
		exit 2
	fi
	for deb in "$WORK"/debs/*.deb; do
		dpkg -x "$deb" "$WORK/root"
	done
	export ROOT=$WORK/root
	export LIBS=$ROOT/usr/lib/x86_64-linux-gnu:$ROOT/lib/x86_64-linux-gnu:$ROOT/usr/lib
}

# machine: for a find that is about the kernel or the libc that is there
machine() {
	echo "Linux $(uname -r), $(getconf GNU_LIBC_VERSION), $(ip -V), $(python3 -V)"
}

# inside COMMAND...: runs it with a network of its own (lo up), and ends what it has left running
inside() {
	local user=()
	[ "$(id -u)" = 0 ] || user=(--map-root-user)
	# shellcheck disable=SC2016 # the inner shell's $@
	timeout 50 unshare "${user[@]}" --net --pid --fork --kill-child \
		sh -c 'ip link set lo up && "$@"' sh "$@"
}

# verdict GUESS RECORDED SEEN
verdict() {
	printf 'one would guess:\n%s\nseen:\n%s\n' "$1" "$3"
	if [ "$2" = "$3" ]; then
		echo "as recorded"
	else
		printf 'CHANGED, recorded was:\n%s\n' "$2"
		exit 1
	fi
}
