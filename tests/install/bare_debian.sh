#!/usr/bin/env bash
# bare_debian.sh SOURCE BUILD: the Debian packages in a bare Debian of this machine's release: installed with what they
# depend on and nothing else, the command and a program built against -dev run, removed without a trace.
set -euo pipefail
source=$1 build=$2
[ "$(id -u)" = 0 ] || { echo "skipped: debootstrap and chroot want root"; exit 77; }
for tool in debootstrap dpkg-shlibdeps; do
    command -v "$tool" >/dev/null || { echo "skipped: no $tool here (Debian: debootstrap, dpkg-dev)"; exit 77; }
done
# shellcheck source=/dev/null
release=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
mirror=$(sed -nE 's/^(URIs:|deb( \[[^]]*\])?) *([a-z]+:[^ ]*\/debian\/?)( .*)?$/\3/p' /etc/apt/sources.list \
    /etc/apt/sources.list.d/*.sources 2>/dev/null | head -n 1 || true)
[ -n "$release$mirror" ] || { echo "skipped: this is no Debian with a mirror of Debian"; exit 77; }

work=$(mktemp -d /var/tmp/bare_debian.XXXXXX)
root=$work/root
leave() { umount "$root/proc" "$root/dev/null" 2>/dev/null || true; rm -rf --one-file-system "$work"; }
trap leave EXIT

step() { echo "== $*"; }
step "packages"
cpack --config "$build/CPackConfig.cmake" -B "$work/packages" >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }

step "a bare $release"
debootstrap --variant=minbase --include=ca-certificates "$release" "$root" "$mirror" >"$work/log" 2>&1 ||
    { tail -n 20 "$work/log"; exit 1; }
cp -L /etc/resolv.conf /etc/hosts "$root/etc/"
# The machine's own ways to its mirrors.
rm -f "$root/etc/apt/sources.list"
for file in /etc/apt/sources.list /etc/apt/sources.list.d/debian.sources /etc/ssl/certs/ca-certificates.crt \
    /etc/apt/apt.conf.d/*prox*; do
    if [ -e "$file" ]; then cp -L "$file" "$root$file"; fi
done
mount -t proc proc "$root/proc"
[ -c "$root/dev/null" ] || { rm -f "$root/dev/null"; touch "$root/dev/null"; mount --bind /dev/null "$root/dev/null"; }
cp "$work/packages"/*.deb "$source/tests/install/consumer.c" "$source/examples/kernels/stages/sm_89/vector_add".{ptx,json} "$root/root/"
inside() {
    chroot "$root" /usr/bin/env -i HOME=/root LC_ALL=C.UTF-8 PATH=/usr/sbin:/usr/bin:/sbin:/bin \
        DEBIAN_FRONTEND=noninteractive ${http_proxy:+http_proxy="$http_proxy"} ${https_proxy:+https_proxy="$https_proxy"} \
        bash -euc "cd /root; $*"
}

step "the command, with nothing but what it depends on"
inside 'apt-get update -q >log; apt-get install -y -q --no-install-recommends ./libtriton-runner0_*.deb ./triton-runner_*.deb >log ||
    { tail -n 20 log; exit 1; }'
inside 'triton-runner --version; triton-runner inspect vector_add.ptx | head -n 3
    triton-runner run vector_add.ptx --device cpu --grid 1 --arg out:f32[16]=x.npy --arg out:f32[16]=y.npy \
        --arg out:f32[16]=z.npy --arg i32:16; ls -l z.npy'

step "a program built against -dev"
# shellcheck disable=SC2016 # expanded inside
inside 'apt-get install -y -q --no-install-recommends ./libtriton-runner-dev_*.deb gcc libc6-dev pkg-config >log || { tail -n 20 log; exit 1; }
    cc consumer.c $(pkg-config --cflags --libs triton_runner) -o shared; ./shared vector_add.ptx
    cc consumer.c -ltriton_runner -o plain; ./plain vector_add.ptx
    cc consumer.c $(pkg-config --cflags triton_runner) -Wl,-Bstatic -ltriton_runner -Wl,-Bdynamic \
        $(pkg-config --static --libs triton_runner | sed "s/-ltriton_runner//") -o static
    TRITON_RUNNER_LIBDIR=$(dirname $(find /usr/lib -name triton-runner-helper)) ./static vector_add.ptx'

step "removed"
# shellcheck disable=SC2016
inside 'apt-get purge -y -q libtriton-runner0 libtriton-runner-dev triton-runner >log
    left=$(find /usr /etc /var/lib/dpkg/info -name "*triton*runner*"); [ -z "$left" ] || { echo "left: $left"; exit 1; }'
echo "installed, used, removed"
