#!/usr/bin/env bash
# Every C file is as clang-format writes it.
cd "$(dirname "$0")/.." || exit 1
git ls-files -z '*.c' '*.h' | xargs -0 clang-format --dry-run --Werror
