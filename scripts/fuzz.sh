#!/usr/bin/env bash
# Runs the fuzzers of build/fuzz (cmake --preset fuzz), two at a time, and prints what each did. A finding is kept in
# build/fuzz/findings: minimise it, put it into tests/fuzz/corpus, mend what it found.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

usage() {
    cat >&2 <<EOF
usage: scripts/fuzz.sh [--runs N] [--jobs N] [--seed N] SECONDS [NAME…]
  --runs N    go on after SECONDS until there were N runs
  --jobs N    so many fuzzers at a time (2)
  --seed N    of what they draw (0: another each time)
  NAME        as in tests/fuzz/fuzz_NAME.c (all)
EOF
    exit 2
}
least=0 jobs=2 seed=0 seconds=''
while [[ ${1:-} == --* ]]; do
    [[ ${2:-} =~ ^[0-9]+$ ]] || usage
    case $1 in --runs) least=$2 ;; --jobs) jobs=$2 ;; --seed) seed=$2 ;; *) usage ;; esac
    shift 2
done
[[ ${1:-} =~ ^[0-9]+$ ]] || usage
seconds=$1
shift
names=("$@")
if [ ${#names[@]} -eq 0 ]; then
    for source in tests/fuzz/fuzz_*.c; do
        name=${source##*/fuzz_}
        names+=("${name%.c}")
    done
fi

findings=$PWD/build/fuzz/findings
mkdir -p "$findings"
export ASAN_OPTIONS=allocator_may_return_null=1:max_allocation_size_mb=512

runs_of() { sed -n 's/^stat::number_of_executed_units: *//p' "$1"; }
last_of() { sed -nE "s/.* $2: ([0-9]+).*/\1/p" "$1" | tail -n 1; }

# What it finds new goes into a folder of its own: the corpus in the repository grows by hand only.
fuzz() {
    local name=$1 program=build/fuzz/tests/fuzz/fuzz_$1 log=$findings/$1.log found status runs limit more
    [ -x "$program" ] || { printf '%-12s there is no %s\n' "$name" "$program"; return 1; }
    found=$(mktemp -d)
    runs=0 limit="-max_total_time=$seconds"
    while :; do
        "$program" "$limit" -seed="$seed" -rss_limit_mb=2048 -malloc_limit_mb=4096 -timeout=10 -max_len=16384 -print_final_stats=1 \
            -artifact_prefix="$findings/$name-" "$found" "tests/fuzz/corpus/$name" >"$log" 2>&1
        status=$?
        more=$(runs_of "$log")
        runs=$((runs + ${more:-0}))
        if [ $status != 0 ] || [ -z "$more" ] || [ $runs -ge "$least" ]; then break; fi
        limit="-runs=$((least - runs))"
    done
    printf '%-12s %9s runs  %6s edges  %5s in corpus, %s kept  %s\n' "$name" "$runs" "$(last_of "$log" cov)" \
        "$(last_of "$log" corp)" "$(find "tests/fuzz/corpus/$name" -type f | wc -l)" \
        "$([ $status = 0 ] && echo ok || echo FINDING)"
    rm -rf "$found"
    [ $status = 0 ] || grep -m 1 -A 14 -E 'ERROR|not so:|runtime error' "$log"
    return $status
}

failed=0
wait_for_one() { wait -n || failed=1; }
running=0
for name in "${names[@]}"; do
    if [ $running = "$jobs" ]; then wait_for_one; running=$((running - 1)); fi
    fuzz "$name" &
    running=$((running + 1))
done
while [ $running -gt 0 ]; do wait_for_one; running=$((running - 1)); done
exit $failed
