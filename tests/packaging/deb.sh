#!/usr/bin/env bash
# Builds the Debian package, and tries it on a real systemd: installation, upgrade, removal and purge.
#
#   tests/packaging/deb.sh                  Debian 13 (systemd 257) and Debian 12 (systemd 252)
#   tests/packaging/deb.sh trixie           only this one
#
# Needs what systemd.sh needs. Installs cargo-deb in target/tools if it is missing. Prints one line for each check, and exits
# with 1 if a check failed.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit
# shellcheck source=tests/packaging/lib.sh
. tests/packaging/lib.sh
# shellcheck source=tests/packaging/relay.sh
. tests/packaging/relay.sh

install_cargo_deb() {
    local tools
    tools=$(realpath -m "${CARGO_TARGET_DIR:-target}/tools")
    export PATH=$PATH:$tools/bin
    command -v cargo-deb || cargo install cargo-deb --version 3.8.0 --locked --root "$tools"
}

# Builds the packages 1.deb and 2.deb of the same program, with different versions. They are compressed in a hurry.
build_packages() {
    local number
    mkdir -p "$bed/target/release"
    cp "$programs/joltsms-relay" "$bed/target/release/"
    for number in 1 2; do
        CARGO_TARGET_DIR=$bed/target SKIP_BUILD=1 packaging/deb/build.sh --deb-version "0.1.0-$number" \
            --output "$bed/$number.deb" --fast || return 1
    done
}

depends_on_the_c_library() {
    local depends
    depends=$(dpkg-deb --field "$bed/1.deb" Depends) && echo "$depends" >&3 && grep -E 'libc6 \(>= 2\.[0-9]+\)' <<<"$depends"
}

# Runs dpkg in the bed. Nobody is there to answer questions. Prints the output and keeps it in $said.
dpkg_in_bed() {
    local status=0
    said=$(bed_in "$name" env DEBIAN_FRONTEND=noninteractive dpkg "$@" 2>&1) || status=$?
    echo "$said"
    return "$status"
}

install_package() {
    cp "$bed/$1.deb" "$root/root/" && dpkg_in_bed -i "/root/$1.deb"
}

is_enabled() { bed_in "$name" systemctl is-enabled joltsms-relay; }
is_not_running() { is ActiveState inactive && is MainPID 0; }

installs_and_starts_nothing() {
    install_package 1 || return 1
    grep -q 'systemctl enable --now joltsms-relay' <<<"$said" || { echo 'no first steps are told'; return 1; }
    is_not_running && ! is_enabled && is LoadState loaded && is ExecMainStartTimestamp '' && [ -d "$root/etc/joltsms-relay" ]
}

units_are_accepted() {
    local unit noise
    for unit in joltsms-relay.service joltsms-relay@shop.service; do
        noise=$(bed_in "$name" systemd-analyze verify "$unit" 2>&1)
        if [ "$version" -lt 253 ]; then
            noise=$(grep -v 'Failed to parse service type, ignoring: notify-reload$' <<<"$noise")
            [ "$(property Type "$unit")" = notify ] || { echo 'the drop-in is missing'; return 1; }
        fi
        [ -z "$noise" ] || { echo "$noise"; return 1; }
    done
    [ "$(property FragmentPath)" = /usr/lib/systemd/system/joltsms-relay.service ] ||
        [ "$(property FragmentPath)" = /lib/systemd/system/joltsms-relay.service ]
}

files_are_there() {
    local share=$root/usr/share
    bed_in "$name" joltsms-relay --version >&3 &&
        zcat "$share/man/man1/joltsms-relay.1.gz" | grep -q '^\.SH COMMANDS' &&
        bash -n "$share/bash-completion/completions/joltsms-relay" &&
        head -n 1 "$share/zsh/vendor-completions/_joltsms-relay" | grep -q '^#compdef joltsms-relay$' &&
        [ -s "$share/fish/vendor_completions.d/joltsms-relay.fish" ] &&
        cmp config.example.toml "$share/joltsms-relay/config.example.toml" &&
        ! grep -r /usr/local "$root/usr/lib/systemd/system/joltsms-relay.service" "$share/doc/joltsms-relay/copyright"
}

