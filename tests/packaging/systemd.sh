#!/usr/bin/env bash
# Boots a real systemd, installs the relay as the head of its unit tells, and shows what the unit promises.
#
#   tests/packaging/systemd.sh                  Debian 13 (systemd 257) and Debian 12 (systemd 252)
#   tests/packaging/systemd.sh trixie           only this one
#
# Needs root, a Debian or Ubuntu with a mirror, and both programs: PROGRAMS (default target/release) is the folder of
# joltsms-relay and joltsms-simulator; without them `cargo build --release` builds them. Installs systemd-container and
# debootstrap. Everything else that it makes is removed at the end, and it ends only processes that it started. It
# prints one line for each check, and exits with 1 if a check failed.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit
# shellcheck source=tests/packaging/lib.sh
. tests/packaging/lib.sh
# shellcheck source=tests/packaging/relay.sh
. tests/packaging/relay.sh

# The relay is installed as the head of the unit tells an administrator.

install_relay() {
    local etc=$root/etc/joltsms-relay
    install -m 0755 "$programs/joltsms-relay" "$root/usr/local/bin/"
    install -m 0644 systemd/joltsms-relay.service systemd/joltsms-relay@.service "$root/etc/systemd/system/"
    install -d "$etc"
    printf '%s\n' "$key" | install -m 0600 /dev/stdin "$etc/api-key"
    configuration | install -m 0644 /dev/stdin "$etc/config.toml"
    install -m 0600 "$etc/api-key" "$etc/shop.api-key"
    configuration | install -m 0644 /dev/stdin "$etc/shop.toml"
    [ "$version" -ge 253 ] || for unit in joltsms-relay.service joltsms-relay@.service; do
        install -D -m 0644 systemd/before-systemd-253.conf "$root/etc/systemd/system/$unit.d/before-systemd-253.conf"
    done
    bed_in "$name" systemctl daemon-reload
}

# Writes lines to the drop-in `test.conf` of the relay, and lets systemd read them.
drop_in() {
    printf '[Service]\n%s\n' "$@" | install -D -m 0644 /dev/stdin "$drop_ins/test.conf"
    bed_in "$name" systemctl daemon-reload
}

no_drop_in() {
    rm "$drop_ins/test.conf"
    bed_in "$name" systemctl daemon-reload
}

# The checks.

verify_prints_nothing() {
    local said unit
    for unit in joltsms-relay.service joltsms-relay@shop.service; do
        said=$(bed_in "$name" systemd-analyze verify "$unit" 2>&1)
        if [ "$version" -lt 253 ]; then
            said=$(grep -v 'Failed to parse service type, ignoring: notify-reload$' <<<"$said")
            echo "$unit: only that it ignores the line which the drop-in replaces" >&3
        fi
        [ -z "$said" ] || { echo "$said"; return 1; }
    done
}

exposure_is_low() {
    local unit
    # In tenths: at most 1.2.
    for unit in joltsms-relay.service joltsms-relay@shop.service; do
        if ! bed_in "$name" systemd-analyze security --no-pager --threshold=12 "$unit" >"$bed/security"; then
            cat "$bed/security"
            return 1
        fi
        sed -n 's/.*exposure level for \([^:]*\): \([0-9.]*\).*/\1: \2/p' "$bed/security" >&3
    done
}

starts() {
    bed_in "$name" systemctl enable --now joltsms-relay && is ActiveState active && is SubState running
}

log_has_priorities() {
    journal --output=json | python3 tests/packaging/journal.py
}

