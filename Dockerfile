# A container of the relay. Configuration by environment alone:
#
#   docker build -t joltsms-relay .
#   docker run -d --name joltsms-relay --restart unless-stopped -v joltsms-relay:/var/lib/joltsms-relay \
#       -e JOLTSMS_API_KEY -e JOLTSMS_RELAY_SINKS__CRM__TYPE=http \
#       -e JOLTSMS_RELAY_SINKS__CRM__URL=https://crm.example.com/hooks/sms joltsms-relay
#
# - The state must be on a volume. Without it a new container forgets what was delivered and where it was.
# - Without a sink messages go to stdout, which Docker keeps in the container's log, codes included.
# - A bind mount instead of the named volume must be writable for uid 65532: chown 65532:65532 DIRECTORY.
# - A key from a file: -e JOLTSMS_API_KEY_FILE=/run/secrets/joltsms-api-key, readable for that uid.

FROM rust:1-bookworm AS build
WORKDIR /src

# The dependencies first, built for an empty program: this layer stays as long as manifests, lock file and simulator do.
# (The simulator is not built. It is a member of the workspace, so cargo wants to see it.)
COPY Cargo.toml Cargo.lock ./
COPY .cargo .cargo
COPY simulator simulator
RUN mkdir src \
    && echo "fn main() {}" > src/main.rs \
    && touch src/lib.rs \
    && cargo build --release --locked --bin joltsms-relay \
    && rm -r src

COPY config.example.toml ./
COPY src src
# Newer than the empty ones, or cargo would take those for built.
RUN find src -name '*.rs' -exec touch {} + \
    && cargo build --release --locked --bin joltsms-relay \
    && target/release/joltsms-relay --version

FROM debian:bookworm-slim
# The certificates that HTTPS is checked against.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /src/target/release/joltsms-relay /usr/local/bin/joltsms-relay

# The user of the process owns the state directory in the image, and so a new volume there.
RUN install -d -m 0700 -o 65532 -g 65532 /var/lib/joltsms-relay
USER 65532:65532
VOLUME ["/var/lib/joltsms-relay"]
ENV JOLTSMS_RELAY_STATE__DIR=/var/lib/joltsms-relay
ENV JOLTSMS_RELAY_LOG__FORMAT=json

LABEL org.opencontainers.image.title="joltsms-relay"
LABEL org.opencontainers.image.description="Relays SMS from JoltSMS to HTTP receivers, at least once"
LABEL org.opencontainers.image.licenses="MIT OR Apache-2.0"

# It finishes what is in flight, 8 seconds at most; Docker's 10 seconds before SIGKILL are enough.
STOPSIGNAL SIGTERM
# Healthy: it polls, and every sink takes messages or was paused by a person. docs/status.md has the whole list.
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --retries=3 CMD ["joltsms-relay", "status", "--check"]
ENTRYPOINT ["joltsms-relay"]
