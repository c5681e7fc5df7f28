"""The server's options: one table, from which flags, environment variables and help are derived.

The table is the fields of ServerConfig, whose rows are made by server/zoo_server/options.py. What more
than one option must satisfy follows the table.
"""

import argparse
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from zoo_server import options
from zoo_server.errors import ConfigurationError
from zoo_server.options import OFF, choice, number, path, several, single, switch
from zoo_server.triton_options import cache_bytes, resource_counts

#: Names for --provider besides `auto`; server/zoo_server/backends/onnxruntime/providers.py maps them to onnxruntime's.
PROVIDERS = (
    "cpu", "cuda", "tensorrt", "openvino", "rocm", "migraphx", "coreml", "dml", "qnn", "xnnpack",
    "webgpu",
)  # fmt: skip

TRANSPORTS = ("fast", "public")

#: Names for --model-control-mode; server/zoo_server/models/control.py gives them their meaning.
CONTROL_MODES = ("none", "poll", "explicit")

#: Names for --rate-limit; server/zoo_server/schedulers/rate_limiter.py gives them their meaning.
RATE_LIMITS = (OFF, "execution_count")

LOG_FORMATS = ("text", "json")

LOG_LEVELS = ("debug", "info", "warning", "error")

#: gRPC carries lengths in signed 32 bits; tritonclient sends up to this (docs/protocol.md 2.4).
MAX_MESSAGE_BYTES = 2**31 - 1

#: Above twice the largest message, which numbers take that are copied out of it.
MAX_DECODED_BYTES = 5 * 2**30

#: The HTTP bodies held at one time: the largest body alone, at least.
MAX_HTTP_BYTES = 2**31

#: Triton's default for its option of the same name.
HTTP_MAX_INPUT_SIZE = 1 << 26

#: A scheme, a host and perhaps a port, as browsers send it in the header Origin.
_ORIGIN = re.compile(r"\*|null|[a-z][a-z0-9+.-]*://[^/?#@\s]+")

_URL = re.compile(r"https?://[^/\s]+")


def port_or_off(text: str) -> int | None:
    """Return a port's number, None for `off`."""
    return None if text == OFF else int(text)


def folder_or_off(text: str) -> Path | None:
    """Return a folder's path, None for `off`."""
    return None if text == OFF else Path(text)


