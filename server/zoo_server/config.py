"""The server's options: one table, from which flags, environment variables and help are derived.

The table is the fields of ServerConfig. Each says its default, its help, how text becomes its value
and what it must satisfy; `--drain-seconds` and ZOO_DRAIN_SECONDS are spelled from `drain_seconds`.
"""

import argparse
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any, Self

from zoo_server.errors import ConfigurationError
from zoo_server.triton_options import cache_bytes, resource_counts

ENVIRONMENT_PREFIX = "ZOO_"

#: Names for --provider besides `auto`; server/zoo_server/backends/onnxruntime/providers.py maps them to onnxruntime's.
PROVIDERS = (
    "cpu", "cuda", "tensorrt", "openvino", "rocm", "migraphx", "coreml", "dml", "qnn", "xnnpack",
    "webgpu",
)  # fmt: skip

TRANSPORTS = ("fast", "public")

#: Names for --model-control-mode; server/zoo_server/models/control.py gives them their meaning.
CONTROL_MODES = ("none", "poll", "explicit")

#: The value of an option that leaves something out.
OFF = "off"

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


def _switch(text: str) -> bool:
    """Return what an environment variable of a switch says; ValueError if it is neither."""
    known = {
        "1": True,
        "true": True,
        "yes": True,
        "0": False,
        "false": False,
        "no": False,
        "": False,
    }
    try:
        return known[text.strip().lower()]
    except KeyError:
        raise ValueError(f"{text!r} is neither 1 nor 0") from None


def _list(text: str) -> tuple[str, ...]:
    """Return what an environment variable of a list says: parts between commas."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


class _Collect(argparse.Action):
    """Gathers a repeated flag's values; the first one replaces what the environment says."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        held = getattr(namespace, self.dest)
        setattr(namespace, self.dest, [*held, values] if isinstance(held, list) else [values])


#: Kinds of options that are not one value of a type: the parser of an environment variable,
#: and the arguments for argparse.
_KINDS: dict[str, tuple[Callable[[str], Any], dict[str, Any]]] = {
    "switch": (_switch, {"action": argparse.BooleanOptionalAction}),
    "list": (_list, {"action": _Collect}),
}


