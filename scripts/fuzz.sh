#!/usr/bin/env bash
# Runs the fuzzers of build/fuzz (cmake --preset fuzz), two at a time, and prints what each did. A finding is kept in
# build/fuzz/findings: minimise it, put it into tests/fuzz/corpus, mend what it found.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

if [ $# -eq 0 ] || ! [[ $1 =~ ^[0-9]+$ ]]; then
    echo "usage: scripts/fuzz.sh SECONDS [NAME…]    NAME: as in tests/fuzz/fuzz_NAME.c" >&2
    exit 2
fi
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

# What it finds new goes into a folder of its own: the corpus in the repository grows by hand only.
fuzz() {
    local name=$1 program=build/fuzz/tests/fuzz/fuzz_$1 log=$findings/$1.log found status
    [ -x "$program" ] || { printf '%-12s there is no %s\n' "$name" "$program"; return 1; }
    found=$(mktemp -d)
    "$program" -max_total_time="$seconds" -rss_limit_mb=2048 -malloc_limit_mb=4096 -timeout=10 -max_len=16384 \
        -print_final_stats=1 -artifact_prefix="$findings/$name-" "$found" "tests/fuzz/corpus/$name" >"$log" 2>&1
    status=$?
    printf '%-12s %9s runs  %6s edges  %5s in corpus, %s kept  %s\n' "$name" \
        "$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")" \
        "$(sed -nE 's/.* cov: ([0-9]+) .*/\1/p' "$log" | tail -n 1)" \
        "$(sed -nE 's/.* corp: ([0-9]+).*/\1/p' "$log" | tail -n 1)" \
        "$(find "tests/fuzz/corpus/$name" -type f | wc -l)" "$([ $status = 0 ] && echo ok || echo FINDING)"
    rm -rf "$found"
    [ $status = 0 ] || grep -m 1 -A 14 -E 'ERROR|not so:|runtime error' "$log"
    return $status
}

failed=0
wait_for_one() { wait -n || failed=1; }
running=0
for name in "${names[@]}"; do
    if [ $running = 2 ]; then wait_for_one; running=1; fi
    fuzz "$name" &
    running=$((running + 1))
done
while [ $running -gt 0 ]; do wait_for_one; running=$((running - 1)); done
exit $failed