credentials_are_private() {
    local pid file=/run/credentials/joltsms-relay.service/joltsms-api-key
    pid=$(property MainPID)
    bed_in "$name" cat "$file" | grep "$key" || { echo 'root cannot read the credential'; return 1; }
    if bed_in "$name" setpriv --reuid=1000 --regid=1000 --clear-groups cat "$file"; then return 1; fi
    if bed_in "$name" setpriv --reuid=1000 --regid=1000 --clear-groups cat /etc/joltsms-relay/api-key; then return 1; fi
    ! bed_in "$name" grep -c "$key" "/proc/$pid/environ" "/proc/$pid/cmdline" || return 1
    ! bed_in "$name" systemctl show joltsms-relay | grep "$key" || return 1
    ! journal | grep "$key" || return 1
    if bed_in "$name" setpriv --reuid=1000 --regid=1000 --clear-groups ls /var/lib/joltsms-relay/; then return 1; fi
}

is_confined() {
    local pid status
    pid=$(property MainPID)
    status=$(bed_in "$name" cat "/proc/$pid/status")
    echo "$status"
    grep -q '^Seccomp:.*2$' <<<"$status" && grep -q '^NoNewPrivs:.*1$' <<<"$status" &&
        grep -q '^CapEff:.*0000000000000000$' <<<"$status" && ! grep -qE '^Uid:\s0\s' <<<"$status"
}

root_sees_the_status() {
    local said
    said=$(bed_in "$name" joltsms-relay status) || { echo "$said"; return 1; }
    echo "$said"
    grep -q '^relay    running for ' <<<"$said" && grep -q 'crm' <<<"$said" &&
        bed_in "$name" joltsms-relay status --check >&3
}

others_are_told_to_use_sudo() {
    local said
    said=$(bed_in "$name" setpriv --reuid=1000 --regid=1000 --clear-groups joltsms-relay status 2>&1) && return 1
    echo "$said"
    grep -q 'Permission denied' <<<"$said" && grep -q 'use sudo: sudo joltsms-relay status$' <<<"$said"
}

# The last such command in the head of the unit: the one after a change of the configuration.
root_checks_the_configuration() {
    bed_in "$name" sh -c "$(sed -n 's/^#   \(CREDENTIALS_DIRECTORY=.*\)/\1/p' systemd/joltsms-relay.service | tail -n 1)"
}

# Root may read the file, and the user of the service may not.
root_is_told_what_the_service_may_not_read() {
    local said etc=$root/etc/joltsms-relay
    printf 'a-token\n' | install -m 0600 /dev/stdin "$etc/token"
    cp "$etc/config.toml" "$bed/valid.toml"
    printf '[sinks.desk]\ntype = "http"\nurl = "https://desk.example"\nauth = { bearer = { file = "token" } }\n' >>"$etc/config.toml"
    said=$(root_checks_the_configuration 2>&1)
    cp "$bed/valid.toml" "$etc/config.toml"
    echo "$said"
    grep -q 'sinks.desk.auth.bearer.: the service runs as uid [0-9]*, the owner of the state, and that user may not read' \
        <<<"$said" && [ "$(grep -c 'may not' <<<"$said")" = 1 ]
}

# docs/sinks/file.md: a directory beside the state, which systemd makes for the user of the service.
a_directory_of_its_own_takes_a_file() {
    local said etc=$root/etc/joltsms-relay/config.toml
    cp "$etc" "$bed/valid.toml"
    printf '[sinks.archive]\ntype = "file"\npath = "/var/lib/sms/%%Y.jsonl"\n' >>"$etc"
    drop_in StateDirectory=sms
    bed_in "$name" systemctl restart joltsms-relay || return 1
    send_messages 2
    settled && within 10 archive_has_lines || return 1
    said=$(root_checks_the_configuration 2>&1)
    echo "$said"
    cp "$bed/valid.toml" "$etc"
    no_drop_in
    bed_in "$name" systemctl restart joltsms-relay
    ! grep 'may not' <<<"$said"
}

archive_has_lines() { [ "$(bed_in "$name" sh -c 'cat /var/lib/sms/*.jsonl' | wc -l)" -ge 2 ]; }

a_failing_sink_is_shown() {
    receiver refuse
    send_messages 3 && status_says '^polling; crm: failing since .*Z, 3 messages wait$' 15
}

