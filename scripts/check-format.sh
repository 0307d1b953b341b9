#!/usr/bin/env bash
# Every C file is as clang-format writes it, but for the public header, today's and the first release's, whose comments stand in columns.
cd "$(dirname "$0")/.." || exit 1
find bench cli examples lib tests -name '*.[ch]' ! -path 'tests/abi/baseline/*' -print0 | sort -z | xargs -0 clang-format --dry-run --Werror
