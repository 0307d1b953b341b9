#!/usr/bin/env bash
# The unit tests under valgrind: no bad access, no definite leak.
cd "$(dirname "$0")/.." || exit 1
status=0
for test in build/debug/tests/test_*; do
    [ -x "$test" ] || continue
    timeout 600 valgrind -q --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite \
        --trace-children=no "$test" >"build/valgrind.log" 2>&1
    code=$?
    if grep -q "Unsupported clone() flags" build/valgrind.log; then
        echo "$(basename "$test"): starts compilers in a way that valgrind can't follow; the sanitizers do"
        continue
    fi
    [ "$code" = 0 ] || [ "$code" = 77 ] || { echo "$(basename "$test"): exit status $code"; cat build/valgrind.log; status=1; }
done
exit $status