def repository_place(text: str | Path) -> Path | str:
    """Return a repository's path, or the text of a URL."""
    return text if isinstance(text, str) and "://" in text else Path(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConfig:
    """Everything a server needs to know; a constructed one is valid (else ConfigurationError)."""

    #: A folder or file of this machine, or a URL.
    repository: Path | str
    host: str = single("127.0.0.1", "address to listen on", convert=str, metavar="ADDRESS")
    grpc_port: int = number(
        8001, "port for gRPC; 0 takes any free one", low=0, high=65535, metavar="PORT"
    )
    http_port: int | None = single(
        8000,
        "port for REST; 0 takes any free one, `off` none",
        convert=port_or_off,
        metavar="PORT",
        low=0,
        high=65535,
        or_off=True,
    )
    metrics_port: int | None = single(
        8002,
        "port for Prometheus metrics; 0 takes any free one, `off` none",
        convert=port_or_off,
        metavar="PORT",
        low=0,
        high=65535,
        or_off=True,
    )
    provider: str = choice(
        "auto",
        "execution provider for every model; `auto` takes the best one that works",
        ("auto", *PROVIDERS),
    )
    threads: int = number(
        0,
        "threads for computing; 0 takes as many as the cgroup and CPU affinity allow",
        low=0,
        high=4096,
    )
    workers: int = number(
        1,
        "worker processes on the gRPC port; each holds every model in its own memory, and they share "
        "--threads. Use one per CPU for models so small that a request costs more Python than compute",
        low=1,
        high=256,
    )
    transport: str = choice(
        "fast",
        "how gRPC is served: `fast` drives grpcio's C core, `public` is grpcio's own server",
        TRANSPORTS,
    )
    max_message_bytes: int = number(
        MAX_MESSAGE_BYTES,
        "largest gRPC message, and largest single HTTP body, that is received, in bytes",
        low=1024,
        high=MAX_MESSAGE_BYTES,
        unit="bytes",
    )
    max_http_bytes_in_flight: int = number(
        MAX_HTTP_BYTES,
        "memory that the bodies of all HTTP requests under way may take together, in bytes; requests "
        "beyond it are answered 503",
        low=1024,
        high=1 << 50,
        unit="bytes",
    )
    max_decoded_bytes: int = number(
        MAX_DECODED_BYTES,
        "estimated memory, in bytes, that gRPC requests under way may take together for fields that grow "
        "when they are decoded, such as strings and typed numbers; raw numbers take none",
        low=1 << 20,
        high=1 << 50,
        unit="bytes",
    )
    max_connections: int = number(
        4096,
        "connections on each port at once; beyond them the one whose caller has been silent longest is "
        "closed",
        low=1,
        high=1 << 20,
    )
    max_connections_per_peer: int = number(
        1024,
        "connections of one address (IPv6: of one /64 network) on each port at once; raise it behind a "
        "proxy that opens more",
        low=1,
        high=1 << 20,
    )
    max_requests_per_caller: int = number(
        0,
        "inference requests that one caller may have under way, on all ports together; more are answered "
        "RESOURCE_EXHAUSTED (429). A caller is a token, or without --token-file an address (IPv6: a /64 "
        "network). 0 is no limit. Each worker process counts for itself",
        low=0,
        high=1 << 31,
    )
    max_requests_per_second_per_caller: float = number(
        0.0,
        "inference requests that one caller may send a second; a second's worth may come at once. More are "
        "answered RESOURCE_EXHAUSTED (429), with when to try again. 0 is no limit",
        low=0,
        high=1e9,
    )
    cache_config: tuple[str, ...] = several(
        "response cache of this size in bytes, local,size=BYTES, for models whose config.pbtxt has "
        "`response_cache { enable: true }`; the least recently used answers make room",
        metavar="CACHE,SETTING=VALUE",
    )
    response_cache_byte_size: int = number(
        0,
        "Triton's older name of --cache-config local,size=BYTES",
        low=0,
        high=1 << 50,
        unit="bytes",
    )
    rate_limit: str = choice(
        OFF,
        "`off` runs every instance at once; `execution_count` makes an instance with a `rate_limiter` in "
        "config.pbtxt wait for its turn and its resources",
        RATE_LIMITS,
    )
    rate_limit_resource: tuple[str, ...] = several(
        "how many there are of a resource, on every device or on one: NAME:COUNT or NAME:COUNT:DEVICE; "
        "may be repeated; without it, as many as the instance with the largest need takes",
        metavar="NAME:COUNT[:DEVICE]",
    )
    max_queue_size: int = number(
        4096,
        "requests that may wait for a model whose config.pbtxt gives no max_queue_size; more are "
        "answered UNAVAILABLE (503). 0 is no limit, Triton's default",
        low=0,
        high=1 << 31,
    )
    http_max_input_size: int = number(
        HTTP_MAX_INPUT_SIZE,
        "largest JSON of an HTTP request, and largest HTTP body once decompressed, in bytes",
        low=1024,
        high=MAX_MESSAGE_BYTES,
        unit="bytes",
    )
    tls_certificate: Path | None = path("use TLS on every port, with this certificate chain (PEM)")
    tls_key: Path | None = path("the certificate's private key (PEM)")
    tls_client_ca: Path | None = path(
        "accept only clients whose certificate one of these authorities signed (PEM)"
    )
    token_file: Path | None = path(
        "accept only calls with a bearer token of this file, which gives each token its rights, on every "
        "port; health checks need none"
    )
    http_cors_origin: tuple[str, ...] = several(
        "origin whose pages may send requests from a browser, such as https://example.org, or `*` for any; "
        "may be repeated; without it browsers block pages of other origins",
        metavar="ORIGIN",
    )
    grpc_web: bool = switch(
        "answer gRPC-Web on the HTTP port: the services of the gRPC port, for pages in browsers; those of "
        "other origins need --http-cors-origin too"
    )
    model_control_mode: str = choice(
        "none",
        "what may change the models while the server runs: nothing (none), changes of the repository "
        "(poll), or load and unload requests (explicit)",
        CONTROL_MODES,
    )
    load_model: tuple[str, ...] = several(
        "model to load at the start, `*` for all; may be repeated; only with "
        "--model-control-mode explicit, which loads no other",
        metavar="NAME",
    )
    repository_poll_secs: float = number(
        15.0,
        "seconds between two scans of --model-control-mode poll; a change is loaded once two scans in "
        "a row see the same",
        low=0.01,
        high=86400,
        unit="seconds",
    )
    repository_cache: Path | None = path(
        "folder that keeps what was read of a repository in an object store; several servers may share it. "
        "Where none is given: layer-zoo/repositories in $XDG_CACHE_HOME or ~/.cache",
        metavar="DIR",
    )
    repository_cache_bytes: int = number(
        20 * 2**30,
        "largest size of --repository-cache, in bytes; the least recently used versions that no server "
        "has loaded make room",
        low=1,
        high=1 << 50,
        unit="bytes",
    )
    model_name: str | None = single(
        None, "serve the one model in --model-dir, by this name", convert=str, metavar="NAME"
    )
    model_dir: Path | None = path(
        "folder of the one model that --model-name names, in place of a repository; it holds "
        "model.onnx, 1/model.onnx, or a model's whole folder",
        metavar="DIR",
    )
    model_load_thread_count: int = number(
        4, "models that are loaded at the same time", low=1, high=256
    )
    model_load_timeout: float = number(
        600.0,
        "seconds that loading one version may take, warm-up included; one that takes longer is not "
        "served",
        low=0.1,
        high=86400,
        unit="seconds",
    )
    startup_wait: float = number(
        30.0,
        "seconds that the server waits for models to load before it answers requests; it reports ready "
        "only once all are loaded",
        low=0,
        high=86400,
        unit="seconds",
    )
    model_memory: int = number(
        0,
        "load a model when it is first asked for, and unload the least recently used ones beyond this many "
        "bytes; 0 loads all at the start",
        low=0,
        high=1 << 50,
        unit="bytes",
    )
    keep_alive: float = number(
        0.0,
        "load a model when it is first asked for, and unload one that nobody has asked for in this many "
        "seconds; 0 never unloads",
        low=0,
        high=86400 * 365,
        unit="seconds",
    )
    follow_links: bool = switch(
        "read model files through links that lead out of the repository; only where everybody who can write "
        "to it is trusted"
    )
    allow_shared_memory: bool = switch(
        "let callers on this machine pass inputs and outputs in shared memory; only for trusted callers"
    )
    drain_seconds: float = number(
        30.0,
        "seconds that requests under way have to finish after SIGTERM",
        low=0,
        high=86400,
        unit="seconds",
    )
    site: Path | None = single(
        Path("site"),
        "folder of the gallery that `zoo site` builds, shown at / of the HTTP port once it exists; `off` "
        "shows none",
        convert=folder_or_off,
        metavar="DIR",
    )
    server_name: str = single(
        "layer-zoo",
        "name in the server's metadata; some clients want `triton`",
        convert=str,
        metavar="NAME",
    )
    self_test: bool = switch(
        "run each model on the test vectors in its folder while it is loaded, and serve it only if the "
        "outputs are right"
    )
    log_level: str = choice("info", "least severe level that is logged", LOG_LEVELS)
    log_format: str = choice(
        "text", "format of the log: plain text, or one JSON object a line", LOG_FORMATS
    )
    access_log: bool = switch(
        "log each request, at level info: id, model, version, batch, times in the queue and in the run"
    )
    otel_endpoint: str | None = single(
        None,
        "send each request as OpenTelemetry spans to this address by OTLP over HTTP, such as "
        "http://127.0.0.1:4318/v1/traces; needs the extra `otel`",
        convert=str,
        metavar="URL",
    )

    def __post_init__(self) -> None:
        options.check(self)
        self._check_ports()
        self._check_models()
        self._check_resources()

    def _check_ports(self) -> None:
        if not self.host:
            raise ConfigurationError("--host is empty: give an address such as 127.0.0.1")
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ConfigurationError(
                "--tls-certificate and --tls-key go together: one of them is missing"
            )
        if self.tls_client_ca is not None and self.tls_certificate is None:
            raise ConfigurationError(
                "--tls-client-ca needs --tls-certificate and --tls-key: without TLS no client can "
                "show a certificate"
            )
        if self.grpc_web and self.http_port is None:
            raise ConfigurationError("--grpc-web needs an --http-port, which is off")
        for origin in self.http_cors_origin:
            if not _ORIGIN.fullmatch(origin):
                raise ConfigurationError(
                    f"--http-cors-origin {origin!r} is no origin: write https://example.org, with a "
                    "port if it is not the scheme's own and nothing behind it, or *"
                )
        if self.otel_endpoint is not None and not _URL.match(self.otel_endpoint):
            raise ConfigurationError(
                f"--otel-endpoint {self.otel_endpoint!r} is no URL: write one such as "
                "http://127.0.0.1:4318/v1/traces"
            )

    def _check_models(self) -> None:
        if (self.model_name is None) != (self.model_dir is None):
            raise ConfigurationError(
                "--model-name and --model-dir go together: one of them is missing"
            )
        if self.load_model and self.model_control_mode != "explicit":
            raise ConfigurationError(
                f"--load-model {self.load_model[0]!r} needs --model-control-mode explicit; "
                f"{self.model_control_mode!r} loads every model"
            )
        if self.is_lazy and self.workers > 1:
            raise ConfigurationError(
                "--model-memory and --keep-alive need --workers 1: each worker would load the same "
                "models"
            )

    def _check_resources(self) -> None:
        """Check the response cache's options, and the rate limiter's."""
        if self.cache_config and self.response_cache_byte_size:
            raise ConfigurationError(
                "--response-cache-byte-size and --cache-config are incompatible flags: give the latter"
            )
        cache_bytes(self.cache_config)
        if resource_counts(self.rate_limit_resource) and self.rate_limit == OFF:
            raise ConfigurationError("--rate-limit-resource needs --rate-limit execution_count")
        if self.rate_limit != OFF and self.workers > 1:
            raise ConfigurationError(
                "--rate-limit needs --workers 1: each worker would have the resources for itself"
            )

    @property
    def response_cache_bytes(self) -> int:
        """What the response cache may take, in all processes together; 0 where there is none."""
        return cache_bytes(self.cache_config) or self.response_cache_byte_size

    @property
    def is_lazy(self) -> bool:
        """Whether models are loaded when they are asked for."""
        return bool(self.model_memory or self.keep_alive)

    @classmethod
    def add_arguments(
        cls, parser: argparse.ArgumentParser, environ: Mapping[str, str] | None = None
    ) -> None:
        """Add one flag per option; a set environment variable replaces the default.

        ConfigurationError for a variable that is no value.
        """
        options.add_arguments(parser, cls, environ)

    @classmethod
    def from_arguments(cls, namespace: argparse.Namespace) -> Self:
        """Build from parsed arguments; `repository` is the positional that the command adds."""
        return cls(
            repository=repository_place(namespace.repository), **options.values_of(namespace, cls)
        )
