# An image with the static binary only. Builds with the classic builder and with BuildKit.
#
#   docker build -t statusworker --build-arg VERSION=v1.2.3 .
#
# BASE is any image with Go, a shell and CA certificates.
ARG BASE=golang:1.26

FROM ${BASE} AS build
WORKDIR /src
# Without the command `dev`, whose NATS server is a third of the program.
ENV CGO_ENABLED=0 GOFLAGS="-tags=nodev -trimpath -buildvcs=false"
# The largest dependencies of the program. This layer is rebuilt only when a requirement changes. The build compiles
# those that are not named here.
COPY go.mod go.sum ./
RUN go build github.com/alecthomas/kong github.com/nats-io/nats.go/jetstream github.com/sirupsen/logrus \
    github.com/prometheus/client_golang/prometheus/promhttp golang.org/x/crypto/x509roots/fallback \
    go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp go.opentelemetry.io/otel/sdk/trace
COPY . .
ARG VERSION=
# sbom.txt lists the program's modules with versions and checksums.
RUN go build -ldflags "-s -w -X main.version=${VERSION}" -o /out/statusworker ./cmd/statusworker && \
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
