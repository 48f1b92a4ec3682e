#!/usr/bin/env bash
# Builds the Debian package, and prints its path.
#
#   packaging/deb/build.sh [ARGUMENTS FOR cargo deb]
#
# Needs cargo-deb (`cargo install cargo-deb --locked`) and dpkg-dev. DEBFULLNAME and DEBEMAIL say who maintains the package,
# as for Debian's own tools; without DEBEMAIL the address is one that nobody can write to. The program of the release profile is built first, unless it is
# there and SKIP_BUILD=1. From the program come the man page and the completions. The units get the path of the packaged
# program, and lose the part of their head that tells how to install them by hand.
set -euo pipefail
cd "$(dirname "$0")/../.."

# Without this program cargo-deb only warns, and the package does not depend on the C library that it needs.
command -v dpkg-shlibdeps >/dev/null || { echo 'dpkg-shlibdeps is missing: install dpkg-dev' >&2; exit 1; }
release=${CARGO_TARGET_DIR:-target}/release
[ "${SKIP_BUILD:-}" = 1 ] || cargo build --release --locked --bin joltsms-relay --features replicas
program=$release/joltsms-relay

# Cargo.toml names these files below target/release, which cargo-deb looks up in CARGO_TARGET_DIR.
files=$release/deb-files
rm -rf "$files"
mkdir -p "$files"
"$program" man | gzip -9n >"$files/joltsms-relay.1.gz"
"$program" completions bash >"$files/joltsms-relay.bash"
"$program" completions zsh >"$files/_joltsms-relay"
"$program" completions fish >"$files/joltsms-relay.fish"
for unit in joltsms-relay.service joltsms-relay@.service; do
    sed -e '/^# Installation/,/^# How it is doing\|^# The state of/{/^# How it is doing\|^# The state of/!d}' \
        -e 's|/usr/local/bin/joltsms-relay|/usr/bin/joltsms-relay|' \
        -e 's|before-systemd-253.conf, as told below|before-systemd-253.conf, which the package installs|' \
        "systemd/$unit" >"$files/$unit"
    grep -q '^ExecStart=/usr/bin/joltsms-relay' "$files/$unit"
    if grep -E '/usr/local|as told below' "$files/$unit"; then exit 1; fi
done

maintainer=()
if [ -n "${DEBEMAIL:-}" ]; then
    maintainer=(--maintainer "${DEBFULLNAME:-joltsms-relay maintainers} <$DEBEMAIL>")
else
    echo 'DEBEMAIL is not set: the package names no maintainer whom its users could write to' >&2
fi
cargo deb --no-build --no-strip "${maintainer[@]}" "$@"
