#!/usr/bin/env bash
# test/run.sh [STAGE...] - everything that a change has to pass (make test).
#
#	setup   Debian packages that are missing
#	build   everything, with gcc (build/gcc) and clang (build/clang)
#	lint    layers, headers, format, size, purity
#	plain   unit, simulation, fuzz replay, integration
#	asan    the same under ASan and UBSan (build/asan)
#	tsan    integration, and the units of uring/, under TSan (build/tsan)
#	e2e     processes with docker, skopeo, containerd as clients; the cases of
#	        the distribution-spec
#
# Without arguments all of them, in this order; lint, plain and e2e look at what
# build has built.  A stage that fails does not
# keep the later ones from running, except that what does not compile ends it.
# The last line is "N passed, N failed, N skipped".
set -u
cd "$(dirname "$0")/.." || exit 1
jobs=2
results=build/results
stages=${*:-setup build lint plain asan tsan e2e}
failed_stages=""
timings=""

# configure DIR COMPILER SANITIZERS
configure() {
	CC=$2 cmake -S . -B "$1" -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo \
		-DKR_SANITIZE="$3" >"$1.log" 2>&1 || {
		cat "$1.log"
		return 1
	}
}

# compile DIR [TARGET...]; shows the compiler's words only if it fails
compile() {
	local dir=$1 status
	shift
	ninja -C "$dir" -j $jobs "$@" >"$dir.log" 2>&1
	status=$?
	if [ $status -ne 0 ] || grep -q 'warning:' "$dir.log"; then
		grep -v '^\[' "$dir.log"
		echo "$dir: did not compile without a word"
		return 1
	fi
}

# executables DIR REGEX - the test executables whose name matches
executables() {
	ninja -C "$1" -t targets all |
		sed -n 's/^test\/\([a-z0-9_]*\): C_EXECUTABLE_LINKER.*/\1/p' |
		grep -E "$2"
}

# Sanitizers of Debian 12 do not know the address layouts of newer kernels:
# where it is allowed, their programs run without address randomisation.
fixed_addresses() {
	case $1 in
	build/asan | build/tsan) ! setarch -R true 2>/dev/null || echo setarch -R ;;
	esac
}

# check NAME DIR CTEST-OPTIONS... - one run of ctest, its result for the sum
check() {
	local name=$1 dir=$2
	shift 2
	rm -f "$results/$name.xml"
	# shellcheck disable=SC2046 # a command or nothing
	$(fixed_addresses "$dir") ctest --test-dir "$dir" --output-on-failure \
		--no-tests=error --output-junit "$PWD/$results/$name.xml" "$@"
}

stage_setup() {
	bash test/setup.sh test
}

stage_build() {
	configure build/gcc gcc "" && compile build/gcc &&
		configure build/clang clang "" && compile build/clang
}

stage_lint() {
	check lint build/gcc -L '^lint$' -j $jobs
}

stage_plain() {
	check plain build/gcc -L '^(unit|sim|fuzz|integration)$' -j $jobs
}

stage_asan() {
	local dir=build/asan
	configure $dir clang address,undefined && compile $dir || return 1
	check asan $dir -L '^(unit|sim|fuzz|integration)$' -j $jobs
}

stage_tsan() {
	local dir=build/tsan
	configure $dir clang thread || return 1
	# shellcheck disable=SC2046 # a list of names
	compile $dir $(executables $dir '^(unit_uring|integration)_') ||
		return 1
	check tsan $dir -R '^(unit/uring_|integration/)' -j $jobs
}

stage_e2e() {
	check e2e build/gcc -L '^(e2e|conformance)$'
}

export ASAN_OPTIONS=detect_leaks=1:abort_on_error=0
export UBSAN_OPTIONS=print_stacktrace=1
export TSAN_OPTIONS=halt_on_error=1

mkdir -p "$results" || exit 1
rm -f "$results"/*.xml
for stage in $stages; do
	case $stage in
	setup | build | lint | plain | asan | tsan | e2e) ;;
	*)
		echo "test/run.sh: no stage $stage" >&2
		exit 2
		;;
	esac
	echo "== $stage"
	started=$SECONDS
	if ! "stage_$stage"; then
		failed_stages="$failed_stages $stage"
	fi
	timings="$timings  $stage $((SECONDS - started)) s"
	case "$stage $failed_stages" in
	setup\ *setup* | build\ *build*) break ;; # nothing to go on with
	esac
done

# The attributes of ctest's <testsuite>.
total=0 failed=0 skipped=0
for file in "$results"/*.xml; do
	[ -e "$file" ] || continue
	attribute() {
		sed -n "s/^[[:space:]]*$1=\"\([0-9]*\)\".*/\1/p" "$file" |
			head -n 1
	}
	total=$((total + $(attribute tests)))
	failed=$((failed + $(attribute failures)))
	skipped=$((skipped + $(attribute skipped) + $(attribute disabled)))
done

echo
echo "seconds:$timings"
[ -z "$failed_stages" ] || echo "failed stages:$failed_stages"
echo "$((total - failed - skipped)) passed, $failed failed, $skipped skipped"
[ -z "$failed_stages" ] && [ $failed -eq 0 ]
