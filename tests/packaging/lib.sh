# Functions that boot a real systemd in a container, for the scripts in this folder. Needs root.
#
# A *bed* is one container: a Debian root directory that systemd-nspawn boots, and a network namespace that has only a
# loopback interface. Programs that `bed_beside` starts outside of the container are in the same namespace, so they and
# the services in the container reach each other on 127.0.0.1.
#
#   . tests/packaging/lib.sh
#   bed_begin                          makes the working directory $bed, which goes away at the end
#   bed_needs debootstrap:debootstrap  installs the package if the command is missing
#   bed_is_possible                    whether a bed can be booted on this machine
#   root=$(bed_root trixie)            a fresh root directory with systemd
#   bed_boot relay "$root"             boots it, and waits until systemd is up
#   bed_in relay systemctl status      runs a command in it, as root
#   bed_poweroff relay                 shuts it down in good order
#   check 'it does' command …          one line: ok or FAILED, and the output of a command that failed
#   bed_end                            the summary; returns 1 if a check failed
#
# Set BED_ROOTS to a directory to keep the fresh root directories there for the next run.

bed=''
declare -A bed_process=() bed_leader=()
bed_beside_processes=()
bed_networks=()
bed_mounts=()
checks=0
failures=0

say() { printf '\n== %s ==\n' "$*"; }

# Prints the seconds since the time $1, which `date +%s.%N` printed.
seconds_since() { awk -v begin="$1" -v now="$(date +%s.%N)" 'BEGIN { printf "%.1f", now - begin }'; }

# Runs a command until it succeeds; fails after $1 seconds.
within() {
    local end=$((SECONDS + $1))
    shift
    until "$@"; do
        [ "$SECONDS" -lt "$end" ] || return 1
        sleep 0.1
    done
}

# Runs a command as one check. A command may print a remark about its result on file descriptor 3.
check() {
    local what=$1 output=$bed/check.output remark=$bed/check.remark begin
    shift
    begin=$(date +%s.%N)
    checks=$((checks + 1))
    local result=ok
    "$@" >"$output" 2>&1 3>"$remark" || result=FAILED
    printf '%-7s %s (%s s)%s\n' "$result" "$what" "$(seconds_since "$begin")" "$(sed 's/^/; /' "$remark" | tr -d '\n')"
    if [ "$result" = FAILED ]; then
        failures=$((failures + 1))
        tail -n 15 "$output" | sed 's/^/        | /'
    fi
}

# Tells a check that is left out, and why.
skip() { printf 'skipped %s: %s\n' "$1" "$2"; }

bed_begin() {
    [ "$(id -u)" = 0 ] || { echo 'the bed needs root' >&2; exit 1; }
    bed=$(mktemp -d "/var/tmp/joltsms-relay-$(basename "$0" .sh).XXXXXX")
    trap bed_clean_up EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
}

# Whether a bed can be booted here. It needs root, apt-get, namespaces, loop devices and control groups, so it works on a
# machine but in few containers.
bed_is_possible() {
    local group
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null && unshare --mount --net --pid --fork true && losetup --find >/dev/null || return 1
    for group in $(bed_groups "joltsms-relay-$$"); do
        mkdir "$group" && rmdir "$group" || return 1
    done
}

# Installs packages: `bed_needs COMMAND:PACKAGE …`.
bed_needs() {
    local need missing=()
    for need in "$@"; do
        command -v "${need%%:*}" >/dev/null || missing+=("${need##*:}")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    apt-get update -q >"$bed/apt.log" 2>&1
    DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}" >>"$bed/apt.log" 2>&1 ||
        { cat "$bed/apt.log" >&2; exit 1; }
}

# Prints the mirror of Debian from which this machine installs its packages, or the usual one.
bed_mirror() {
    local found
    found=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null)
    found=$(grep -oE '^(URIs:|deb) +http[^ ]+/debian/?( |$)' <<<"$found")
    found=$(awk 'NR == 1 { print $2 }' <<<"$found")
    echo "${found:-http://deb.debian.org/debian}"
}

# Prints the path of a fresh root directory of the Debian release $1.
bed_root() {
    local suite=$1 kept=${BED_ROOTS:-$bed/roots}
    mkdir -p "$kept"
    if [ ! -d "$kept/$suite" ]; then
        debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,iproute2 "$suite" "$kept/$suite.new" \
            "$(bed_mirror)" >"$bed/debootstrap.log" 2>&1 || { cat "$bed/debootstrap.log" >&2; return 1; }
        mv "$kept/$suite.new" "$kept/$suite"
    fi
    cp -a --reflink=auto "$kept/$suite" "$bed/$suite"
    # The journal outlives a shutdown, so that it can be read afterwards.
    mkdir -p "$bed/$suite/var/log/journal"
    echo "$bed/$suite"
}

