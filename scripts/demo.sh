#!/usr/bin/env bash
# Sets everything up on a bare Debian 12, then runs the same kernels from each of the six stages of their compilation,
# compares the results with double precision, and prints a table. The second time it starts in a second or two.
set -euo pipefail
# shellcheck source=scripts/common.sh
. "$(dirname "$0")/common.sh"

case ${1:-} in
-h | --help)
    cat <<'EOF'
usage: scripts/demo.sh [--device auto|cpu|cuda[:N]]

Installs what is missing (apt; Triton into .venv), builds, and runs five kernels from each of six stages.
Without a GPU, five of the starts run on the CPU device; a cubin is assembled and checked.
EOF
    exit 0 ;;
'' | --device) ;;
*) echo "error: unknown argument '$1'; see scripts/demo.sh --help" >&2; exit 2 ;;
esac

apt_install "${packages_build[@]}" "${packages_test[@]}"
triton_venv
say "building (build/release.log)"
build release
say "running build/release/examples/demo"
export TRITON_RUNNER_PYTHON=${TRITON_RUNNER_PYTHON:-$root/.venv/bin/python}
exec "$root/build/release/examples/demo" "$@" --kernels "$root/examples/kernels" \
    --no-op "$root/build/release/stub/libcuda.so.1"
