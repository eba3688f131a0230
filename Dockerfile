# syntax=docker/dockerfile:1
#
#   make image, or: docker build -t imapsync .
#
# deploy/verify runs the commands of the stage "build" where no engine runs.

# Built where the builder runs, for where the image is to run.
FROM --platform=$BUILDPLATFORM golang:1.26-bookworm AS build
ARG TARGETOS TARGETARCH
# What the image will hold.
ARG ROOTFS=/rootfs
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
# With .git, which is where the version comes from.
COPY . .
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH \
    go build -trimpath -buildvcs=auto -ldflags='-s -w' -o "$ROOTFS/usr/bin/imapsync" ./cmd/imapsync
# The certificates of the public authorities, and the time zones as Go ships them.
RUN install -D -m 644 /etc/ssl/certs/ca-certificates.crt "$ROOTFS/etc/ssl/certs/ca-certificates.crt" \
 && install -D -m 644 "$(go env GOROOT)/lib/time/zoneinfo.zip" "$ROOTFS/usr/share/zoneinfo.zip"
# Large mail is spooled in /tmp; the key may lie in /etc/imapsync.
RUN install -d -m 1777 "$ROOTFS/tmp" && install -d -m 700 "$ROOTFS/etc/imapsync"

# That, and nothing else: no shell, no package manager, no root.
FROM scratch
COPY --from=build /rootfs /
COPY --from=build --chown=65532:65532 /rootfs/etc/imapsync /etc/imapsync
ENV ZONEINFO=/usr/share/zoneinfo.zip
USER 65532:65532
ENTRYPOINT ["/usr/bin/imapsync"]
CMD ["run"]
