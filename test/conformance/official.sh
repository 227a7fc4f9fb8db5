#!/bin/bash
# test/conformance/official.sh [KRAKEN] - the conformance program of the OCI
# distribution specification, fetched by Go's module proxy, against real
# clusters: `make conformance`.
#
#   1. `kraken dev`, every API and every kind of data but sparse manifests
#   2. a cluster whose proxy has registry.sparse_manifests, that kind alone
#
# Its reports are left in conformance/ of the build folder, $BUILD.
# Exit status 0: all passed.  1: something failed.  2: it cannot be run here.
[ $# = 0 ] || export KRAKEN=$1
. "$(dirname "$0")/../e2e/lib.sh"

readonly DEV_OFFSET=3000 # apart from the lib's ports and a `kraken dev`
readonly MODULE=github.com/opencontainers/distribution-spec/conformance
readonly VERSION=v0.0.0-20260831232431-97274622c111
readonly SPARSE="OCI Conformance Test/sparse"

cannot() { printf 'cannot run: %s\n' "$*" >&2; exit 2; }

# The toolchain of golang.org stands outside the PATH.
find_go()
{
	GO=$(command -v go || true)
	[ -n "$GO" ] || [ ! -x /usr/local/go/bin/go ] || GO=/usr/local/go/bin/go
	[ -n "$GO" ] || cannot "Go is not installed. It builds the official" \
		"suite: install golang-go 1.24 or later, or run ours with" \
		"ctest -L conformance"
}

build_suite()
{
	local dir=$OUT/go
	mkdir -p "$dir"
	[ -f "$dir/go.mod" ] || printf 'module run\n\ngo 1.24\n' >"$dir/go.mod"
	(
		cd "$dir"
		export GOFLAGS=-mod=mod
		"$GO" get "$MODULE@$VERSION" &&
			"$GO" build -p 2 -o "$OUT/suite" "$MODULE"
	) >"$OUT/build.log" 2>&1 || {
		cat "$OUT/build.log" >&2
		cannot "$MODULE did not build: see above"
	}
}

# run_suite NAME REGISTRY [VARIABLE=VALUE...]: the version "dev" adds what is
# optional: cancel, digest headers, tag parameters
run_suite()
{
	local name=$1 registry=$2 status=0
	shift 2
	mkdir -p "$OUT/$name"
	(
		cd "$OUT/$name"
		env OCI_REGISTRY="$registry" OCI_TLS=disabled OCI_VERSION=dev \
			OCI_RESULTS_DIR=. "$@" "$OUT/suite"
	) >"$OUT/$name/log" 2>&1 || status=$?
	sed -n '/^OCI Conformance Result/,$p' "$OUT/$name/log"
	[ "$status" = 0 ] || {
		grep -A 3 ': FAIL\|: Error' "$OUT/$name/log" >&2 || true
		fail "$name: the suite ended with status $status;" \
			"all of it is in $OUT/$name/log"
	}
}

dev_is_ready() { grep -q '^kraken dev: ready' "$WORK/log/dev"; }

# `kraken dev` puts its proxy on 15000 and the offset
against_dev()
{
	spawn "$WORK/log/dev" "$KRAKEN" dev --dir "$WORK/dev" --origins 3 \
		--agents 1 --base-port-offset "$DEV_OFFSET"
	wait_for 60 dev_is_ready
	run_suite dev "127.0.0.1:$((15000 + DEV_OFFSET))"
	kill -TERM "$SPAWNED"
	wait_for 30 is_gone "$SPAWNED"
}

against_sparse()
{
	PROXY_ARGS=(--set registry.sparse_manifests=true)
	cluster_start 2 1
	run_suite sparse "$(registry_host proxy)" OCI_DATA_SPARSE=true \
		OCI_FILTER_TEST="$SPARSE"
}

OUT=${BUILD:-build}
[[ $OUT == /* ]] || OUT=$(cd "$(dirname "$0")/../.." && pwd)/$OUT
OUT=$OUT/conformance
mkdir -p "$OUT"
find_go
build_suite
say "the official suite against kraken dev"
against_dev
say "sparse manifests, against a proxy that takes them"
against_sparse
say "all passed; reports are in $OUT"
