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

# relays: runs $WORK/client.py beside $WORK/server.py on a host, and then behind slirp4netns and pasta as they connect
# containers without rights; what it prints stands behind their names
relays() {
	cat >"$WORK/try" <<'EOT'
# a host with a default route, on which pasta insists, and a server on one of its own addresses
ip link add v0 type veth peer name v1
ip address add 192.0.2.1/24 dev v0
ip address add 198.51.100.1/32 dev lo
ip link set v1 up
ip link set v0 up
ip route add default via 192.0.2.254
python3 server.py &
until [ -e listening ]; do sleep 0.1; done
printf 'host: '
python3 client.py
for relay in slirp4netns pasta; do
	: >$relay.net
	unshare --net=$relay.net true
	if [ $relay = pasta ]; then
		"$ROOT/usr/bin/pasta" -q -f --netns-only --runas 0 --config-net --netns "$PWD/$relay.net" &
	else
		LD_LIBRARY_PATH=$LIBS "$ROOT/usr/bin/slirp4netns" --configure --netns-type=path $relay.net tap0 &
	fi >/dev/null 2>&1
	tries=0
	until nsenter --net=$relay.net ip route get 198.51.100.1; do
		tries=$((tries + 1))
		[ $tries -lt 50 ] || break
		sleep 0.1
	done >/dev/null 2>&1
	printf '%s: ' $relay
	nsenter --net=$relay.net python3 client.py
done
EOT
	if [ ! -r /dev/net/tun ] || [ ! -w /dev/net/tun ]; then
		echo "no /dev/net/tun here: nothing was tried" >&2
		exit 2
	fi
	cd "$WORK" || exit 2
	inside unshare --mount-proc sh "$WORK/try"
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
