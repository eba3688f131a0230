#!/bin/sh
# Proves the README's first lines on a machine that has nothing: a Debian 12 just
# made by debootstrap, with Go, git and make, clones what is committed here and
# runs `make demo test`, or make with the arguments given. Needs root and Debian.
#
#   sh internal/tools/fresh.sh [demo test PKG=./db]
#
# Everything mounts in a mount namespace of its own, and runs in a process
# namespace of its own: whatever ends this script, no mount and no process stays.
set -eu

release=bookworm

fail() {
	echo "make fresh: $*" >&2
	exit 1
}

# outside prepares the directory, and removes it whatever happens.
outside() {
	script=$(readlink -f "$0")
	if [ "$(id -u)" != 0 ]; then
		command -v sudo >/dev/null || fail "debootstrap and chroot need root"
		exec sudo env "PATH=$PATH" "NICE=${NICE:-0}" sh "$script" "$@"
	fi
	command -v debootstrap >/dev/null || apt-get install -y -q debootstrap >/dev/null ||
		fail "debootstrap is missing: apt-get install debootstrap"
	go=$(go env GOROOT)
	cd "$(dirname "$script")/../.."
	root=$(mktemp -d "${TMPDIR:-/var/tmp}/imapsync-fresh.XXXXXX")
	chmod 755 "$root" # the root of others too: PostgreSQL does not run as root
	inside=
	trap clean EXIT
	trap 'exit 130' HUP INT TERM
	git -c safe.directory='*' bundle create -q "$root.bundle" HEAD
	mkdir "$root/srv"
	mv "$root.bundle" "$root/srv/imapsync.bundle"
	# In the background and waited for: only so a signal is seen at once.
	unshare --mount --pid --fork --kill-child nice -n "${NICE:-0}" sh "$script" --inside "$root" "$go" "$@" &
	inside=$!
	code=0
	wait "$inside" || code=$?
	inside=
	exit "$code"
}

# clean ends what is left in there, by the death of its first process, and removes
# the files. The dying may still write one.
clean() {
	[ -z "$inside" ] || kill -9 "$inside" 2>/dev/null || true
	for pause in 1 3 0; do
		rm -rf --one-file-system "$root" "$root.bundle" 2>/dev/null && return
		sleep "$pause"
	done
	echo "make fresh: could not remove $root" >&2
}

# inside makes the system and works in it. The mounts end with the namespace.
inside() {
	root=$1 go=$2
	shift 2
	[ $# -gt 0 ] || set -- demo test

	echo "make fresh: debootstrap of Debian $release" >&2
	log=$(mktemp)
	debootstrap --variant=minbase --include=ca-certificates,git,make "$release" "$root" "$(mirror)" >"$log" 2>&1 ||
		{ tail -n 15 "$log" >&2; rm -f "$log"; fail "debootstrap: see above"; }
	rm -f "$log"

	# How this machine reaches the network, and whom it trusts.
	cp /etc/resolv.conf /etc/hosts "$root/etc/"
	apt-config dump | grep -E '^Acquire::(https?::)?(Proxy|[A-Za-z.-]*::Proxy|CaInfo)' >"$root/etc/apt/apt.conf.d/99host" || true
	find /usr/local/share/ca-certificates -name '*.crt' -exec cp {} "$root/usr/local/share/ca-certificates/" \;
	chroot "$root" update-ca-certificates >/dev/null 2>&1

	cp -a "$go" "$root/usr/local/go"
	mountpoint -q "$root/proc" || mount -t proc proc "$root/proc"
	mkdir -p "$root/dev/pts" "$root/dev/shm"
	mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts "$root/dev/pts"
	mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"

	for name in GOPROXY GOSUMDB GONOSUMDB GONOPROXY GOPRIVATE GOINSECURE; do
		export "$name=$("$go/bin/go" env "$name")"
	done
	# shellcheck disable=SC2016 # expanded in there
	env -i HOME=/root TERM=dumb LANG=C.UTF-8 PATH=/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
		GOPROXY="$GOPROXY" GOSUMDB="$GOSUMDB" GONOSUMDB="$GONOSUMDB" GONOPROXY="$GONOPROXY" GOPRIVATE="$GOPRIVATE" GOINSECURE="$GOINSECURE" \
		http_proxy="${http_proxy:-${HTTP_PROXY:-}}" https_proxy="${https_proxy:-${HTTPS_PROXY:-}}" no_proxy="${no_proxy:-${NO_PROXY:-}}" \
		chroot "$root" sh -eu -c '
			git -c advice.detachedHead=false clone -q /srv/imapsync.bundle /root/imapsync
			cd /root/imapsync
			echo "make fresh: make $*" >&2
			make "$@"' sh "$@"
	echo "make fresh: passed: $*" >&2
}

# mirror prints where this machine has its Debian packages from.
mirror() {
	{ cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources 2>/dev/null || true; } |
		grep -Eo '^(deb |URIs:).*https?://[^ ]*/debian/?( |$)' | grep -Eo 'https?://[^ ]*' | head -n 1 | grep . ||
		echo http://deb.debian.org/debian
}

if [ "${1:-}" = --inside ]; then
	shift
	inside "$@"
else
	outside "$@"
fi
