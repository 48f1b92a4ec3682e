# What CI runs, one by one. `just` lists the recipes; `just ci` runs them all.

[private]
default:
    @'{{ just_executable() }}' --list --unsorted

# Everything, as CI does
ci:
    .ci/run

# Formatting, checked; `cargo fmt --all` mends it
format:
    cargo fmt --all --check

# Lints: a warning is an error
clippy:
    cargo clippy --workspace --all-targets --locked -- -D warnings

# The documentation of the code, without a warning
docs:
    env RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --locked

# Writes what is made from the code: config.example.toml, docs/configuration.md
documents:
    env JOLTSMS_RELAY_WRITE=1 cargo test --lib generated

# The figures of docs/replicas.md, in about an hour and a half; needs postgresql, pgbouncer, faketime, nft and root
replica-figures rounds="50" accounts="30":
    cargo build --release --features replicas
    env JOLTSMS_RELAY_BINARY=$PWD/target/release/joltsms-relay JOLTSMS_RELAY_REPLICA_ROUNDS={{rounds}} \
        JOLTSMS_RELAY_REPLICA_MINUTES=10 JOLTSMS_RELAY_HELD_MESSAGES=3600 JOLTSMS_RELAY_COPIED_MESSAGES=100000 \
        JOLTSMS_RELAY_FLEET_ACCOUNTS={{accounts}} JOLTSMS_RELAY_FLEET_SECONDS=600 \
        cargo test --features replicas --test it -- replicas:: --test-threads 1 --nocapture
    env JOLTSMS_RELAY_PLANNED_MESSAGES=1000000 cargo test --features replicas --lib -- plans:: --nocapture
    cargo bench --features replicas --bench measure -- database

# The tests with other people's programs and libraries, which `.ci/run peers` installs
peers:
    cargo test --test it -- interop:: peers:: clocks:: admin:: recipes::

# The status page in a headless Chromium, with screenshots in target/page, and the recipe for Playwright; needs Debian's
# chromium and npm
page:
    npm install --silent --no-audit --no-fund --prefix target/tools/interop @playwright/test@1 axe-core@4
    cargo build --bin joltsms-relay
    cargo build --package joltsms-simulator
    node tests/interop/page.mjs
    node tests/interop/recipe.mjs

# All tests
tests:
    cargo test --workspace

# A build without the features of the types of sinks
features:
    cargo clippy --all-targets --locked --no-default-features -- -D warnings
    cargo test --lib --locked --no-default-features -- config:: sinks::

# The state in PostgreSQL, on throw-away servers; needs postgresql, pgbouncer and faketime
replicas:
    cargo clippy --workspace --all-targets --locked --features replicas -- -D warnings
    cargo test --locked --features replicas --lib -- store:: config:: daemon:: status::
    cargo test --locked --features replicas --test it -- replicas::
    # Tests that simulate days take an hour on this store, and are left out.
    env JOLTSMS_RELAY_TEST_STATE=postgres cargo test --locked --features replicas --lib -- ingest::poller --skip clocks
    env JOLTSMS_RELAY_TEST_STATE=postgres cargo test --locked --features replicas --lib -- delivery::tests::o --skip order

# Banned crates, licences, sources
deny:
    cargo fetch --locked
    cargo deny --offline check bans licenses sources

# Known vulnerabilities; fetches the RustSec database, so it is no gate
advisories:
    cargo deny check advisories

# The systemd units
units:
    cargo test --test it systemd_accepts_the_units

# What CI tries of systemd and the Debian package: the unit on systemd 257, the package on systemd 252
packaging:
    .ci/run packaging

# The units on a real systemd 257 and 252, booted in containers; needs root and a Debian mirror, and takes minutes
systemd:
    tests/packaging/systemd.sh

# The Debian package, in target/debian; needs cargo-deb
deb:
    packaging/deb/build.sh

# The Debian package on a real systemd: installation, upgrade, removal, purge; needs what `systemd` needs
deb-check:
    tests/packaging/deb.sh

# The container images on a real Docker, with stand-ins for their base images; needs root and a Debian mirror
image *options:
    tests/packaging/image.sh {{ options }}

# The relay on a simulated account, until Ctrl-C
demo:
    cargo run --example demo

# The demo, checked as CI does
demo-check:
    .ci/run demo

# The property test of coverage with many more random cases; `just worlds 1000` for a long night
worlds seeds="100":
    JOLTSMS_RELAY_SEEDS={{ seeds }} cargo test --release --lib worlds

# A year at a message a minute to two sinks: how large the state is after each month
year days="365":
    JOLTSMS_RELAY_DAYS={{ days }} cargo test --lib a_message_a_minute -- --nocapture

# The store's files damaged at random, many more of them
damage states="100":
    JOLTSMS_RELAY_SEEDS={{ states }} cargo test --lib store::sqlite::tests::damage -- --nocapture

# The relay killed at each of its system calls, and started again: about half an hour; prints the figures of guarantees.md
crash-points:
    JOLTSMS_RELAY_CRASH_POINTS=all cargo test --release --test it crash_points -- --nocapture --test-threads 2

# The relay and the receiver killed while 1,000 messages are sent, for each type of sinks; prints a line for each type
kills messages="1000":
    JOLTSMS_RELAY_KILL_MESSAGES={{ messages }} cargo test --test it kills:: -- --nocapture --test-threads 1

# Lives with everything at once: late rows, faults, kills, stops, commands; a failure names its seed
soak lives="100":
    JOLTSMS_RELAY_SEEDS={{ lives }} cargo test --release --test it soak -- --nocapture

# Two relays with a fault every few seconds, for so many seconds: nothing is lost, nothing grows; prints the figures
endurance seconds="3600":
    JOLTSMS_RELAY_ENDURANCE={{ seconds }} cargo test --release --test it endurance -- --nocapture

# The key, a token and the configuration changed every five seconds under ten messages a second: prints the figures
rotations seconds="120":
    JOLTSMS_RELAY_SECONDS={{ seconds }} cargo test --test it while_secrets_are_rotated -- --nocapture

# `wait` a hundred times in a crowd of messages, twenty times with --claim, sixty times on an idle account; prints figures
wait-runs:
    JOLTSMS_RELAY_WAIT_RUNS=1 cargo test --release --test it wait_runs -- --nocapture --test-threads 1

# Fuzz a target for so many seconds, from the inputs that `cargo test` replays (needs nightly and cargo-fuzz)
fuzz target seconds="600":
    cargo +nightly fuzz run -s none {{ target }} fuzz/corpus/{{ target }} $(ls -d fuzz/regressions/{{ target }} 2>/dev/null) -- \
        -max_total_time={{ seconds }} -timeout=10 -rss_limit_mb=2048

# Keep the 60 inputs of a target that reach most: after a run, before a commit
fuzz-minimise target:
    cargo +nightly fuzz build -s none {{ target }}
    fuzz/minimise {{ target }} "$(find fuzz/target -path '*/release/{{ target }}' -type f)"

# --- Measurements: of the release build on a simulated API; they print figures ---

# `just measure kills`: also budget, latency, throughput, faults, network, waiting, resting; several at once in order
measure +names:
    cargo bench --bench measure -- {{ names }}

# What a message costs beside a minimal program; see docs/performance.md
bench:
    cargo bench --bench measure -- cost
