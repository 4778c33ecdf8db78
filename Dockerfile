# A static binary, run by nobody, with nothing around it.
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o /out/beffroi ./cmd/beffroi && mkdir /out/data

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/beffroi /beffroi
COPY --from=build --chown=65532:65532 /out/data /data
USER 65532:65532
VOLUME /data
ENV BEFFROI_DATA=/data \
    BEFFROI_CLIENT_LISTEN=:8008 \
    BEFFROI_FEDERATION_LISTEN=:8448 \
    BEFFROI_METRICS_LISTEN=:8009 \
    BEFFROI_LOG_FORMAT=json
EXPOSE 8008 8448 8009
ENTRYPOINT ["/beffroi"]
CMD ["serve"]