def _option(
    default: Any,
    text: str,
    *,
    convert: Callable[[str], Any] = str,
    metavar: str | None = None,
    choices: tuple[str, ...] | None = None,
    low: float | None = None,
    high: float | None = None,
    kind: str | None = None,
) -> Any:
    """One row of the table; `kind` is one of _KINDS, None for one value of a type."""
    return field(
        default=default,
        metadata={
            "help": text,
            "convert": convert if kind is None else _KINDS[kind][0],
            "kind": kind,
            "metavar": metavar,
            "choices": choices,
            "low": low,
            "high": high,
        },
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConfig:
    """Everything a server needs to know; a constructed one is valid (else ConfigurationError)."""

    #: A folder or file of this machine, or a URL.
    repository: Path | str
    host: str = _option("127.0.0.1", "address to listen on", metavar="ADDRESS")
    grpc_port: int = _option(
        8001, "port for gRPC; 0 takes any free one", convert=int, metavar="PORT", low=0, high=65535
    )
    http_port: int | None = _option(
        8000,
        "port for REST; 0 takes any free one, `off` none",
        convert=port_or_off,
        metavar="PORT",
        low=0,
        high=65535,
    )
    metrics_port: int | None = _option(
        8002,
        "port for Prometheus metrics; 0 takes any free one, `off` none",
        convert=port_or_off,
        metavar="PORT",
        low=0,
        high=65535,
    )
    provider: str = _option(
        "auto",
        "execution provider for every model; `auto` takes the best one that works",
        choices=("auto", *PROVIDERS),
    )
    threads: int = _option(
        0,
        "threads for computing; 0 takes as many as the cgroup and CPU affinity allow",
        convert=int,
        metavar="N",
        low=0,
        high=4096,
    )
    workers: int = _option(
        1,
        "worker processes on the gRPC port; each holds every model in its own memory, and they share "
        "--threads. Use one per CPU for models so small that a request costs more Python than compute",
        convert=int,
        metavar="N",
        low=1,
        high=256,
    )
    transport: str = _option(
        "fast",
        "how gRPC is served: `fast` drives grpcio's C core, `public` is grpcio's own server",
        choices=TRANSPORTS,
    )
    max_message_bytes: int = _option(
        MAX_MESSAGE_BYTES,
        "largest gRPC message, and largest single HTTP body, received, in bytes",
        convert=int,
        metavar="N",
        low=1024,
        high=MAX_MESSAGE_BYTES,
    )
    max_http_bytes_in_flight: int = _option(
        MAX_HTTP_BYTES,
        "memory that the bodies of all HTTP requests under way may take together, in bytes; requests "
        "beyond it are answered 503",
        convert=int,
        metavar="N",
        low=1024,
        high=1 << 50,
    )
    max_decoded_bytes: int = _option(
        MAX_DECODED_BYTES,
        "memory that gRPC requests under way may take together for strings, typed numbers and other "
        "fields that grow when they are decoded, estimated, in bytes; raw numbers take none",
        convert=int,
        metavar="N",
        low=1 << 20,
        high=1 << 50,
    )
    max_connections: int = _option(
        4096,
        "connections on each port at once; the one that has kept the server waiting longest "
        "makes room for another",
        convert=int,
        metavar="N",
        low=1,
        high=1 << 20,
    )
    max_connections_per_peer: int = _option(
        1024,
        "connections of one address (IPv6: of one /64 network) at once; raise it behind a proxy "
        "that opens more",
        convert=int,
        metavar="N",
        low=1,
        high=1 << 20,
    )
    cache_config: tuple[str, ...] = _option(
        (),
        "keep the answers of models with `response_cache { enable: true }` in so many bytes of memory, "
        "the most recently used: local,size=BYTES",
        metavar="CACHE,SETTING=VALUE",
        kind="list",
    )
    response_cache_byte_size: int = _option(
        0,
        "deprecated: --cache-config local,size=BYTES",
        convert=int,
        metavar="BYTES",
        low=0,
        high=1 << 50,
    )
    rate_limit: str = _option(
        OFF,
        "let instances run whose `rate_limiter` in config.pbtxt names resources and a priority once it "
        "is their turn and the resources are free (execution_count), or each at once",
        choices=RATE_LIMITS,
    )
    rate_limit_resource: tuple[str, ...] = _option(
        (),
        "how many there are of a resource, on every device or on one: NAME:COUNT or NAME:COUNT:DEVICE; "
        "may be repeated; without it there are as many as an instance needs at most",
        metavar="NAME:COUNT[:DEVICE]",
        kind="list",
    )
    max_queue_size: int = _option(
        4096,
        "requests that may wait for a model whose config.pbtxt gives no max_queue_size; more are "
        "answered UNAVAILABLE (503). 0 is Triton's default, any number",
        convert=int,
        metavar="N",
        low=0,
        high=1 << 31,
    )
    http_max_input_size: int = _option(
        HTTP_MAX_INPUT_SIZE,
        "largest JSON of an HTTP request, and largest HTTP body once decompressed, in bytes",
        convert=int,
        metavar="N",
        low=1024,
        high=MAX_MESSAGE_BYTES,
    )
    tls_certificate: Path | None = _option(
        None,
        "serve every port over TLS with this certificate chain (PEM)",
        convert=Path,
        metavar="FILE",
    )
    tls_key: Path | None = _option(
        None, "the certificate's private key (PEM)", convert=Path, metavar="FILE"
    )
    tls_client_ca: Path | None = _option(
        None,
        "accept only clients with a certificate signed by one of these (PEM)",
        convert=Path,
        metavar="FILE",
    )
    token_file: Path | None = _option(
        None,
        "accept only calls with a bearer token of this file, each with its rights, on every port; "
        "health needs none",
        convert=Path,
        metavar="FILE",
    )
    http_cors_origin: tuple[str, ...] = _option(
        (),
        "origin whose pages may ask over HTTP from a browser, as https://example.org, `*` for any; may "
        "be repeated; without it browsers let no other origin's pages ask",
        metavar="ORIGIN",
        kind="list",
    )
    model_control_mode: str = _option(
        "none",
        "what may change the models while the server runs: nothing (none), changes of the repository "
        "(poll), or load and unload requests (explicit)",
        choices=CONTROL_MODES,
    )
    load_model: tuple[str, ...] = _option(
        (),
        "model to load at the start, `*` for all; may be repeated; only with "
        "--model-control-mode explicit, which loads no other",
        metavar="NAME",
        kind="list",
    )
    repository_poll_secs: float = _option(
        15.0,
        "seconds between two scans of --model-control-mode poll; a change is loaded once two scans in "
        "a row see the same",
        convert=float,
        metavar="S",
        low=0.01,
        high=86400,
    )
    repository_cache: Path | None = _option(
        None,
        "folder that keeps what was read of a repository in an object store (default: layer-zoo/"
        "repositories in $XDG_CACHE_HOME or ~/.cache); several servers may share it",
        convert=Path,
        metavar="DIR",
    )
    repository_cache_bytes: int = _option(
        20 * 2**30,
        "most that it may hold, in bytes: versions that no server has loaded make room, the least "
        "recently used first",
        convert=int,
        metavar="N",
        low=1,
        high=1 << 50,
    )
    model_name: str | None = _option(
        None, "serve the one model in --model-dir, by this name", metavar="NAME"
    )
    model_dir: Path | None = _option(
        None,
        "folder of the one model that --model-name names, in the place of a repository: model.onnx, "
        "1/model.onnx, or a model's whole folder",
        convert=Path,
        metavar="DIR",
    )
    model_load_thread_count: int = _option(
        4, "models that are loaded at the same time", convert=int, metavar="N", low=1, high=256
    )
    model_load_timeout: float = _option(
        600.0,
        "seconds that loading one version may take, warm-up included; one that takes longer is not "
        "served",
        convert=float,
        metavar="S",
        low=0.1,
        high=86400,
    )
    startup_wait: float = _option(
        30.0,
        "seconds that the server waits at its start for models to load before it answers; it is not "
        "ready until all are loaded",
        convert=float,
        metavar="S",
        low=0,
        high=86400,
    )
    model_memory: int = _option(
        0,
        "load models when they are asked for, and keep so many bytes of them in memory, the most "
        "recently used; 0 loads all at the start",
        convert=int,
        metavar="BYTES",
        low=0,
        high=1 << 50,
    )
    keep_alive: float = _option(
        0.0,
        "load models when they are asked for, and take those out of memory that were not for so many "
        "seconds; 0 keeps them",
        convert=float,
        metavar="S",
        low=0,
        high=86400 * 365,
    )
    follow_links: bool = _option(
        False,
        "read model files through links that lead out of the repository; only where all who write the "
        "repository are trusted",
        kind="switch",
    )
    allow_shared_memory: bool = _option(
        False,
        "let callers on this machine name shared memory objects for inputs and outputs; only for "
        "trusted callers",
        kind="switch",
    )
    drain_seconds: float = _option(
        30.0,
        "seconds that requests under way have to finish after SIGTERM",
        convert=float,
        metavar="S",
        low=0,
        high=86400,
    )
    site: Path | None = _option(
        Path("site"),
        "folder of the gallery, as `zoo site` builds it, shown at / of the HTTP port once it is there; "
        "`off` shows none",
        convert=folder_or_off,
        metavar="DIR",
    )
    server_name: str = _option(
        "layer-zoo", "name in the server's metadata; some clients want `triton`", metavar="NAME"
    )
    self_test: bool = _option(
        False,
        "run each model on its test vectors while loading it, and serve it only if the outputs are "
        "right",
        kind="switch",
    )
    log_level: str = _option("info", "how much to log", choices=LOG_LEVELS)
    log_format: str = _option("text", "how a line of the log is written", choices=LOG_FORMATS)
    access_log: bool = _option(
        False,
        "log each request, at level info: id, model, version, batch, times in the queue and in the run",
        kind="switch",
    )
    otel_endpoint: str | None = _option(
        None,
        "send each request as OpenTelemetry spans to this address by OTLP over HTTP, such as "
        "http://127.0.0.1:4318/v1/traces; needs the extra `otel`",
        metavar="URL",
    )

    def __post_init__(self) -> None:
        for row in _rows():
            _check(row, getattr(self, row.name))
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
        if (self.model_name is None) != (self.model_dir is None):
            raise ConfigurationError(
                "--model-name and --model-dir go together: one of them is missing"
            )
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
        if self.is_lazy and self.workers > 1:
            raise ConfigurationError(
                "--model-memory and --keep-alive need --workers 1: each worker would load the same "
                "models"
            )
        if self.otel_endpoint is not None and not _URL.match(self.otel_endpoint):
            raise ConfigurationError(
                f"--otel-endpoint {self.otel_endpoint!r} is no URL: write one such as "
                "http://127.0.0.1:4318/v1/traces"
            )
        for origin in self.http_cors_origin:
            if not _ORIGIN.fullmatch(origin):
                raise ConfigurationError(
                    f"--http-cors-origin {origin!r} is no origin: write https://example.org, with a "
                    "port if it is not the scheme's own and nothing behind it, or *"
                )
        if self.load_model and self.model_control_mode != "explicit":
            raise ConfigurationError(
                f"--load-model {self.load_model[0]!r} needs --model-control-mode explicit; "
                f"{self.model_control_mode!r} loads every model"
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
    def from_arguments(cls, namespace: argparse.Namespace) -> Self:
        """Build from parsed arguments; `repository` is the positional that the command adds."""
        values = {row.name: getattr(namespace, row.name) for row in _rows()}
        values = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
        return cls(repository=repository_place(namespace.repository), **values)


def add_arguments(
    parser: argparse.ArgumentParser, environ: Mapping[str, str] | None = None
) -> None:
    """Add one flag per row; a set environment variable replaces the default."""
    known = os.environ if environ is None else environ
    for row in _rows():
        meta = row.metadata
        variable = f"{ENVIRONMENT_PREFIX}{row.name.upper()}"
        text = meta["help"]
        if text is not argparse.SUPPRESS:
            text = f"{text} (default: {_shown(row.default)}; environment: {variable})"
        if meta["kind"] is None:
            how = {"type": meta["convert"], "choices": meta["choices"]}
        else:
            how = _KINDS[meta["kind"]][1]
        if meta["metavar"] is not None:
            how = {**how, "metavar": meta["metavar"]}
        default = _from_environment(row, variable, known)
        parser.add_argument(flag(row.name), default=default, help=text, **how)


def flag(name: str) -> str:
    """Return the command-line spelling of an option."""
    return "--" + name.replace("_", "-")


def _shown(default: Any) -> str:
    if default is None:
        return "none"
    if isinstance(default, bool | tuple):
        return "on" if default is True else "off" if default is False else "none"
    return str(default)


def _rows() -> list[Field[Any]]:
    return [row for row in fields(ServerConfig) if row.metadata]


def _from_environment(row: Field[Any], variable: str, environ: Mapping[str, str]) -> Any:
    if variable not in environ:
        return row.default
    try:
        value = row.metadata["convert"](environ[variable])
    except ValueError:
        raise ConfigurationError(
            f"{variable}={environ[variable]!r} is not a value for {flag(row.name)}"
        ) from None
    _check(row, value)
    return value


def _check(row: Field[Any], value: Any) -> None:
    meta = row.metadata
    if meta["choices"] is not None and value not in meta["choices"]:
        raise ConfigurationError(
            f"{flag(row.name)} is {value!r}; choose one of {', '.join(meta['choices'])}"
        )
    low, high = meta["low"], meta["high"]
    if low is not None and value is not None and not low <= value <= high:
        raise ConfigurationError(f"{flag(row.name)} is {value}; it must lie in {low} to {high}")
