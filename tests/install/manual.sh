#!/usr/bin/env bash
# manual.sh SOURCE BUILD: the installed manual pages are free of warnings, and every public function has one whose
# synopsis names its parameters as the header does.
set -euo pipefail
source=$1 build=$2
if ! command -v groff >/dev/null; then
    echo "skipped: no groff here (Debian: groff)"
    exit 77
fi
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
DESTDIR="$work" cmake --install "$build" --prefix /usr >/dev/null
man=$(dirname "$(find "$work" -type d -name man3)")
failed=0
wrong() { echo "$*"; failed=1; }

# Text without comments, hyphenation and runs of white space.
flat() { tr '\n' ' ' | sed -E 's|/\*[^*]*\*/||g; s/\xc2\xad|\xe2\x80\x90//g; s/[[:space:]]+/ /g; s/\( /(/g'; }

cd "$man"
for page in man?/*; do
    if read -r request target <"$page" && [ "$request" = .so ]; then
        [ -f "$target" ] || wrong "$page points to $target, which is not there"
        continue
    fi
    groff -man -Tutf8 -P-cbou -ww -rLL=110n "$page" 2>"$work/warnings" | flat >"$work/$(basename "$page").text"
    [ ! -s "$work/warnings" ] || wrong "$(cat "$work/warnings")"
done

declared=$(flat <"$source/include/triton_runner.h" | grep -oE '(TR_API|static inline) [^;{()]*tr_[a-z0-9_]+\([^)]*\)' |
    sed -E 's/^(TR_API|static inline) //')
count=0
while read -r declaration; do
    name=${declaration%%(*} name=${name##*[ *]} count=$((count + 1))
    [ -f "man3/$name.3" ] || { wrong "$name has no manual page"; continue; }
    page=man3/$name.3
    if read -r request target <"$page" && [ "$request" = .so ]; then page=$target; fi
    grep -qF -- "$declaration" "$work/$(basename "$page").text" || wrong "$page: the header has $declaration"
done <<<"$declared"
[ "$count" -gt 50 ] || wrong "only $count functions were found in the header"

sed 's/\\-/-/g' man1/triton-runner.1 >"$work/command"
for command in doctor inspect compile run cache; do
    "$build/bin/triton-runner" "$command" --help | grep -oE -- '--[a-z-]+' | sort -u | while read -r option; do
        case $option in --help | --usage | --version) continue ;; esac
        grep -q -- "$option" "$work/command" || echo "triton-runner.1: $command has $option"
    done
done >"$work/options"
[ ! -s "$work/options" ] || wrong "$(cat "$work/options")"

for name in $(grep -rhoE '"TRITON_RUNNER_[A-Z_]+"' "$source/lib" | tr -d '"' | sort -u); do
    grep -q "$name" man7/triton_runner.7 || wrong "triton_runner.7: the library reads $name"
done
[ "$failed" = 0 ] && echo "$count functions, $(find . -type f | wc -l) pages"
exit "$failed"
