#!/usr/bin/env bash
# Sets up what the tests need, then runs them, tier by tier; prints minutes per tier and what failed.
set -uo pipefail
# shellcheck source=scripts/common.sh
. "$(dirname "$0")/common.sh"

# The tiers in order: name, and what it is for. A tier is the function tier_<name> below.
tiers=(
    "format       clang-format, clang-tidy, cppcheck, shellcheck"
    "unit         release build with gcc, the unit tests, the benchmarks in short on the CPU device"
    "clang        the same with clang"
    "kernels      the project's kernels on the CPU device, against float64 references"
    "conformance  every Triton version: each stage from each start, bad inputs, LLVM"
    "cache        starts at Python, storms, damage, sealing, hostile files, a soak of minutes"
    "asan         unit tests under address and undefined behaviour sanitizers"
    "tsan         unit tests under the thread sanitizer"
    "faults       memory, files, the driver, compilers and forks failing at every point of every public function"
    "valgrind     unit tests under valgrind; only when asked for"
    "coverage     lines of lib/ that the unit, fault and some cache tests run, and what they do not; only when asked for"
    "aarch64      cross-built, the unit tests and the CPU device's under qemu; only when asked for"
    "fuzz         every fuzzer for a minute, with one seed: a commit does not fail by luck"
    "abi          exported symbols and structs against the baseline"
    "install      the installed package, used from outside"
    "demo         the demo"
    "long         soaks, fuzzing for ten minutes and a million runs each, packages in a bare Debian; only when asked for"
)

fail() { printf 'error: %s\n' "$*" >&2; return 1; } # a tier fails, the others go on

usage() {
    cat <<EOF
usage: scripts/test.sh [--triton VERSION|all] [--tier NAME]…

Installs what is missing (apt, pip), builds, and runs the tests.
  --triton VERSION   which Triton versions the tests use: one, several with commas, or "all"
                     (default: $triton_default; all: ${triton_all[*]})
  --tier NAME        only this tier; may be given several times (default: those that need not be asked for)
Tiers:
$(printf '  %s\n' "${tiers[@]}")
EOF
}

versions=("$triton_default")
chosen=()
while [ $# -gt 0 ]; do
    case $1 in
    --triton) [ $# -gt 1 ] || { usage >&2; exit 2; }
        if [ "$2" = all ]; then versions=("${triton_all[@]}"); else IFS=, read -ra versions <<<"$2"; fi; shift ;;
    --tier) [ $# -gt 1 ] || { usage >&2; exit 2; }
        printf '%s\n' "${tiers[@]}" | grep -q "^$2 " || { echo "error: no tier '$2'" >&2; usage >&2; exit 2; }
        chosen+=("$2"); shift ;;
    -h | --help) usage; exit 0 ;;
    *) echo "error: unknown argument '$1'" >&2; usage >&2; exit 2 ;;
    esac
    shift
done
if [ ${#chosen[@]} = 0 ]; then
    for tier in "${tiers[@]}"; do [[ $tier == *"only when asked for" ]] || chosen+=("${tier%% *}"); done
fi

passed=0 failed=0 skipped=0
results="$root/build/results"
mkdir -p "$results"

# suite FOLDER [CTEST ARGUMENT…]: runs CTest there and adds up what it says; a suite without a test has failed.
suite() {
    local folder=$1 log="$results/$tier-$RANDOM.log"
    shift
    (cd "$root" && ctest --test-dir "$folder" --output-on-failure --no-tests=error "$@") >"$log" 2>&1
    local status=$? run bad skips
    run=$(grep -cE '^ *[0-9]+/[0-9]+ Test +#' "$log")
    skips=$(grep -cE 'Test +#.*\*\*\*Skipped' "$log")
    bad=$(sed -nE 's/.* ([0-9]+) tests? failed out of.*/\1/p' "$log" | tail -n 1)
    [ "$status" = 0 ] || [ "${bad:-0}" -gt 0 ] || bad=1
    passed=$((passed + run - skips - ${bad:-0})) failed=$((failed + ${bad:-0})) skipped=$((skipped + skips))
    [ "$status" = 0 ] || cat "$log"
    grep -E 'Test +#.*\*\*\*Skipped' "$log"
    printf '    %s tests, %s failed, %s skipped\n' "$run" "${bad:-0}" "$skips"
    return "$status"
}

# check NAME COMMAND…: one test that is a command.
check() {
    local name=$1 log="$results/$tier-$1.log"
    shift
    (cd "$root" && "$@") >"$log" 2>&1
    case $? in
    0) passed=$((passed + 1)); printf '    %s: passed\n' "$name" ;;
    77) skipped=$((skipped + 1)); printf '    %s: skipped: %s\n' "$name" "$(tail -n 1 "$log")" ;;
    *) failed=$((failed + 1)); tail -n 60 "$log"; printf '    %s: FAILED\n' "$name"; return 1 ;;
    esac
}

