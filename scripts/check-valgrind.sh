#!/usr/bin/env bash
# The unit tests of the release build under valgrind: no bad access, no definite leak. Two at a time, and how long each
# took: most a second, those of the CPU device minutes, since valgrind's processor does one thread at a time.
cd "$(dirname "$0")/.." || exit 1
[ $# -gt 0 ] || set -- build/release/tests/test_*
logs=build/valgrind
mkdir -p "$logs"

one() {
    local test=$1 name log start=$SECONDS code
    name=$(basename "$test")
    log=$logs/$name.log
    timeout 1800 valgrind -q --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite --trace-children=no \
        "$test" >"$log" 2>&1
    code=$?
    if grep -q "Unsupported clone() flags" "$log"; then
        echo "$name: starts compilers in a way that valgrind can't follow; the sanitizers do"
    elif [ $code = 0 ] || [ $code = 77 ]; then
        echo "$name: $((SECONDS - start)) s"
    else
        echo "$name: exit status $code after $((SECONDS - start)) s"
        cat "$log"
        return 1
    fi
}

status=0 running=0
for test in "$@"; do
    if [ ! -f "$test" ] || [ ! -x "$test" ]; then continue; fi
    if [ $running = 2 ]; then
        wait -n || status=1
        running=1
    fi
    one "$test" &
    running=$((running + 1))
done
while [ $running -gt 0 ]; do
    wait -n || status=1
    running=$((running - 1))
done
exit $status
