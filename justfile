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

# The tests with other people's programs and libraries, which `.ci/run peers` installs
peers:
    cargo test --test it -- interop:: peers::

# All tests
tests:
    cargo test --workspace

# Banned crates, licences, sources
deny:
    cargo fetch --locked
    cargo deny --offline check bans licenses sources

# Known vulnerabilities; fetches the RustSec database, so it is no gate
advisories:
    cargo deny check advisories

# The systemd units
units:
    .ci/run units

# The relay on a simulated account, until Ctrl-C
demo:
    cargo run --example demo

# The demo, checked as CI does
demo-check:
    .ci/run demo

# The property test of coverage with many more random cases; `just worlds 1000` for a long night
worlds seeds="100":
    JOLTSMS_RELAY_SEEDS={{ seeds }} cargo test --release --lib worlds

# --- Measurements: of the release build on a simulated API; they print figures ---

# `just measure kills`: also budget, latency, throughput, faults, network, resting; several at once in order
measure +names:
    cargo bench --bench measure -- {{ names }}