# Makes the network namespace $1.
bed_network() {
    ip netns add "$1" && bed_networks+=("$1") && ip -n "$1" link set lo up
}

# Starts a program in the background, in the network namespace $1. Its output goes to the file $2.
bed_beside() {
    local network=$1 output=$2
    shift 2
    ip netns exec "$network" "$@" >"$output" 2>"$output.err" &
    bed_beside_processes+=($!)
}

# Mounts a file system of its own, of the size $2, at the directory $1.
bed_disk() {
    local image
    image=$(mktemp "$bed/disk.XXXXXX")
    truncate -s "$2" "$image" && mkfs.ext4 -q "$image" && mkdir -p "$1" && mount -o loop "$image" "$1" && bed_mounts+=("$1")
}

# The control groups of the bed $1. A machine without systemd as PID 1 has no scope for a container.
bed_groups() {
    local group
    for group in unified systemd memory pids .; do
        [ ! -e "/sys/fs/cgroup/$group/cgroup.procs" ] || echo "/sys/fs/cgroup/$group/$1"
    done
}

# Boots the root directory $2 as the bed $1, in the network namespace of the same name.
bed_boot() {
    local name=$1 root=$2
    (
        for group in $(bed_groups "$name"); do
            mkdir -p "$group" && echo "$BASHPID" >"$group/cgroup.procs"
        done
        export SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1
        exec setsid systemd-nspawn --quiet --boot --directory="$root" --machine="$name" --register=no --keep-unit \
            --network-namespace-path="/run/netns/$name" --console=pipe --capability=all --system-call-filter=bpf \
            --link-journal=no </dev/null >"$bed/$name.console" 2>&1
    ) &
    bed_process[$name]=$!
    if ! within 60 bed_is_up "$name"; then
        cat "$bed/$name.console"
        return 1
    fi
}

# Whether systemd runs in the bed $1 and has begun everything that it begins at boot.
bed_is_up() {
    local leader
    leader=$(pgrep -P "${bed_process[$1]}" | head -n 1)
    bed_leader[$1]=$leader
    [ -n "$leader" ] || return 1
    # `degraded` is a boot, too: a container has no kernel modules to load.
    [[ $(bed_in "$1" systemctl is-system-running 2>/dev/null) =~ ^(running|degraded)$ ]]
}

# Runs a command in the bed $1, as root, for two minutes at most.
bed_in() {
    local leader=${bed_leader[$1]}
    shift
    timeout 120 nsenter -t "$leader" -m -p -n -u -i -C -- \
        env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@" </dev/null
}

# Shuts the bed $1 down in good order.
bed_poweroff() {
    bed_in "$1" systemctl poweroff --no-wall
    within 30 bed_is_gone "$1" || return 1
    bed_forget "$1"
}

bed_is_gone() { ! kill -0 "${bed_process[$1]}" 2>/dev/null; }

bed_forget() {
    wait "${bed_process[$1]}" 2>/dev/null
    unset "bed_process[$1]" "bed_leader[$1]"
    local group
    for group in $(bed_groups "$1"); do
        # systemd leaves groups of its own in the one that it was given.
        find "$group" -depth -type d -exec rmdir {} + 2>/dev/null
    done
}

# Ends the bed $1, whatever its state.
bed_end_now() {
    bed_is_gone "$1" || kill -TERM "${bed_process[$1]}"
    if ! within 15 bed_is_gone "$1"; then
        [ -z "${bed_leader[$1]:-}" ] || kill -KILL "${bed_leader[$1]}" 2>/dev/null
        kill -KILL "${bed_process[$1]}" 2>/dev/null
    fi
    bed_forget "$1"
}

bed_clean_up() {
    local status=$? name process
    trap - EXIT INT TERM
    # A process that waits for a frozen disk cannot end.
    for name in "${bed_mounts[@]}"; do
        fsfreeze --unfreeze "$name" 2>/dev/null
    done
    for name in "${!bed_process[@]}"; do
        bed_end_now "$name"
    done
    for process in "${bed_beside_processes[@]}"; do
        kill -TERM "$process" 2>/dev/null
        wait "$process" 2>/dev/null
    done
    for name in "${bed_mounts[@]}"; do
        umount "$name"
    done
    for name in "${bed_networks[@]}"; do
        ip netns del "$name"
    done
    [ -z "$bed" ] || rm -rf --one-file-system "$bed"
    exit "$status"
}

# Tells the summary, and returns whether every check passed.
bed_end() {
    printf '\n%d checks, %d failed, %d s\n' "$checks" "$failures" "$SECONDS"
    [ "$failures" = 0 ]
}