# Without a key systemd refuses the start, and does not try again.
an_early_start_says_what_is_missing() {
    bed_in "$name" systemctl start joltsms-relay && return 1
    is ExecMainStatus 243 && is ActiveState failed && bed_in "$name" systemctl reset-failed joltsms-relay
}

# The steps that the installation tells.
first_steps() {
    local etc=$root/etc/joltsms-relay
    printf '%s\n' "$key" | install -m 0600 /dev/stdin "$etc/api-key"
    configuration | install -m 0644 /dev/stdin "$etc/config.toml"
    install -m 0600 "$etc/api-key" "$etc/shop.api-key"
    # The instance polls the same account, and sends nothing.
    configuration | sed 's/^type = "http"/&\nenabled = false/' | install -m 0644 /dev/stdin "$etc/shop.toml"
    send_messages 20
    bed_in "$name" systemctl enable --now joltsms-relay joltsms-relay@shop && status_says '^polling' && settled
}

# Messages come before, during and after the upgrade.
an_upgrade_restarts_what_runs() {
    local before instance begin
    before=$(property MainPID) instance=$(property MainPID joltsms-relay@shop)
    send_messages 10
    begin=$(date +%s.%N)
    install_package "$1" || return 1
    printf '%s s, ' "$(seconds_since "$begin")" >&3
    send_messages 10
    main_pid_is_not "$before" && is ActiveState active && [ "$(property MainPID joltsms-relay@shop)" != "$instance" ] &&
        [ "$(property ActiveState joltsms-relay@shop)" = active ] || return 1
    ! grep 'it needs an API key and a sink' <<<"$said" || { echo 'first steps again'; return 1; }
    may_repeat 8
    settled
}

a_stopped_relay_stays_stopped() {
    bed_in "$name" systemctl stop joltsms-relay
    install_package "$1" && is_not_running && is_enabled && bed_in "$name" systemctl start joltsms-relay && settled
}

# The package is configured all the same, and the message names the command that tells why.
an_upgrade_over_an_invalid_configuration_says_so() {
    local etc=$root/etc/joltsms-relay/config.toml
    cp "$etc" "$bed/valid.toml"
    echo 'nonsense = 1' >>"$etc"
    install_package 2 || return 1
    grep -q 'see: systemctl status joltsms-relay' <<<"$said" && is ExecMainStatus 78 || return 1
    bed_in "$name" dpkg --status joltsms-relay | grep -q '^Status: install ok installed$' || return 1
    cp "$bed/valid.toml" "$etc"
    bed_in "$name" systemctl start joltsms-relay && settled
}

a_unit_that_hides_the_package_is_told() {
    local unit=$root/etc/systemd/system/joltsms-relay.service
    cp systemd/joltsms-relay.service "$unit"
    bed_in "$name" systemctl stop joltsms-relay
    install_package 2
    rm "$unit"
    bed_in "$name" systemctl daemon-reload
    grep -q 'hides the unit of this package' <<<"$said" && bed_in "$name" systemctl start joltsms-relay && settled
}

removal_stops_and_keeps() {
    local etc=$root/etc/joltsms-relay
    dpkg_in_bed -r joltsms-relay || return 1
    is MainPID 0 && [ "$(property MainPID joltsms-relay@shop)" = 0 ] && is LoadState not-found &&
        [ -s "$etc/api-key" ] && [ -s "$etc/config.toml" ] && [ -s "$root/var/lib/private/joltsms-relay/state.db" ] &&
        [ ! -e "$root/usr/bin/joltsms-relay" ] && [ ! -e "$root/usr/lib/systemd/system/joltsms-relay.service.d" ] &&
        journal --output=cat | tail -n 5 | grep 'stopped; nothing was in flight any more'
}

