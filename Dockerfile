# The image of the relay, and with `--target simulator` the image of the simulator. docs/operations.md says how to run them
# ("As a container"); `docker compose up` runs both.
#
#   docker build -t joltsms-relay .
#
# - The build needs BuildKit (the default since Docker 23; before, DOCKER_BUILDKIT=1) or buildah.
# - `--platform linux/arm64` (or linux/amd64) builds for the other machine. The compiler runs on this machine, and the
#   stages of the other machine only copy, so no emulator is needed.
# - The image declares no VOLUME. Docker would make an anonymous volume for each container without `-v`: a new container
#   does not find that volume again, and `docker rm` leaves it behind with the messages in it. Instead, the relay warns
#   about a state that is on no volume.

FROM --platform=$BUILDPLATFORM rust:1.95-bookworm AS toolchain
ARG TARGETARCH
# Debian removes superseded versions, so a pinned version of the cross compiler could not be installed for long.
# hadolint ignore=DL3008
RUN case "$TARGETARCH" in \
        amd64) machine=x86_64 compiler=gcc-x86-64-linux-gnu ;; \
        arm64) machine=aarch64 compiler=gcc-aarch64-linux-gnu ;; \
        *) echo "there is no image for the architecture '$TARGETARCH'" >&2; exit 1 ;; \
    esac \
    && target=$machine-unknown-linux-gnu \
    && printf '[build]\ntarget = "%s"\n[target.%s]\nlinker = "%s"\n' "$target" "$target" "$machine-linux-gnu-gcc" \
        > "$CARGO_HOME/config.toml" \
    && if [ "$(dpkg --print-architecture)" != "$TARGETARCH" ]; then \
        rustup target add "$target" \
        && apt-get update \
        && apt-get install -y --no-install-recommends "$compiler" "libc6-dev-$TARGETARCH-cross" \
        && rm -rf /var/lib/apt/lists/*; \
    fi

# Only manifests and empty programs: the dependencies, which are built from these, stay cached until a manifest changes.
FROM toolchain AS manifests
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY .cargo .cargo
COPY simulator/Cargo.toml simulator/
RUN mkdir -p src simulator/src/bin/joltsms-simulator \
    && echo 'fn main() {}' > src/main.rs \
    && echo 'fn main() {}' > simulator/src/bin/joltsms-simulator/main.rs \
    && touch src/lib.rs simulator/src/lib.rs

FROM manifests AS build-simulator
RUN cargo build --release --locked --package joltsms-simulator
COPY simulator/src simulator/src
# Cargo builds a file again only if the file is newer than the last build.
RUN find simulator/src -name '*.rs' -exec touch {} + \
    && cargo build --release --locked --package joltsms-simulator \
    && install -D -t /out target/*/release/joltsms-simulator

FROM manifests AS build
RUN cargo build --release --locked --package joltsms-relay --features replicas
COPY config.example.toml ./
COPY src src
RUN find src -name '*.rs' -exec touch {} + \
    && cargo build --release --locked --package joltsms-relay --features replicas \
    && install -D -t /out target/*/release/joltsms-relay \
    && install -d -m 0770 /out/state/joltsms-relay

FROM gcr.io/distroless/cc-debian12:nonroot AS simulator
COPY --from=build-simulator /out/joltsms-simulator /usr/local/bin/
USER 65532:65532
LABEL org.opencontainers.image.title="joltsms-simulator" \
      org.opencontainers.image.description="A JoltSMS API on loopback, for tests" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0"
ENTRYPOINT ["joltsms-simulator"]

FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /out/joltsms-relay /usr/local/bin/
# A new volume takes owner and mode of this directory. Group 0 may write, because a container that is started with
# another user (`--user 12345`, OpenShift) is in group 0.
COPY --from=build --chown=65532:0 /out/state/ /var/lib/
USER 65532:65532
ENV JOLTSMS_RELAY_STATE__DIR=/var/lib/joltsms-relay \
    JOLTSMS_RELAY_LOG__FORMAT=json

ARG REVISION
LABEL org.opencontainers.image.title="joltsms-relay" \
      org.opencontainers.image.description="Relays SMS from JoltSMS to HTTP receivers, at least once" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0"

# The relay gives deliveries in flight 8 seconds; Docker kills a container 10 seconds after SIGTERM.
STOPSIGNAL SIGTERM
# docs/status.md says when a relay is healthy.
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --retries=3 CMD ["joltsms-relay", "status", "--check"]
ENTRYPOINT ["joltsms-relay"]
