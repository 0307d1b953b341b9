#!/usr/bin/env bash
# Every shell script passes shellcheck.
cd "$(dirname "$0")/.." || exit 1
find scripts tests .ci '(' -name '*.sh' -o -path .ci/run ')' -print0 | sort -z | xargs -0 shellcheck -x