a_sink_that_works_again_is_shown() {
    receiver accept
    settled && status_says '^polling$' 15
}

reloads() {
    local before invocation
    before=$(property MainPID) invocation=$(property InvocationID)
    sed -i 's/timeout = "60s"/timeout = "50s"/' "$root/etc/joltsms-relay/config.toml"
    bed_in "$name" systemctl reload joltsms-relay || return 1
    is MainPID "$before" && is InvocationID "$invocation" && is ActiveState active || return 1
    within 5 journal_matches 'the configuration was read again and is in effect' || return 1
    status_says '^polling' && send_messages 2 && settled
}

refuses_an_invalid_reload() {
    local before
    before=$(property MainPID)
    cp "$root/etc/joltsms-relay/config.toml" "$bed/valid.toml"
    echo 'nonsense = 1' >>"$root/etc/joltsms-relay/config.toml"
    bed_in "$name" systemctl reload joltsms-relay
    within 5 journal_matches 'nonsense' && status_says '; the last reload failed$' || return 1
    cp "$bed/valid.toml" "$root/etc/joltsms-relay/config.toml"
    bed_in "$name" systemctl reload joltsms-relay
    status_says '^polling$' || return 1
    is MainPID "$before" && is ActiveState active && send_messages 2 && settled
}

journal_matches() { grep -q "$1" <<<"$(journal)"; }

# A shorter limit than the 60 seconds of the unit, so that the check takes seconds.
the_watchdog_ends_a_stopped_process() {
    local before restarts
    drop_in WatchdogSec=4s
    bed_in "$name" systemctl restart joltsms-relay
    before=$(property MainPID) restarts=$(property NRestarts)
    send_signal STOP
    send_messages 5
    within 30 main_pid_is_not "$before" || return 1
    within 10 is ActiveState active || return 1
    [ "$(property NRestarts)" = $((restarts + 1)) ] || return 1
    journal_matches 'Watchdog timeout' || return 1
    no_drop_in
    bed_in "$name" systemctl restart joltsms-relay && settled
}

# The process runs and answers signals, but its loops wait for the disk. The relay stops feeding the watchdog 20 seconds
# after they stood still.
the_watchdog_ends_a_relay_whose_disk_hangs() {
    local before
    drop_in WatchdogSec=4s
    bed_in "$name" systemctl restart joltsms-relay || return 1
    before=$(property MainPID)
    fsfreeze --freeze "$state" || return 1
    send_messages 5
    within 50 journal_of_this_process_matches "$before" 'Watchdog timeout'
    fsfreeze --unfreeze "$state"
    within 30 main_pid_is_not "$before" && within 10 is ActiveState active || return 1
    journal_matches 'a loop of the relay stands still; is the disk stuck?' || return 1
    no_drop_in
    may_repeat 8
    bed_in "$name" systemctl restart joltsms-relay && settled
}

# Whether the journal has a line after the start of the process $1.
journal_of_this_process_matches() {
    local lines
    lines=$(journal | sed -n "/joltsms-relay\[$1\]/,\$p")
    grep -q "$2" <<<"$lines"
}

a_killed_relay_comes_back() {
    local before begin
    before=$(property MainPID)
    send_messages 40
    send_signal KILL
    begin=$(date +%s.%N)
    send_messages 20
    within 20 main_pid_is_not "$before" || return 1
    within 10 is ActiveState active || return 1
    printf 'running again after %s s, ' "$(seconds_since "$begin")" >&3
    may_repeat 8
    settled
}

# A receiver that does not answer is waited for 8 seconds at most.
stops_within_the_grace() {
    local begin
    receiver hang
    send_messages 2
    within 10 in_flight || return 1
    begin=$(date +%s.%N)
    bed_in "$name" systemctl stop joltsms-relay || return 1
    printf 'stopped in %s s, ' "$(seconds_since "$begin")" >&3
    receiver accept
    may_repeat 2
    [ "$(seconds_since "$begin" | cut -d . -f 1)" -lt 12 ] && is Result success && is ExecMainStatus 0 &&
        bed_in "$name" systemctl start joltsms-relay && settled
}