# show PATTERN…: the lines of this tier's last log with it, for who reads the output.
show() {
    local pattern log
    # shellcheck disable=SC2012
    log=$(ls -t "$results/$tier"-*.log | head -n 1)
    for pattern in "$@"; do grep -E "$pattern" "$log" | sed 's/^/    /' || :; done
}

need() { apt_install "${packages_build[@]}" "${packages_test[@]}" "$@"; }
# Where no version is asked for the first is taken: the default one, if it is among them.
need_tritons() {
    local version order=()
    triton_folders "${versions[@]}" || return
    for version in "${versions[@]}"; do
        if [ "$version" = "$triton_default" ]; then order=("$version" "${order[@]}"); else order+=("$version"); fi
    done
    TRITON_RUNNER_PYTHON=$(triton_list "${order[@]}")
    export TRITON_RUNNER_PYTHON
}

tier_format() {
    need clang clang-format clang-tidy cppcheck shellcheck && build release && check format scripts/check-format.sh
    check shellcheck scripts/check-shell.sh
    check static-analysis scripts/check-static.sh
}
tier_unit() { need valgrind && need_tritons && build release && suite build/release -L 'unit|bench'; }
tier_clang() { need clang && CC=clang CXX=clang++ build clang && suite build/clang -L 'unit|bench'; }
tier_kernels() { need && need_tritons && build release && suite build/release -L kernels; }
tier_conformance() { need && need_tritons && build release && suite build/release -L 'conformance|llvm'; }
tier_cache() { need && need_tritons && build release && suite build/release -L cache; }
tier_asan() { need && need_tritons && build asan && suite build/asan -L unit; }
tier_tsan() { need && need_tritons && build tsan && suite build/tsan -L unit; }
tier_valgrind() { need valgrind && need_tritons && build release && check valgrind scripts/check-valgrind.sh && show " s$"; }
# libc6-dbg: the leaks of the dynamic loader that are let go are known by its functions' names.
tier_faults() { need libc6-dbg && build asan && suite build/asan -L faults -V && show 'points injected'; }
tier_fuzz() { need clang libclang-rt-14-dev && build fuzz && check fuzz scripts/fuzz.sh --seed 1 60 && show runs; }
tier_coverage() {
    need && need_tritons && build coverage || return
    find "$root/build/coverage" -name '*.gcda' -delete
    suite build/coverage -L 'unit|faults' -E 'faults_(files|fork)'
    suite build/coverage -R 'cache_(python_starts|places)'
    check coverage scripts/coverage.py build/coverage && show .
}
# Without the tests that start programs: qemu-user hands those to a kernel that can't run them.
tier_aarch64() {
    need && apt_architecture arm64 && apt_install gcc-aarch64-linux-gnu g++-aarch64-linux-gnu qemu-user-static \
        libc6-dev:arm64 libffi-dev:arm64 libjansson-dev:arm64 libxxhash-dev:arm64 libzstd-dev:arm64 libcmocka-dev:arm64 || return
    build aarch64 && suite build/aarch64 -L unit -LE programs
}
tier_abi() { need abigail-tools && build release && suite build/release -L abi; }
tier_install() { need groff && build release && suite build/release -L install; }
tier_demo() { check demo scripts/demo.sh; }
tier_long() {
    need clang libclang-rt-14-dev lintian dpkg-dev debootstrap && need_tritons && build release && build fuzz || return
    suite build/release -L long
    check fuzz scripts/fuzz.sh --runs 1000000 600 && show runs
}

table=()
for tier in "${chosen[@]}"; do
    say "$tier"
    start=$SECONDS before=$failed
    "tier_$tier" || [ "$failed" != "$before" ] || failed=$((failed + 1))
    verdict=ok
    [ "$failed" = "$before" ] || verdict=FAILED
    table+=("$(printf '%-12s %5.1f min  %s' "$tier" "$(awk "BEGIN {print ($SECONDS - $start) / 60}")" "$verdict")")
done

say "tiers"
printf '    %s\n' "${table[@]}"
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
