# shellcheck shell=bash disable=SC2034,SC2317
# What demo.sh and test.sh share: what must be installed, and how. Sourced, never run.
# Everything is done once; a second run finds it done and goes on in a second or two.
# Where test.sh sources it, fail returns: hence the returns behind it.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
triton_default=3.4.0
triton_all=(3.2.0 3.3.0 3.3.1 3.4.0 3.5.1 3.6.0 3.7.1 3.8.0 3.9.0)

if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then bold=$'\e[1m' plain=$'\e[0m'; else bold='' plain=''; fi
say() { printf '%s==> %s%s\n' "$bold" "$*" "$plain"; }
fail() { printf 'error: %s\n' "$*" >&2; exit 1; }

packages_build=(gcc g++ cmake ninja-build pkg-config libffi-dev uthash-dev libjansson-dev libxxhash-dev libzstd-dev
                llvm-22-dev zlib1g-dev python3 python3-venv)
packages_test=(libcmocka-dev python3-numpy)

# is_installed PACKAGE[:ARCHITECTURE]: of this machine's architecture unless it says another; both may be there.
is_installed() {
    local name=$1
    [[ $name = *:* ]] || name+=:$(dpkg --print-architecture 2>/dev/null)
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$name" 2>/dev/null)" = installed ]
}

# apt_install PACKAGE…: what is missing of it, with sudo where we are not root.
apt_install() {
    local missing=() package
    for package in "$@"; do
        is_installed "$package" || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    command -v apt-get >/dev/null || fail "these are needed and there is no apt-get here to install them:
    ${missing[*]}
Those are Debian's names; install your system's packages of the same libraries, then run this again."
    local sudo=()
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null || fail "run this as root, or install sudo; to be installed: ${missing[*]}"
        sudo=(sudo)
    fi
    say "installing ${missing[*]}"
    local log="$root/build/apt.log"
    mkdir -p "$root/build"
    # The package lists of a new machine are empty or old.
    { "${sudo[@]}" apt-get update -q && "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -q --no-install-recommends "${missing[@]}"; } >"$log" 2>&1 ||
        { tail -n 20 "$log" >&2; fail "apt-get could not install them; the log is $log"; }
}

# apt_architecture NAME: packages of another architecture can be installed beside.
apt_architecture() {
    dpkg --print-foreign-architectures | grep -qx "$1" && return
    [ "$(id -u)" = 0 ] || { sudo dpkg --add-architecture "$1"; return; }
    dpkg --add-architecture "$1"
}

# The interpreter that Triton's wheels are made for: the system's, 3.9 – 3.13.
find_python() {
    local candidate
    for candidate in "${PYTHON:-}" /usr/bin/python3 python3; do
        command -v "${candidate:-/nonexistent}" >/dev/null || continue
        "$candidate" -c 'import sys, venv; sys.exit(not (3, 9) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null &&
            { command -v "$candidate"; return; }
    done
    fail "no Python 3.9 – 3.13 with the module venv was found; PYTHON=… names one"
}

# triton_venv: Triton's default version in .venv, which the library finds by itself when it is active.
triton_venv() {
    local venv="$root/.venv" python
    if ! "$venv/bin/python" -c "import importlib.metadata as m; assert m.version('triton') == '$triton_default'" \
        2>/dev/null; then
        python=$(find_python)
        say "installing Triton $triton_default into .venv"
        "$python" -m venv "$venv" || { fail "python -m venv failed"; return 1; }
        "$venv/bin/python" -m pip install -q --disable-pip-version-check --no-deps "triton==$triton_default" ||
            { fail "pip could not install Triton $triton_default"; return 1; }
    fi
}

# triton_folders VERSION…: each in a folder of its own, .tritons/VERSION; what they share is the interpreter. A system's
# Python may come without pip, one in a virtual environment does not.
triton_folders() {
    local python version folder pip="$root/.tritons/.pip"
    python=$(find_python)
    for version in "$@"; do
        folder="$root/.tritons/$version"
        [ -e "$folder/.complete" ] && continue
        say "installing Triton $version into .tritons/$version"
        rm -rf "$folder"
        [ -x "$pip/bin/pip" ] || "$python" -m venv "$pip" || { fail "python -m venv failed"; return 1; }
        "$pip/bin/python" -m pip install -q --disable-pip-version-check --no-deps --no-compile \
            --target "$folder" "triton==$version" || { fail "pip could not install Triton $version"; return 1; }
        touch "$folder/.complete"
    done
}

# triton_list VERSION…: the value of TRITON_RUNNER_PYTHON that names them.
triton_list() {
    local python version list=''
    python=$(find_python)
    for version in "$@"; do list+="${list:+:}$python=$root/.tritons/$version"; done
    printf '%s' "$list"
}

# build PRESET [CMAKE ARGUMENT…]
build() {
    local preset=$1 log="$root/build/$1.log"
    shift
    mkdir -p "$root/build"
    (cd "$root" && cmake --preset "$preset" "$@" && cmake --build --preset "$preset") >"$log" 2>&1 ||
        { grep -E 'error|Error|FAILED' -A 6 "$log" | head -n 60 >&2; tail -n 5 "$log" >&2
          fail "the build '$preset' failed; the log is $log"; }
}
