# Functions about the relay in a bed, for the scripts in this folder: its account, its receiver, and what systemd says of it.
#
# lib.sh comes first. These variables belong to the script: $name is the bed, $suite its Debian release, $root its root
# directory, $repeats_allowed how many messages may come twice.

api_port=5658
receiver_port=5659

# Sets $programs, the folder of joltsms-relay and joltsms-simulator, and builds the programs if they are not there.
find_programs() {
    programs=$(realpath "${PROGRAMS:-${CARGO_TARGET_DIR:-target}/release}")
    if [ ! -x "$programs/joltsms-relay" ] || [ ! -x "$programs/joltsms-simulator" ]; then
        cargo build --release --locked --workspace --bins || exit 1
    fi
}

configuration() {
    cat <<END
[api]
url = "http://127.0.0.1:$api_port"
requests_per_minute = 6000
[poll]
interval = "200ms"
start = "beginning"
[sinks.crm]
type = "http"
url = "http://127.0.0.1:$receiver_port/sms"
timeout = "60s"
[sinks.crm.retry]
initial = "1s"
max = "1s"
END
}

# What is outside of the container: an account with messages, and a receiver.

in_network() { ip netns exec "$name" "$@"; }

send_messages() {
    in_network curl -sS --fail --max-time 10 -o "$bed/sent" "http://127.0.0.1:$api_port/_simulator/messages" \
        -d "[$(printf '{},%.0s' $(seq "$1") | sed 's/,$//')]"
}

# Compares the ids of all messages with those that the receiver accepted.
all_relayed() {
    in_network curl -sS --fail --max-time 10 "http://127.0.0.1:$api_port/_simulator/messages?limit=100000" |
        python3 tests/packaging/compare.py "$bed/$suite.receiver/accepted" "$repeats_allowed"
}

settled() {
    if ! within 30 all_relayed; then
        all_relayed
        return 1
    fi
    all_relayed >&3
}

# Deliveries that were in flight at a kill or were cut off at a stop may come twice.
may_repeat() { repeats_allowed=$((repeats_allowed + $1)); }

receiver() { echo "$1" >"$bed/$suite.receiver/mode"; }

# What systemd says of the relay.

property() { bed_in "$name" systemctl show "${2:-joltsms-relay}" --property="$1" --value; }
is() { [ "$(property "$1")" = "$2" ]; }
send_signal() { bed_in "$name" systemctl kill --kill-whom=main --signal="$1" joltsms-relay; }
status_matches() { grep -Eq "$1" <<<"$(property StatusText)"; }
main_pid_is_not() { local pid; pid=$(property MainPID); [ "$pid" != 0 ] && [ "$pid" != "$1" ]; }
journal() { bed_in "$name" journalctl --unit joltsms-relay --no-pager "$@"; }
status_says() {
    if ! within "${2:-5}" status_matches "$1"; then
        property StatusText
        return 1
    fi
    property StatusText >&3
}

# Starts an account and a receiver beside the bed, and boots the bed. Sets $key, the key of the account.
boots() {
    bed_network "$name"
    mkdir "$bed/$suite.receiver"
    receiver accept
    bed_beside "$name" "$bed/$suite.receiver/output" \
        python3 tests/packaging/receiver.py "$receiver_port" "$bed/$suite.receiver"
    bed_beside "$name" "$bed/$suite.simulator" \
        "$programs/joltsms-simulator" --port "$api_port" --messages 0 --limit 6000 --quiet
    within 10 grep -q '^url=' "$bed/$suite.simulator" || return 1
    key=$(sed -n 's/.* key=\([^ ]*\) .*/\1/p' "$bed/$suite.simulator")
    bed_boot "$name" "$root"
}
