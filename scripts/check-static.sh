#!/usr/bin/env bash
# clang-tidy and cppcheck over the library, the CPU device and the command.
cd "$(dirname "$0")/.." || exit 1
set -e
mapfile -t files < <(find lib cli -name '*.c' ! -path 'lib/compilers/llvm*' | sort)
cppcheck -q --std=c11 --enable=warning,portability --inline-suppr --error-exitcode=1 --suppress=missingIncludeSystem \
    --suppress=normalCheckLevelMaxBranches --suppress=unknownMacro --suppress=uninitvar:lib/cpu/machine/lanes/fragment.h -j 2 -D_GNU_SOURCE -DUINTPTR_MAX=1 -DUINT64_MAX=1 -Ilib -Ilib/cpu -Iinclude "${files[@]}"
printf '%s\n' "${files[@]}" | xargs -P 2 -n 8 clang-tidy -p build/release --quiet --warnings-as-errors='*' \
    --checks='-*,bugprone-*,-bugprone-misplaced-widening-cast,-bugprone-easily-swappable-parameters,-bugprone-reserved-identifier,-bugprone-narrowing-conversions,-bugprone-implicit-widening-of-multiplication-result,-bugprone-assignment-in-if-condition,-bugprone-macro-parentheses,-bugprone-branch-clone,-bugprone-suspicious-string-compare,-bugprone-sizeof-expression,-bugprone-not-null-terminated-result'
