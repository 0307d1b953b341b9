#!/usr/bin/env bash
# abi.sh PART SOURCE BUILD: one part of the ABI guard. Exit status 77: skipped, with the reason on the last line.
set -uo pipefail
part=$1 source=$2 build=$3
here=$source/tests/abi
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT

# What the header of folder $1 lays out, by a program made from it.
print_layout() {
    cc -E -P -I"$1" -include stddef.h -include stdint.h "$1/triton_runner.h" |
        grep -v '^typedef.*__\|extern' | awk -f "$here/layout.awk" >"$work/layout.inc" &&
        cc -std=c11 -I"$1" -I"$work" "$here/layout.c" -o "$work/layout" && "$work/layout"
}

print_symbols() { nm -D --defined-only "$1" | awk '{print $2, $3}' | sort; }

# Bit 8 of abidiff's status is an incompatible change; bit 4 alone a compatible one, which the changelog must name.
compare_abi() { # LIBRARY HEADERS
    abidiff --no-added-syms --headers-dir2 "$2" --drop-private-types "$here/baseline/libtriton_runner.abi" "$1"
    local status=$?
    if [ $((status & 8)) != 0 ]; then echo "incompatible with the baseline"; return 1; fi
    if [ $((status & 3)) != 0 ]; then echo "abidiff failed: $status"; return 1; fi
    if [ $((status & 4)) != 0 ] && ! grep -q '^- ABI:' "$source/CHANGELOG.md"; then
        echo "a compatible change of the ABI: name it in CHANGELOG.md in a line that starts with '- ABI:'"
        return 1
    fi
}

# A later library may have more; what the baseline has must be there, as it was.
keeps() { # BASELINE NOW
    local lost
    lost=$(comm -23 <(sort "$1") <(sort "$2"))
    [ -z "$lost" ] || { printf 'lost or changed since the baseline:\n%s\n' "$lost"; return 1; }
}

check_header() { # HEADERS: alone, in every dialect, without padding that nobody wrote
    local standard compiler
    for compiler in gcc clang; do
        command -v $compiler >/dev/null || continue
        for standard in c99 c11 c17 c2x; do
            echo '#include <triton_runner.h>' | $compiler -std=$standard -Wall -Wextra -Wpedantic -Wpadded -Werror \
                -I"$1" -x c -fsyntax-only - || return 1
        done
        for standard in c++11 c++17 c++20; do
            echo '#include <triton_runner.h>' | $compiler -std=$standard -Wall -Wextra -Wpedantic -Wpadded -Werror \
                -I"$1" -x c++ -fsyntax-only - || return 1
        done
    done
}

