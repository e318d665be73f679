# hostmatch as a small image: one program, one unprivileged user.
#   docker build -t hostmatch .

FROM rust:1.95-slim-bookworm AS build
# ring and SQLite are compiled from C; the certificates are for the final image.
RUN apt-get update \
    && apt-get install -y --no-install-recommends build-essential ca-certificates \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY Cargo.toml Cargo.lock config.toml ./
COPY migration migration
COPY third-party third-party
COPY src src
# The manifest names these paths; the tests themselves are not part of the image.
RUN mkdir -p tests/it && echo '//! Empty.' > tests/it/main.rs
# The commit of the build, for hostmatch_build_info: --build-arg REVISION="$(git rev-parse --short HEAD)"
ARG REVISION=unknown
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target \
    HOSTMATCH_REVISION="$REVISION" cargo build --release --locked --bin hostmatch \
    && install -D target/release/hostmatch /out/hostmatch

FROM debian:bookworm-slim
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/hostmatch /usr/local/bin/hostmatch
# SQLite files are in the working directory: the edge's spool, and those that the configuration names.
RUN useradd --system --uid 10001 --home-dir /var/lib/hostmatch --create-home hostmatch
USER 10001
WORKDIR /var/lib/hostmatch
EXPOSE 8080
# No HEALTHCHECK: the check depends on the role, and a migration has no health route. Define it where a role
# is started: `hostmatch healthcheck` (docker-compose.yml), or /health/live and /health/ready
# (deploy/kubernetes). SIGTERM: finish the work in progress, then end. See worker.shutdown_timeout.
STOPSIGNAL SIGTERM
ENTRYPOINT ["hostmatch"]
CMD ["serve", "all"]
