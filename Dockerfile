# fts-node and fts-exchange in one small image; which of them runs is said where it is started.
#   docker build -t fts-node:0.1.0 .
FROM rust:1.95.0-slim-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends \
        make perl \
    && rm -rf /var/lib/apt/lists/*
# What rust-toolchain.toml asks for beside the compiler is for developers.
ENV RUSTUP_TOOLCHAIN=1.95.0
WORKDIR /src
COPY . .
# The caches stay on the building machine and out of the image; hence the copy within the same step.
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --locked --release --package fts-node --package fts-exchange --bins \
    && mkdir /out && cp target/release/fts-node target/release/fts-exchange /out/ \
    && strip /out/fts-node /out/fts-exchange

# Others may read the data: Superset opens the store, read-only, as a user of its own.
FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin fts \
    && install -d -o fts -g fts -m 0755 /var/lib/fts-node
COPY --from=build /out/ /usr/local/bin/
COPY deploy/healthy /usr/local/bin/healthy
USER 10001:10001
WORKDIR /var/lib/fts-node
VOLUME /var/lib/fts-node
ENV FTS__DATA_DIR=/var/lib/fts-node
# 8080: page, API, metrics, probes. 7401: the other nodes (TCP and UDP).
EXPOSE 8080 7401/tcp 7401/udp
STOPSIGNAL SIGTERM
CMD ["fts-node", "run"]
