#!/usr/bin/env bash
# Every C file is as clang-format writes it, but for the public header, today's and the first release's, whose comments stand in columns.
cd "$(dirname "$0")/.." || exit 1
git ls-files -z '*.c' '*.h' ':!include' ':!tests/abi/baseline' | xargs -0 clang-format --dry-run --Werror
