"""The options of the server: one table, from which flags, environment names and help derive.

The table is the fields of ServerConfig. Each says its default, its help, how text becomes its value
and what it must satisfy; `--drain-seconds` and ZOO_DRAIN_SECONDS are spelled from `drain_seconds`.
"""

import argparse
import os
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any, Self

from server.errors import ConfigurationError

ENVIRONMENT_PREFIX = "ZOO_"

#: Names for --provider besides `auto`; server/runtime/providers.py maps them to onnxruntime's.
PROVIDERS = (
    "cpu", "cuda", "tensorrt", "openvino", "rocm", "migraphx", "coreml", "dml", "qnn", "xnnpack",
)  # fmt: skip

TRANSPORTS = ("fast", "public")

LOG_LEVELS = ("debug", "info", "warning", "error")

#: gRPC carries message lengths in signed 32 bits; tritonclient sends up to this (protocol.md 2.4).
MAX_MESSAGE_BYTES = 2**31 - 1


def _option(
    default: Any,
    text: str,
    *,
    convert: Callable[[str], Any] = str,
    metavar: str | None = None,
    choices: tuple[str, ...] | None = None,
    low: float | None = None,
    high: float | None = None,
) -> Any:
    """One row of the table."""
    return field(
        default=default,
        metadata={
            "help": text,
            "convert": convert,
            "metavar": metavar,
            "choices": choices,
            "low": low,
            "high": high,
        },
    )


def _switch(text: str) -> bool:
    """Read an environment variable that stands for a flag without a value."""
    known = {"1": True, "true": True, "on": True, "0": False, "false": False, "off": False}
    try:
        return known[text.lower()]
    except KeyError:
        raise ValueError(text) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConfig:
    """Everything a server needs to know; a constructed one is valid (else ConfigurationError)."""

    repository: Path
    host: str = _option("127.0.0.1", "address to listen on", metavar="ADDRESS")
    grpc_port: int = _option(
        8001, "port for gRPC; 0 takes any free one", convert=int, metavar="PORT", low=0, high=65535
    )
    # Accepted from the start so that command lines keep working; nothing listens on them yet.
    http_port: int = _option(
        8000, argparse.SUPPRESS, convert=int, metavar="PORT", low=0, high=65535
    )
    metrics_port: int = _option(
        8002, argparse.SUPPRESS, convert=int, metavar="PORT", low=0, high=65535
    )
    provider: str = _option(
        "auto",
        "execution provider for every model; `auto` takes the best one that really works",
        choices=("auto", *PROVIDERS),
    )
    threads: int = _option(
        0,
        "threads a model may compute with; 0 counts the CPUs that the cgroup and affinity allow",
        convert=int,
        metavar="N",
        low=0,
        high=4096,
    )
    transport: str = _option(
        "fast",
        "how gRPC is served: `fast` drives grpcio's C core, `public` is grpcio's own server",
        choices=TRANSPORTS,
    )
    max_message_bytes: int = _option(
        MAX_MESSAGE_BYTES,
        "largest gRPC message received or sent",
        convert=int,
        metavar="N",
        low=1024,
        high=MAX_MESSAGE_BYTES,
    )
    drain_seconds: float = _option(
        30.0,
        "how long requests under way may take to finish after SIGTERM",
        convert=float,
        metavar="S",
        low=0,
        high=86400,
    )
    server_name: str = _option(
        "layer-zoo", "name in the server's metadata; some clients want `triton`", metavar="NAME"
    )
    self_test: bool = _option(
        False,
        "answer the test vectors beside each model while loading it, and serve it only if the "
        "answers are right",
        convert=_switch,
    )
    log_level: str = _option("info", "how much to log", choices=LOG_LEVELS)

    def __post_init__(self) -> None:
        for row in _rows():
            _check(row, getattr(self, row.name))
        if not self.host:
            raise ConfigurationError("--host is empty: give an address such as 127.0.0.1")

    @classmethod
    def from_arguments(cls, namespace: argparse.Namespace) -> Self:
        """Build from parsed arguments; `repository` is the positional that the command adds."""
        values = {row.name: getattr(namespace, row.name) for row in _rows()}
        return cls(repository=Path(namespace.repository), **values)


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
            shown = "off" if row.default is False else row.default
            text = f"{text} (default: {shown}; environment: {variable})"
        default = _from_environment(row, variable, known)
        if isinstance(row.default, bool):
            parser.add_argument(flag(row.name), action="store_true", default=default, help=text)
            continue
        parser.add_argument(
            flag(row.name),
            type=meta["convert"],
            choices=meta["choices"],
            metavar=meta["metavar"],
            default=default,
            help=text,
        )


def flag(name: str) -> str:
    """Return the command-line spelling of an option."""
    return "--" + name.replace("_", "-")


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
    if low is not None and not low <= value <= high:
        raise ConfigurationError(f"{flag(row.name)} is {value}; it must lie in {low} to {high}")
