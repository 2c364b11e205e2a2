# The gateway in a small image: docker build -t s3proxy .
#
# It starts the binary without arguments, configured by the environment alone, as a user without
# rights, and needs no writable file system.

FROM rust:1.95.0-slim-bookworm AS build
RUN apt-get update \
 && apt-get install --yes --no-install-recommends cmake make \
 && rm -rf /var/lib/apt/lists/*
# The image's own toolchain: rust-toolchain.toml would fetch clippy and rustfmt besides.
ENV RUSTUP_TOOLCHAIN=1.95.0
WORKDIR /build
COPY . .
RUN cargo build --locked --release --bin s3proxy

# The release of Debian must be the build's: the binary uses its C library.
FROM debian:bookworm-20260421-slim
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /build/target/release/s3proxy /usr/local/bin/s3proxy
USER 1000:1000
EXPOSE 8080
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/s3proxy"]
