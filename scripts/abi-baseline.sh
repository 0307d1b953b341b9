#!/usr/bin/env bash
# Writes tests/abi/baseline from the release build: what this version of the library promises from now on.
set -euo pipefail
cd "$(dirname "$0")/.."
cmake --preset release >/dev/null && cmake --build --preset release --target triton_runner
tests/abi/abi.sh baseline "$PWD" "$PWD/build/release"
wc -l tests/abi/baseline/*
