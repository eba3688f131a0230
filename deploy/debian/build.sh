#!/bin/sh
# Makes bin/imapsync_VERSION_ARCH.deb of what `make install` put in bin/deb; make deb
# calls it, with nfpm's command as arguments.
set -eu

version=$(bin/imapsync version -o json | sed -n 's/.*"version": *"\([^"]*\)".*/\1/p')
case $version in
v[0-9]*) version=${version#v} ;;
*) version=0.0.0-$version ;;
esac
VERSION=$(echo "$version" | tr - '~') # 1.2.3~rc.1 comes before 1.2.3
GOARCH=$(go env GOARCH)
export VERSION GOARCH

doc=bin/deb/usr/share/doc/imapsync
mkdir -p "$doc"
gzip -9n bin/deb/usr/share/man/man1/*.1
gzip -9nc CHANGELOG.md >"$doc/changelog.gz"
{
	echo "imapsync, MIT licence. The modules in the binary: go version -m /usr/bin/imapsync"
	echo
	cat LICENSE
} >"$doc/copyright"
chmod 644 "$doc"/*

rm -f bin/imapsync_*.deb
"$@" package --packager deb --config deploy/debian/nfpm.yaml --target bin