# A copy of the library with its header changed by a sed script, built plainly and quickly.
build_changed() { # NAME SED-SCRIPT FILE
    mkdir -p "$work/$1"
    cp -r "$source/include" "$source/lib" "$work/$1/"
    sed -i -E "$2" "$work/$1/$3"
    if cmp -s "$work/$1/$3" "$source/$3"; then echo "$1: the change does not apply any more"; return 1; fi
    local flags
    read -ra flags < <(pkg-config --cflags --libs libffi jansson libxxhash libzstd)
    (cd "$work/$1/lib" && cc -std=c11 -D_GNU_SOURCE -g -w -shared -fPIC -fvisibility=hidden -I../include -I. \
        "${flags[@]}" -Wl,-z,defs -Wl,--version-script=triton_runner.map \
        ./*.c base/*.c metadata/*.c stages/*.c launch/*.c cache/*.c driver/*.c compilers/{wire,peer,spawn,ptxas,compiler}*.c \
        compilers/triton*.c compilers/native*.c -ldl -lpthread -lffi -ljansson -lxxhash -lzstd \
        -o "$work/$1/libtriton_runner.so")
}

# A program of the first release, as C and as C++, with a library of today in this folder.
run_first() { # FOLDER
    local language
    for language in c c++; do
        cc -x "$language" -D_GNU_SOURCE -Wall -Werror -I"$here/baseline" "$here/first.c" -L"$1" -ltriton_runner \
            -Wl,-rpath,"$1" -o "$work/first" &&
            TRITON_RUNNER_LIBDIR="$build/libexec" "$work/first" "$source/examples/kernels/stages/sm_89/vector_add.llir" ||
            return 1
    done
}

# What first.c needs of a build to run at all.
has_first() {
    local part
    for part in libtriton_runner_cpu.so libtriton_runner_llvm.so; do
        [ -e "$build/libexec/$part" ] || { echo "this build has no $part"; exit 77; }
    done
}

must_refuse() { # NAME COMMAND…
    local name=$1
    shift
    if "$@" >"$work/said" 2>&1; then echo "$name: was not refused"; return 1; fi
    echo "$name: refused: $(grep -vE '^ *$' "$work/said" | tail -n 1)"
}

# A later release of the header: every struct with a struct_size has one field more.
growth='s/^\} tr_(runner_options|load_options|compile_options|param_info|tensor|launch_config);/    uint64_t grown;\n&/'

case $part in
header) check_header "$source/include" ;;
symbols) print_symbols "$build/lib/libtriton_runner.so" >"$work/symbols" && keeps "$here/baseline/symbols.txt" "$work/symbols" &&
    ! grep -vE ' (tr_[a-z_]+@@TRITON_RUNNER_[0-9]+|TRITON_RUNNER_[0-9]+)$' "$work/symbols" ;;
layout) print_layout "$source/include" >"$work/now" && keeps "$here/baseline/layout.txt" "$work/now" ;;
abidiff)
    command -v abidiff >/dev/null || { echo "abidiff is not installed (Debian: abigail-tools)"; exit 77; }
    compare_abi "$build/lib/libtriton_runner.so" "$source/include" ;;
first) has_first && run_first "$build/lib" ;;
needed) # what every caller loads: no driver, no compiler, no Python, no C++
    needed=$(readelf -d "$build/lib/libtriton_runner.so" | sed -nE 's/.*NEEDED.*\[(.*)\]/\1/p')
    echo "$needed"
    ! grep -qE 'libcuda|LLVM|python|libstdc' <<<"$needed" ;;
bites)
    command -v abidiff >/dev/null || { echo "abidiff is not installed (Debian: abigail-tools)"; exit 77; }
    has_first
    build_changed grown "$growth" include/triton_runner.h &&
        ! cmp -s <(print_layout "$work/grown/include" | grep -c .) <(grep -c . "$here/baseline/layout.txt") &&
        run_first "$work/grown" && echo "structs grown at their ends: accepted" &&
        build_changed inserted 's/^( *)uint32_t grid\[3\], flags;/\1uint64_t inserted;\n&/' include/triton_runner.h &&
        must_refuse "a field inserted, a program of before" run_first "$work/inserted" &&
        must_refuse "a field inserted" compare_abi "$work/inserted/libtriton_runner.so" "$work/inserted/include" &&
        print_layout "$work/inserted/include" >"$work/now" &&
        must_refuse "a field inserted, layout" keeps "$here/baseline/layout.txt" "$work/now" &&
        build_changed renumbered 's/TR_E_TIMEOUT = 14/TR_E_TIMEOUT = 16/' include/triton_runner.h &&
        print_layout "$work/renumbered/include" >"$work/now" &&
        must_refuse "an enumerator renumbered" keeps "$here/baseline/layout.txt" "$work/now" &&
        build_changed dropped 's/local: \*;/local: tr_status_name; *;/' lib/triton_runner.map &&
        print_symbols "$work/dropped/libtriton_runner.so" >"$work/symbols" &&
        must_refuse "a symbol dropped" keeps "$here/baseline/symbols.txt" "$work/symbols" &&
        must_refuse "a symbol dropped, abidiff" compare_abi "$work/dropped/libtriton_runner.so" "$source/include" ;;
baseline) # written by scripts/abi-baseline.sh
    mkdir -p "$here/baseline" && print_layout "$source/include" >"$here/baseline/layout.txt" &&
        print_symbols "$build/lib/libtriton_runner.so" >"$here/baseline/symbols.txt" &&
        { [ -e "$here/baseline/triton_runner.h" ] || cp "$source/include/triton_runner.h" "$here/baseline/"; } &&
        abidw --headers-dir "$source/include" --drop-private-types --no-corpus-path --no-comp-dir-path --no-show-locs \
            "$build/lib/libtriton_runner.so" >"$here/baseline/libtriton_runner.abi" ;;
*) echo "no part '$part'"; exit 2 ;;
esac
