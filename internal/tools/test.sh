#!/bin/sh
# make test and make soak: the tests of the product and of the modules beside it. One
# that fails does not keep the others from running; what failed stands at the end.
#
#   sh internal/tools/test.sh PACKAGES MODULES [ARGUMENTS OF go test]
#
# PACKAGES (./...) run with the race detector. MODULES look at files of the product, of
# which go's cache of results knows nothing: hence -count 1.
set -u
GO=${GO:-go}
packages=$1 modules=$2
shift 2
log=$(mktemp "${TMPDIR:-/tmp}/imapsync-test.XXXXXX") || exit 1
trap 'rm -f "$log"' EXIT
trap 'exit 130' HUP INT TERM

# Everything is to be there. go test's ten minutes suit a machine that is alone.
export IMAPSYNC_TEST_REQUIRE=1
set -- -timeout 30m "$@"

# run shows what it runs in a directory, and remembers what failed of it.
run() {
	dir=$1
	shift
	echo "+ $dir: $*"
	{ (cd "$dir" && "$@") 2>&1 || echo "FAILED $dir: $*"; } | tee -a "$log"
}

# shellcheck disable=SC2086 # several packages, several modules
{
	run . env CGO_ENABLED=1 "$GO" test -race "$@" $packages
	for module in $modules; do
		run "$module" "$GO" vet ./...
		run "$module" "$GO" test -count 1 "$@" ./...
	done
}
if grep -q '^FAILED ' "$log"; then
	printf '\nWhat failed:\n'
	grep -E '^ *--- FAIL|^ +[A-Za-z0-9_]+\.go:[0-9]+: |^FAIL[[:space:]]|^FAILED |^panic: |^WARNING: DATA RACE' "$log"
	exit 1
fi
