#!/bin/bash
# test/conformance/conformance_test.sh [PATTERN] - the cases of the OCI
# distribution-spec 1.1.1, each a function named after its end-point and rule,
# on a cluster of real processes: all on the proxy, the reading ones on an
# agent, too.
#
#	KRAKEN=build/kraken test/conformance/conformance_test.sh
#	KRAKEN=build/kraken test/conformance/conformance_test.sh 'end-12*'
HERE=$(dirname "$0")
. "$HERE/../e2e/lib.sh"
. "$HERE/fixture.sh"
. "$HERE/cases_pull.sh"
. "$HERE/cases_push.sh"
. "$HERE/cases_delete.sh"

need jq openssl

# cases_of FILE: the names of the functions that are cases, as they stand
cases_of() { sed -n 's/^\(end-[^ (]*\|catalog_[^ (]*\)()$/\1/p' "$HERE/$1"; }

# run_case NAME WHERE: in a shell of its own, which fail ends
run_case()
{
	local status
	CASE_NUMBER=$((CASE_NUMBER + 1))
	OWN=conformance/case$CASE_NUMBER
	trap - ERR
	set +e # a shell whose status is looked at would not stop at an error
	(
		set -e
		"$1"
	) 2>"$WORK/case.log"
	status=$?
	set -e
	if [ "$status" = 0 ]; then
		PASSED=$((PASSED + 1))
		printf 'PASS  %-6s %s\n' "$2" "$1"
		return
	fi
	FAILED=$((FAILED + 1))
	printf 'FAIL  %-6s %s\n' "$2" "$1"
	sed 's/^/          /' "$WORK/case.log"
}

# run_file FILE WHERE
run_file()
{
	local name
	for name in $(cases_of "$1"); do
		# shellcheck disable=SC2053 # it is a pattern
		[[ $name == $PATTERN ]] || continue
		run_case "$name" "$2"
	done
}

PATTERN=${1:-*}
CASE_NUMBER=0 PASSED=0 FAILED=0
INDEX_ARGS=(--set "tags.immutable=^conformance/[^:]*:immutable$")
cluster_start 2 1
PROXY=$(registry proxy) AGENT=$(registry agent1)
fixture_make
AT=$PROXY
run_file cases_pull.sh proxy
run_file cases_push.sh proxy
run_file cases_delete.sh proxy
AT=$AGENT
run_file cases_pull.sh agent
echo "$PASSED passed, $FAILED failed"
[ "$FAILED" = 0 ] && [ "$PASSED" -gt 0 ]
