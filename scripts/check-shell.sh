#!/usr/bin/env bash
# Every shell script passes shellcheck.
cd "$(dirname "$0")/.." || exit 1
git ls-files -z 'scripts/*.sh' '.ci/run' 'tests/*.sh' 'tests/**/*.sh' | xargs -0 shellcheck -x