in_flight() { bed_in "$name" joltsms-relay status --json | grep -E '"in_flight": ?[1-9]'; }

a_stop_with_nothing_to_wait_for_is_quick() {
    local begin
    begin=$(date +%s.%N)
    bed_in "$name" systemctl stop joltsms-relay || return 1
    [ "$(seconds_since "$begin" | cut -d . -f 1)" -lt 3 ] && is Result success &&
        journal_matches 'nothing was in flight any more' && bed_in "$name" systemctl start joltsms-relay
}

the_state_outlives_the_machine() {
    local begin
    bed_poweroff "$name" || return 1
    # Nothing of the machine runs now; the account goes on.
    send_messages 7
    begin=$(date +%s.%N)
    bed_boot "$name" "$root" || return 1
    within 10 is ActiveState active || return 1
    printf 'running %s s after power on, ' "$(seconds_since "$begin")" >&3
    journal --boot=-1 | grep 'stopped; nothing was in flight any more' || { echo 'no end in good order'; return 1; }
    settled
}

an_invalid_configuration_is_visible() {
    local said etc=$root/etc/joltsms-relay/config.toml
    cp "$etc" "$bed/valid.toml"
    sed -i 's/^interval = .*/intervall = "1s"/' "$etc"
    bed_in "$name" systemctl restart joltsms-relay && return 1
    within 5 is ActiveState failed || return 1
    is ExecMainStatus 78 && is NRestarts 0 || return 1
    said=$(bed_in "$name" systemctl status joltsms-relay --no-pager --lines=20)
    echo "$said"
    grep -q 'status=78/CONFIG' <<<"$said" && grep -q 'intervall' <<<"$said" && grep -q 'interval' <<<"$said" || return 1
    journal --priority=err | grep intervall || { echo 'it has not the priority of an error'; return 1; }
    # A second later it still has not been started again.
    within 1 false
    is NRestarts 0 && is ActiveState failed || return 1
    cp "$bed/valid.toml" "$etc"
    bed_in "$name" systemctl start joltsms-relay && settled
}

a_missing_key_file_is_no_endless_restart() {
    mv "$root/etc/joltsms-relay/api-key" "$bed/api-key"
    bed_in "$name" systemctl restart joltsms-relay && return 1
    bed_in "$name" systemctl status joltsms-relay --no-pager --lines=5
    is ExecMainStatus 243 || return 1
    within 5 main_pid_is_not 0 && return 1
    is ActiveState failed && is NRestarts 0 || return 1
    mv "$bed/api-key" "$root/etc/joltsms-relay/api-key"
    bed_in "$name" systemctl start joltsms-relay && settled
}

an_instance_has_a_state_of_its_own() {
    local said
    # The second relay reads the same account, so the receiver gets each message once more. These do not count.
    cp "$bed/$suite.receiver/accepted" "$bed/accepted"
    bed_in "$name" systemctl start joltsms-relay@shop || return 1
    within 10 instance_is_up || return 1
    said=$(bed_in "$name" joltsms-relay --config /etc/joltsms-relay/shop.toml status)
    echo "$said"
    grep -q '/var/lib/joltsms-relay-shop' <<<"$said" || return 1
    bed_in "$name" joltsms-relay --state-dir /var/lib/joltsms-relay-shop status --check || return 1
    bed_in "$name" systemctl stop joltsms-relay@shop
    cp "$bed/accepted" "$bed/$suite.receiver/accepted"
}

instance_is_up() { [ "$(property StatusText joltsms-relay@shop)" = polling ]; }

log_files_are_possible() {
    drop_in LogsDirectory=joltsms-relay LogsDirectoryMode=0700
    bed_in "$name" systemctl restart joltsms-relay || return 1
    within 5 log_file_has_lines || return 1
    no_drop_in
    bed_in "$name" systemctl restart joltsms-relay
}

