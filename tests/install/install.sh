#!/usr/bin/env bash
# install.sh SOURCE BUILD: installs into a prefix with a space, moves it, and uses it from outside in every usual way.
set -euo pipefail
source=$1 build=$2
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
unset TRITON_RUNNER_LIBDIR
ptx=$source/examples/kernels/stages/sm_89/vector_add.ptx
here=$source/tests/install

step() { echo "== $*"; }
step "install, then move"
cmake --install "$build" --prefix "$work/first place" >/dev/null
mv "$work/first place" "$work/its last place"
prefix="$work/its last place"
library=$(find "$prefix" -name libtriton_runner.so)
libdir=$(dirname "$library")
find "$prefix" -type f -o -type l | sed "s|$prefix/||" | sort

step "the command"
"$prefix/bin/triton-runner" --version
"$prefix/bin/triton-runner" inspect "$ptx" | head -n 3

step "CMake, C and C++, shared and static"
cmake -G Ninja -S "$here/cmake" -B "$work/cmake" -DCMAKE_PREFIX_PATH="$prefix" >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
cmake --build "$work/cmake" >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
"$work/cmake/consumer_c" "$ptx"
"$work/cmake/consumer_cpp" "$ptx"
TRITON_RUNNER_LIBDIR="$libdir/triton_runner" "$work/cmake/consumer_static" "$ptx"

step "pkg-config, shared and static"
export PKG_CONFIG_PATH="$libdir/pkgconfig"
flags() { pkg-config "$@" triton_runner; }
eval "cc '$here/consumer.c' $(flags --cflags --libs) -o '$work/shared'"
LD_LIBRARY_PATH="$libdir" "$work/shared" "$ptx"
eval "cc '$here/consumer.c' $(flags --cflags) '$libdir/libtriton_runner.a' $(flags --static --libs | sed 's/-ltriton_runner//') -o '$work/static'"
TRITON_RUNNER_LIBDIR="$libdir/triton_runner" "$work/static" "$ptx"

step "plain cc"
cc "$here/consumer.c" -I"$prefix/include" -L"$libdir" -ltriton_runner -Wl,-rpath,"$libdir" -o "$work/plain"
"$work/plain" "$ptx"

step "dlopen, two copies in one process"
cp -r "$libdir" "$work/second"
cc "$here/dlopen.c" -I"$prefix/include" -ldl -o "$work/dlopen"
"$work/dlopen" "$library" "$work/second/libtriton_runner.so"

step "DESTDIR"
DESTDIR="$work/stage" cmake --install "$build" --prefix /usr >/dev/null
test -x "$work/stage/usr/bin/triton-runner"
test -e "$work/stage/usr/include/triton_runner.h"
echo "all used"
