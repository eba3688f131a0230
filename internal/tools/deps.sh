#!/bin/sh
# Sees to it that what the tests and the demo start is installed: PostgreSQL,
# Dovecot, PgBouncer, promtool of Prometheus, systemd-analyze, Redis and Node for the
# examples, Chromium for the settings page, and a C compiler for the race detector. On
# Debian and its kin it installs what is missing (by sudo when not root); elsewhere it
# names it and fails. It starts no system service, and enables none: the tests and
# the demo run servers of their own.
set -eu

# has_file PATTERNS says whether a file matches one of the patterns.
has_file() {
	for f in $1; do
		[ -e "$f" ] && return 0
	done
	return 1
}

has_postgres() {
	has_file '/usr/lib/postgresql/*/bin/initdb' || command -v initdb >/dev/null
}
has_dovecot() { # dovecot-core alone has the server but no IMAP
	has_file "/usr/lib/dovecot/imap-login /usr/libexec/dovecot/imap-login /opt/homebrew/opt/dovecot/libexec/dovecot/imap-login"
}
has_pgbouncer() {
	PATH="$PATH:/usr/sbin:/usr/local/sbin" command -v pgbouncer >/dev/null
}
has_promtool() {
	command -v promtool >/dev/null
}
has_redis() {
	command -v redis-server >/dev/null
}
has_node() {
	command -v node >/dev/null
}
has_npm() {
	command -v npm >/dev/null
}
has_systemd() { # to read units; elsewhere than on Linux there is none
	[ "$(uname)" != Linux ] || command -v systemd-analyze >/dev/null
}
has_chromium() {
	command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null
}
has_cc() {
	command -v "${CC:-gcc}" >/dev/null && has_file "/usr/include/stdlib.h /Library/Developer/CommandLineTools"
}

missing=''  # packages
services='' # what they would start at boot
look() {
	missing='' services=''
	has_postgres || { missing="$missing postgresql" services="$services postgresql.service"; }
	has_dovecot || { missing="$missing dovecot-imapd" services="$services dovecot.service dovecot.socket"; }
	has_pgbouncer || { missing="$missing pgbouncer" services="$services pgbouncer.service"; }
	has_promtool || { missing="$missing prometheus" services="$services prometheus.service"; }
	has_redis || { missing="$missing redis-server" services="$services redis-server.service"; }
	has_node || missing="$missing nodejs"
	has_npm || missing="$missing npm"
	has_systemd || missing="$missing systemd"
	has_chromium || missing="$missing chromium"
	has_cc || missing="$missing gcc libc6-dev"
}

fail() {
	echo "make deps: $*" >&2
	exit 1
}

look
[ -n "$missing" ] || exit 0

command -v apt-get >/dev/null ||
	fail "missing, under their Debian names:$missing. Install them by your system's package manager."

if [ "$(id -u)" = 0 ]; then
	root=
elif ! command -v sudo >/dev/null; then
	fail "missing:$missing. Install them as root: apt-get install$missing"
elif [ -t 0 ]; then
	root=sudo
else
	root='sudo -n' # nobody is there to type a password
fi

echo "make deps: installing$missing" >&2

# Packages ask this program before they start a service; 101 is no.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
	printf '#!/bin/sh\nexit 101\n' | $root tee "$policy" >/dev/null ||
		fail "missing:$missing. Install them as root: apt-get install$missing"
	trap '$root rm -f "$policy"' EXIT
	trap 'exit 130' HUP INT TERM
	$root chmod 755 "$policy"
fi

install() {
	# shellcheck disable=SC2086 # a list of words
	$root env DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 \
		apt-get install -y -q --no-install-recommends $missing </dev/null >"$log" 2>&1
}

log=$(mktemp)
# The package lists may be absent or old: then once more with new ones.
if ! install && ! { $root apt-get update -q </dev/null >"$log" 2>&1 && install; }; then
	tail -n 15 "$log" >&2
	rm -f "$log"
	fail "apt-get could not install$missing: see above"
fi
rm -f "$log"

# Nor at the next boot. Without systemd there is none to tell.
if command -v systemctl >/dev/null; then
	for service in $services; do
		$root systemctl --quiet disable "$service" >/dev/null 2>&1 || true
	done
fi

look
[ -z "$missing" ] || fail "still missing after their installation:$missing"
