#!/bin/sh
# Renames the module, for make module-path: go.mod of every module here, imports,
# documents, the linter's configuration. It reads the path of now from the go
# command, so it can be run again.
#
#   module-path.sh NEW MAKE_PID
#
# make's PATH=… is the new path of the module, and takes the place of the PATH that
# commands are found by: that one is read from make itself.
set -eu

PATH=/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/opt/homebrew/bin
if [ -r "/proc/$2/environ" ]; then
	PATH=$(tr '\0' '\n' <"/proc/$2/environ" | sed -n 's/^PATH=//p'):$PATH
fi
export PATH

new=$1
if ! printf '%s\n' "$new" | grep -Eq '^[a-z0-9-]+(\.[a-z0-9-]+)+(/[A-Za-z0-9._~-]+)+$'; then
	echo "make module-path PATH=host/owner/imapsync: not the path of a module: $new" >&2
	exit 2
fi
cd "$(dirname "$0")/../.."
old=$("${GO:-go}" list -m)
if [ "$old" = "$new" ]; then
	echo "the module is called $new already"
	exit 0
fi

# A path counts as ours where it names a folder of packages: User-Agent and the
# paths of Vault begin with the program's name too.
folders=$(find . -name '*.go' -o -name go.mod | sed -n 's|^\./\([^./][^/]*\)/.*|\1|p' | sort -u | paste -sd '|' -)
was=$(printf '%s\n' "$old" | sed 's/[.]/\\./g')
rules=$(mktemp)
trap 'rm -f "$rules"' EXIT
cat >"$rules" <<RULES
s#(^|[^A-Za-z0-9_./~-])$was/($folders)([^A-Za-z0-9_-]|\$)#\\1$new/\\2\\3#g
s#(^|[^A-Za-z0-9_./~-])$was/($folders)([^A-Za-z0-9_-]|\$)#\\1$new/\\2\\3#g
s#^module $was\$#module $new#
s#^([[:blank:]]*|require )$was v0\\.0\\.0#\\1$new v0.0.0#
s#(-require=)$was@v0\\.0\\.0#\\1$new@v0.0.0#
s#(replace[ =]|^[[:blank:]]+)$was( =>|=)#\\1$new\\2#
s#(local-prefixes: \\[)$was\\]#\\1$new]#
RULES

find . \( -name .git -o -name node_modules -o -path ./bin \) -prune -o -type f \
	\( -name '*.go' -o -name go.mod -o -name '*.md' -o -name '*.y*ml' -o -name '*.sh' -o -name '*.txt' -o -name '*.txtar' -o -name Makefile -o -name Dockerfile \) -print |
	while IFS= read -r file; do
		sed -E -f "$rules" "$file" >"$file.renamed"
		if cmp -s "$file" "$file.renamed"; then
			rm "$file.renamed"
		else
			cat "$file.renamed" >"$file" # its mode stays
			rm "$file.renamed"
			echo "$file"
		fi
	done
echo "the module is called $new; the README's \"As a library\" still says how it is found without a host"
