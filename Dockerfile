# The gateway in a small image: docker build -t s3proxy .
#
# The image holds the binary, the C library it was linked with, certificates, and nothing else: no shell,
# no package manager. It starts the binary without arguments as a user without rights, and needs no
# writable file system. tests/deploy/image builds and tests the image.

FROM rust:1.95.0-slim-bookworm AS build
RUN apt-get update \
 && apt-get install --yes --no-install-recommends binutils ca-certificates cmake make \
 && rm -rf /var/lib/apt/lists/*
# The image's own toolchain: rust-toolchain.toml would fetch clippy and rustfmt besides.
ENV RUSTUP_TOOLCHAIN=1.95.0
WORKDIR /build
COPY . .
RUN cargo build --locked --profile dist --bin s3proxy

# Function names stay for backtraces. The libraries are those that the dynamic linker names; libraries
# loaded later (DNS) are in libc. The files in status.d show image scanners the packages of these files.
RUN mkdir --parents /image/usr/local/bin /image/etc/ssl/certs /image/var/lib/dpkg/status.d \
 && strip --strip-debug -o /image/usr/local/bin/s3proxy target/dist/s3proxy \
 && ldd target/dist/s3proxy | grep --only-matching '/[^ ]*' | xargs cp --dereference --parents --target-directory=/image \
 && cp --dereference /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ \
 && cp --dereference /etc/os-release /image/etc/ \
 && echo 'hosts: files dns' >/image/etc/nsswitch.conf \
 && for package in ca-certificates libc6 libgcc-s1; do \
      dpkg-query --status "$package" >"/image/var/lib/dpkg/status.d/$package" || exit; \
    done

FROM scratch
COPY --from=build /image/ /
# .ci/image adds version and revision.
LABEL org.opencontainers.image.title=s3proxy \
      org.opencontainers.image.description="A read gateway from plain HTTP to private S3 buckets" \
      org.opencontainers.image.licenses=MIT \
      org.opencontainers.image.source=https://github.com/lsst-dm/s3proxy
ENV PATH=/usr/local/bin
USER 1000:1000
EXPOSE 8080 9090
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/s3proxy"]