# The administrator enabled the relay once. It starts at the next boot, and not by the installation.
a_second_installation_goes_on() {
    send_messages 5
    install_package 1 && is_not_running && is_enabled && bed_in "$name" systemctl start joltsms-relay && settled
}

purge_keeps_the_state() {
    dpkg_in_bed --purge joltsms-relay || return 1
    [ ! -e "$root/etc/joltsms-relay" ] && [ -s "$root/var/lib/private/joltsms-relay/state.db" ] &&
        grep -q 'rm -r /var/lib/private/joltsms-relay$' <<<"$said" &&
        [ ! -L "$root/etc/systemd/system/multi-user.target.wants/joltsms-relay.service" ] &&
        [ ! -L "$root/etc/systemd/system/multi-user.target.wants/joltsms-relay@shop.service" ]
}

# With the answer to debconf's question nothing is left of the relay but the lines of the journal.
purge_removes_the_state_if_asked() {
    local left
    install_package 1 && first_steps_again || return 1
    bed_in "$name" sh -c 'echo joltsms-relay joltsms-relay/purge-state boolean true | debconf-set-selections'
    dpkg_in_bed --purge joltsms-relay || return 1
    left=$(find "$root" -xdev -name '*joltsms*' -not -path "$root/root/*" -not -path "$root/proc/*")
    [ -z "$left" ] || { echo "$left"; return 1; }
    ! bed_in "$name" debconf-show joltsms-relay | grep purge-state
}

# The state was kept, so the relay goes on where it was.
first_steps_again() {
    install -d "$root/etc/joltsms-relay"
    printf '%s\n' "$key" | install -m 0600 /dev/stdin "$root/etc/joltsms-relay/api-key"
    configuration | install -m 0644 /dev/stdin "$root/etc/joltsms-relay/config.toml"
    send_messages 5
    bed_in "$name" systemctl enable --now joltsms-relay && settled
}

try_suite() {
    name=deb-$suite-$$
    repeats_allowed=0
    say "$suite"
    check "a root directory of $suite" make_root
    check 'it boots' boots
    [ -n "${bed_leader[$name]:-}" ] || return
    version=$(bed_in "$name" systemctl --version | awk 'NR == 1 { print $2 }')
    say "$suite: systemd $version"
    check 'the installation starts nothing, and tells the first steps' installs_and_starts_nothing
    check 'systemd accepts the units' units_are_accepted
    check 'program, man page, completions and example are there' files_are_there
    check 'a start without a key fails once' an_early_start_says_what_is_missing
    check 'after the first steps messages are relayed, also by an instance' first_steps
    check 'an upgrade restarts the relays that run' an_upgrade_restarts_what_runs 2
    check 'an upgrade (here: the way back) leaves a stopped relay stopped' a_stopped_relay_stays_stopped 1
    check 'an upgrade over an invalid configuration says so, and is complete' an_upgrade_over_an_invalid_configuration_says_so
    check 'a unit in /etc that hides the unit of the package is told' a_unit_that_hides_the_package_is_told
    check 'removal stops the relays, and keeps configuration, key and state' removal_stops_and_keeps
    check 'a second installation starts nothing, and goes on where the first was' a_second_installation_goes_on
    check 'purge removes configuration and key, and keeps the state' purge_keeps_the_state
    check 'purge with the answer yes removes everything' purge_removes_the_state_if_asked
    check 'it shuts down' bed_poweroff "$name"
}

make_root() { root=$(bed_root "$suite"); }

find_programs
bed_begin
check 'the tools are there' bed_needs debootstrap:debootstrap systemd-nspawn:systemd-container ip:iproute2 pgrep:procps \
    curl:curl python3:python3 dpkg-shlibdeps:dpkg-dev
check 'cargo-deb is there' install_cargo_deb
check 'the packages are built' build_packages
check 'the package depends on the C library' depends_on_the_c_library
[ $# -gt 0 ] || set -- trixie bookworm
for suite in "$@"; do
    try_suite
done
bed_end
