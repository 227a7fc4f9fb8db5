#!/usr/bin/env bash
# test/setup.sh build|demo|test|bench - the Debian packages that a target needs.
#
# Installs what is missing and nothing else; asks the network only then.
# Without root it prints the command that is to be typed, and fails.
set -eu

build="build-essential cmake ninja-build pkg-config liburing-dev
	libwolfssl-dev libh2o-evloop-dev libmsgpack-dev libcurl4-openssl-dev
	libcmocka-dev libjansson-dev libyaml-dev libsqlite3-dev libssl-dev
	zlib1g-dev ca-certificates"
clients="curl jq iproute2 procps busybox-static docker.io containerd runc
	skopeo podman buildah"
peers="nginx-light docker-registry aria2 strace time openssl"
checks="git clang clang-format libclang-rt-14-dev llvm openssl strace"

case ${1-} in
build) wanted="$build" ;;
demo) wanted="$build $clients" ;;
test) wanted="$build $clients $checks" ;;
bench) wanted="$build $clients bsdextrautils gnuplot-nox $peers" ;;
*)
	echo "usage: test/setup.sh build|demo|test|bench" >&2
	exit 2
	;;
esac

if ! command -v dpkg-query >/dev/null; then
	echo "setup: this is not Debian. Install what these packages" \
		"bring, then run make with SETUP=none:" >&2
	echo $wanted >&2
	[ "${SETUP-}" = none ] && exit 0
	exit 1
fi

missing=""
for package in $wanted; do
	status=$(dpkg-query -W -f '${db:Status-Status}' "$package" \
		2>/dev/null) || status=""
	[ "$status" = installed ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" -ne 0 ]; then
	echo "setup: these packages are missing; install them with" >&2
	echo "  sudo apt-get install --no-install-recommends$missing" >&2
	exit 1
fi

echo "setup: installing$missing"
export DEBIAN_FRONTEND=noninteractive
# A service that a package brings is not started: the tests start their own.
guard=/usr/sbin/policy-rc.d
if [ ! -e $guard ]; then
	trap 'rm -f $guard' EXIT
	printf '#!/bin/sh\nexit 101\n' >$guard
	chmod +x $guard
fi
log=$(mktemp /tmp/kraken-setup-XXXXXX)
apt-get update -qq
# shellcheck disable=SC2086 # a list of names
apt-get install -qq -y --no-install-recommends $missing >"$log" 2>&1 || {
	tail -n 20 "$log" >&2
	echo "setup: apt-get failed; all of it is in $log" >&2
	exit 1
}
rm -f "$log"
