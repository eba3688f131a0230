#!/bin/sh
# make soak: what takes too long for every change, in an hour. The tests of the build
# tag soak, `make crash`, `make histories`, and every fuzz target. Each step runs whatever became of those
# before it, and all of it is written to docs/soak.md.
set -u
GO=${GO:-go} MAKE=${MAKE:-make} ROUNDS=${ROUNDS:-300} HISTORIES=${HISTORIES:-2000} FUZZTIME=${FUZZTIME:-2m}
work=$(mktemp -d "${TMPDIR:-/tmp}/imapsync-soak.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 130' HUP INT TERM
export IMAPSYNC_TEST_REQUIRE=1
failed=0 table='' figures=''

# step runs what it is given, and keeps how long it took, what became of it and the
# lines of its output that match a pattern: of those that count on, the last.
step() {
	name=$1 pattern=$2
	shift 2
	echo "+ $*"
	began=$(date +%s)
	{ "$@" 2>&1 || touch "$work/failed"; } | tee "$work/log"
	result=passed
	if [ -e "$work/failed" ]; then
		result=FAILED failed=1
		rm "$work/failed"
	fi
	table="$table| $name | $(($(date +%s) - began)) s | $result |
"
	figures="$figures
$name:

$(grep -E "$pattern" "$work/log" | awk -v progress='^(fuzz: elapsed:|crash: round) ' '
	$0 !~ progress && last != "" { print last; last = "" }
	$0 ~ progress { last = $0; next }
	{ print }
	END { if (last != "") print last }' | sed 's/^ *\([^ ]*\.go:[0-9]*: \)\{0,1\}/    /')
"
}

step 'tests of the tag `soak`' '_test\.go:[0-9]+: |^(ok|FAIL).*[0-9]s$|^ *--- FAIL' \
	env CGO_ENABLED=1 "$GO" test -race -tags soak -run '^TestSoak' -count 1 -v -timeout 60m ./...
step "\`make crash ROUNDS=$ROUNDS\`" '^(rounds|kill -9|stopped|promoted|brokers|imap|settings|in the midst|delivered|quarantine|on stream|in ledger|lost|doubled|stuck|reconcile|took) |^crash: ' \
	"$GO" run ./internal/crash -rounds "$ROUNDS"
step "\`make histories HISTORIES=$HISTORIES\`" '_test\.go:[0-9]+: |^(ok|FAIL).*[0-9]s$|^ *--- FAIL' \
	"$GO" test ./sync -run 'TestHistories$' -v -count 1 -timeout 60m -histories "$HISTORIES"
step "\`make fuzz FUZZTIME=$FUZZTIME\`" '^\./|^fuzz: elapsed: .*\(total|^--- FAIL' \
	"$MAKE" -s fuzz FUZZTIME="$FUZZTIME"

cat >docs/soak.md <<EOF
# The last soak

$(date -u +%Y-%m-%d), commit $(git rev-parse --short=12 HEAD), $(nproc) cores, $(awk '/^MemTotal/ {printf "%.0f GB", $2 / 1e6}' /proc/meminfo),
$("$GO" env GOVERSION): \`make soak\` has written this, which runs what takes too long for every change.

| step | took | result |
|---|--:|---|
$table
## Figures
$figures
EOF
exit $failed
