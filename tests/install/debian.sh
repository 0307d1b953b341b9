#!/usr/bin/env bash
# debian.sh BUILD: makes the three Debian packages, which lintian finds no error in and which hold what they should.
set -euo pipefail
build=$1
for tool in lintian dpkg-shlibdeps; do
    command -v "$tool" >/dev/null || { echo "skipped: no $tool here (Debian: lintian, dpkg-dev)"; exit 77; }
done
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
cpack --config "$build/CPackConfig.cmake" -B "$work" >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
lintian --allow-root --fail-on error "$work"/*.deb

failed=0
# holds PACKAGE PATTERN…: each pattern is the end of a file's path in the package.
holds() {
    local package=$1 pattern
    shift
    dpkg -c "$work/${package}"_*.deb | awk '{ print $6 }' >"$work/list"
    for pattern in "$@"; do
        grep -qE "$pattern\$" "$work/list" || { echo "$package lacks $pattern"; failed=1; }
    done
    echo "$package: $(grep -vc '/$' "$work/list") files; depends on $(dpkg-deb -f "$work/${package}"_*.deb Depends)"
}
holds libtriton-runner0 '/libtriton_runner\.so\.0' /triton_runner/libtriton_runner_cpu.so /triton_runner/triton-runner-helper \
    /triton_runner/worker.py
holds libtriton-runner-dev /include/triton_runner.h /libtriton_runner.so /libtriton_runner.a /triton_runner.pc \
    /triton_runnerConfig.cmake /man3/tr_launch.3.gz /man3/tr_launch_packed.3.gz /man7/triton_runner.7.gz
holds triton-runner /bin/triton-runner /man1/triton-runner.1.gz

# Together, in one folder, they work.
for package in "$work"/*.deb; do dpkg-deb -x "$package" "$work/root"; done
LD_LIBRARY_PATH=$work/root/usr/lib "$work/root/usr/bin/triton-runner" --version
exit "$failed"