log_file_has_lines() {
    bed_in "$name" sh -c 'cat /var/log/joltsms-relay/*.log' | grep -E '^20.* INFO joltsms-relay version='
}

# A version without a reload says so at SIGHUP.
has_reload() { ! grep -qa 'this version cannot reload its configuration' "$programs/joltsms-relay"; }

try_suite() {
    name=relay-$suite-$$
    repeats_allowed=0
    say "$suite"
    check "a root directory of $suite" make_root
    check 'it boots' boots
    [ -n "${bed_leader[$name]:-}" ] || return
    version=$(bed_in "$name" systemctl --version | awk 'NR == 1 { print $2 }')
    install_relay
    say "$suite: systemd $version"
    check 'systemd-analyze verify prints nothing' verify_prints_nothing
    check 'systemd-analyze security: an exposure of at most 1.2' exposure_is_low
    send_messages 20
    check 'it starts, and systemctl returns when it is ready' starts
    check 'the status says that it polls' status_says '^polling$' 3
    check 'messages are relayed' settled
    check 'lines of the log have a priority, and one time' log_has_priorities
    check 'others read neither the key nor the state, and the journal has no key' credentials_are_private
    check 'the process is confined' is_confined
    check 'joltsms-relay status as root, without flags' root_sees_the_status
    check 'joltsms-relay status as another user says "use sudo"' others_are_told_to_use_sudo
    check 'root checks the configuration with the credential' root_checks_the_configuration
    check 'root is told which file the service may not read' root_is_told_what_the_service_may_not_read
    check 'a file sink writes to a directory of its own, and root is told of no trouble' a_directory_of_its_own_takes_a_file
    check 'a sink that fails is in the status, with since when and what waits' a_failing_sink_is_shown
    check 'a sink that works again is not' a_sink_that_works_again_is_shown
    if has_reload; then
        check 'a reload: the same process, and systemctl returns when it is over' reloads
        check 'a reload of an invalid configuration changes nothing and is logged' refuses_an_invalid_reload
    else
        skip 'reload' 'this program has none'
    fi
    check 'the watchdog kills a stopped process, and it comes back' the_watchdog_ends_a_stopped_process
    check 'the watchdog kills a relay whose disk hangs, and it comes back' the_watchdog_ends_a_relay_whose_disk_hangs
    check 'after kill -9 it comes back, and nothing is lost' a_killed_relay_comes_back
    check 'a stop waits for a receiver, 8 seconds at most' stops_within_the_grace
    check 'a stop with nothing in flight takes less than 3 seconds' a_stop_with_nothing_to_wait_for_is_quick
    check 'power off and on: the state is kept, and it starts by itself' the_state_outlives_the_machine
    check 'an invalid configuration is visible in systemctl status, and no reason for a restart' \
        an_invalid_configuration_is_visible
    check 'a missing key file is told, and no reason for a restart' a_missing_key_file_is_no_endless_restart
    check 'an instance has a configuration and a state of its own' an_instance_has_a_state_of_its_own
    check 'the log can go to files' log_files_are_possible
    check 'nothing was lost, all in all' settled
    check 'it shuts down' bed_poweroff "$name"
}

make_root() {
    root=$(bed_root "$suite") && drop_ins=$root/etc/systemd/system/joltsms-relay.service.d || return 1
    # The state is on a disk of its own, which a check can freeze.
    state=$root/var/lib/private/joltsms-relay
    install -d -m 0700 "$root/var/lib/private" && bed_disk "$state" 256M
}

find_programs
bed_begin
check 'the tools are there' bed_needs debootstrap:debootstrap systemd-nspawn:systemd-container ip:iproute2 pgrep:procps \
    curl:curl python3:python3 mkfs.ext4:e2fsprogs fsfreeze:util-linux
[ $# -gt 0 ] || set -- trixie bookworm
for suite in "$@"; do
    try_suite
done
bed_end
