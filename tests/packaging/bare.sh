#!/usr/bin/env bash
# Runs a command of this repository on a machine that has nothing: a fresh Debian 12 with a C compiler, git, and the Rust
# toolchain of this machine. This shows that a script installs everything else that it needs.
#
#   tests/packaging/bare.sh tests/packaging/systemd.sh trixie
#
# The machine is a root directory with processes and mounts of its own; the kernel, the network and the control groups
# are those of this machine. It has a clone of HEAD, not of the working tree. PROGRAMS may name a folder with
# joltsms-relay and joltsms-simulator, as for the other scripts. Needs root, git, rustup and a Debian mirror; installs
# debootstrap. Everything that was made is removed at the end.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit
# shellcheck source=tests/packaging/lib.sh
. tests/packaging/lib.sh

# Makes the machine in $machine.
make_machine() {
    debootstrap --variant=minbase --include=ca-certificates,gcc,git,libc6-dev bookworm "$machine" "$(bed_mirror)" || return 1
    # The machine trusts whom this machine trusts: there may be a proxy with a certificate of its own.
    cp /etc/ssl/certs/ca-certificates.crt "$machine/etc/ssl/certs/"
    cp -L /etc/resolv.conf /etc/hosts "$machine/etc/"
    mkdir -p "$machine/root/.cargo/bin" "$machine/root/.rustup/toolchains" "$machine/programs"
    local toolchain
    toolchain=$(rustc --print sysroot)
    cp -a "$toolchain" "$machine/root/.rustup/toolchains/" && rm -rf "$machine/root/.rustup/toolchains/"*/share/doc
    printf 'version = "12"\ndefault_toolchain = "%s"\nprofile = "minimal"\n' "$(basename "$toolchain")" \
        >"$machine/root/.rustup/settings.toml"
    local proxy
    for proxy in rustup cargo cargo-clippy cargo-fmt clippy-driver rustc rustdoc rustfmt; do
        cp -L "$(command -v rustup)" "$machine/root/.cargo/bin/$proxy" || return 1
    done
    [ -z "${PROGRAMS:-}" ] || cp "$PROGRAMS/joltsms-relay" "$PROGRAMS/joltsms-simulator" "$machine/programs/" || return 1
    git clone -q --no-hardlinks . "$machine/src" && du -sm "$machine" | sed 's/\t.*/ MB/' >&3
}

# Runs the arguments on the machine, in the clone.
on_machine() {
    local variables=(HOME=/root LANG=C.UTF-8 PATH=/root/.cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin)
    [ -z "${PROGRAMS:-}" ] || variables+=(PROGRAMS=/programs)
    # Where pip and npm look for the certificates that they trust; they have some of their own.
    local name
    for name in PIP_CERT NODE_EXTRA_CA_CERTS; do
        [ -z "${!name:-}" ] || variables+=("$name=${!name}")
    done
    # shellcheck disable=SC2016
    unshare --mount --pid --fork --kill-child --propagation private bash -c '
        set -e
        machine=$1
        shift
        mount --bind "$machine" "$machine"
        cd "$machine"
        mount --rbind /sys sys
        mount --rbind /dev dev
        mount -t proc proc proc
        mount -t tmpfs tmpfs run
        mkdir -p before
        pivot_root . before
        umount --lazy /before
        cd /src
        exec "$@"' - "$machine" env -i "${variables[@]}" "$@" </dev/null &
    process=$!
    wait "$process"
}

# `unshare` heeds no other signal. All processes of the machine end with it.
machine_clean_up() {
    local status=$?
    [ -z "$process" ] || kill -KILL "$process" 2>/dev/null
    (exit "$status")
    bed_clean_up
}

process=''
bed_begin
trap machine_clean_up EXIT
machine=$bed/machine
check 'the tools are there' bed_needs debootstrap:debootstrap git:git
check 'a machine that has nothing' make_machine
[ "$failures" = 0 ] || { bed_end; exit 1; }
say "$*"
on_machine "$@"
