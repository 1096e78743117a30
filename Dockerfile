# An image with the static binary only. Builds with the classic builder and with BuildKit.
#
#   docker build -t statusworker --build-arg VERSION=v1.2.3 .
#
# BASE is any image with Go, a shell and CA certificates.
ARG BASE=golang:1.26

FROM ${BASE} AS build
WORKDIR /src
# The program's modules, without those of its tests. This layer is rebuilt only when a requirement changes. The build
# fetches modules that are not named here.
COPY go.mod go.sum ./
RUN go mod download github.com/alecthomas/kong github.com/cenkalti/backoff/v4 github.com/nats-io/nats.go \
    github.com/klauspost/compress github.com/prometheus/client_golang github.com/sirupsen/logrus golang.org/x/crypto \
    golang.org/x/crypto/x509roots/fallback golang.org/x/sys golang.org/x/time
COPY . .
ARG VERSION=
# Without the command `dev`, whose NATS server is a third of the program. sbom.txt lists the program's modules with
# versions and checksums.
RUN CGO_ENABLED=0 go build -tags nodev -trimpath -buildvcs=false -ldflags "-s -w -X main.version=${VERSION}" \
    -o /out/statusworker ./cmd/statusworker && \
    go version -m /out/statusworker >/out/sbom.txt

FROM scratch
ARG VERSION=
LABEL org.opencontainers.image.title="statusworker" \
      org.opencontainers.image.description="Polls ElevateAI for the status of declared interactions and publishes one outcome for each" \
      org.opencontainers.image.version="${VERSION}"
COPY --from=build /out/statusworker /out/sbom.txt /
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/statusworker"]
CMD ["run"]
