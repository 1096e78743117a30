# The worker as a static binary and nothing else. It builds with the classic builder as well as with BuildKit.
#
#   docker build -t statusworker --build-arg VERSION=v1.2.3 .
#
# BASE is any image with Go, a shell and CA roots.
ARG BASE=golang:1.26

FROM ${BASE} AS build
WORKDIR /src
# What the program needs, without what only its tests need. This layer stays until a requirement changes; whatever is
# not named here, the build fetches.
COPY go.mod go.sum ./
RUN go mod download github.com/alecthomas/kong github.com/cenkalti/backoff/v4 github.com/nats-io/nats.go \
    github.com/klauspost/compress github.com/prometheus/client_golang github.com/sirupsen/logrus golang.org/x/crypto \
    golang.org/x/crypto/x509roots/fallback golang.org/x/sys golang.org/x/time
COPY . .
ARG VERSION=
# Without `dev`: it carries a NATS server, a third of the program. The second file is the bill of materials: the program's
# modules with their versions and checksums.
RUN CGO_ENABLED=0 go build -tags nodev -trimpath -buildvcs=false -ldflags "-s -w -X main.version=${VERSION}" \
    -o /out/statusworker ./cmd/statusworker && \
    go version -m /out/statusworker >/out/sbom.txt

FROM scratch
ARG VERSION=
LABEL org.opencontainers.image.title="statusworker" \
      org.opencontainers.image.description="Asks ElevateAI for the status of declared interactions and publishes what became of them" \
      org.opencontainers.image.version="${VERSION}"
COPY --from=build /out/statusworker /out/sbom.txt /
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/statusworker"]
CMD ["run"]
