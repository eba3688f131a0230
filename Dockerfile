# syntax=docker/dockerfile:1

# Built where the builder runs, for where the image is to run.
FROM --platform=$BUILDPLATFORM golang:1.26-bookworm AS build
ARG TARGETOS TARGETARCH
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH \
    go build -trimpath -ldflags='-s -w' -o /imapsync ./cmd/imapsync

# The binary, the certificates of the public authorities, and nothing else: no
# shell, no package manager, no root.
FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /imapsync /imapsync
USER 65532:65532
ENTRYPOINT ["/imapsync"]
CMD ["run"]
