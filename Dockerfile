# Builds Portcullis and puts the binary, and nothing else of ours, into a small image. BuildKit is needed, for the cache mounts.
#
#   docker build -t portcullis .
#
# The image runs as user 10001 with a read-only root. The configuration is /etc/portcullis/proxy.yaml; what Portcullis
# itself writes goes to /var/lib/portcullis, if the configuration says `data_dir: /var/lib/portcullis`.

ARG BUILD_IMAGE=rust:1-bookworm
ARG RUNTIME_IMAGE=debian:bookworm-slim

FROM ${BUILD_IMAGE} AS build
# A C compiler is in the image. cmake is for zlib-ng, which comes with Pingora.
RUN apt-get update \
    && apt-get install -y --no-install-recommends cmake \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY Cargo.toml Cargo.lock ./
COPY src ./src
# The annotated reference is part of the binary: the schema for editors is made of it.
COPY proxy.yaml ./
# The target folder is a cache and no part of the layer, so the binary is copied out in the same step.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target,sharing=locked \
    cargo build --release --locked --bin portcullis \
    && install -D -m 0755 target/release/portcullis /out/portcullis

FROM ${RUNTIME_IMAGE}
# The authorities that certificates of apps and of Redis are verified by.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
RUN install -d -m 0755 /etc/portcullis \
    && install -d -m 0700 -o 10001 -g 10001 /var/lib/portcullis
COPY --from=build /out/portcullis /usr/local/bin/portcullis

# A number, so that Kubernetes can see that it is not root.
USER 10001:10001
WORKDIR /etc/portcullis
ENV PORTCULLIS_CONFIG=/etc/portcullis/proxy.yaml
VOLUME /var/lib/portcullis
EXPOSE 8080
STOPSIGNAL SIGTERM
# Alive, not ready: whether requests should come is for the load balancer to ask (/readyz).
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --retries=3 CMD ["portcullis", "healthcheck"]
ENTRYPOINT ["portcullis"]
CMD ["run"]
