"""What `zoo serve --workers N` runs: takes every port, then has the supervisor fill it with workers."""

import asyncio
import logging
import socket
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace

from zoo_server.config import ServerConfig
from zoo_server.errors import OperatorError
from zoo_server.protocols.ports import hold, listen
from zoo_server.supervisors.supervisor import BAD_USAGE, Supervisor

_LOG = logging.getLogger(__name__)


def supervise(config: ServerConfig) -> int:
    """Serve with several workers; return the process's exit status."""
    try:
        return _supervise(config)
    except OperatorError as error:
        _LOG.error("%s", error)
        return BAD_USAGE


def _supervise(config: ServerConfig) -> int:
    """Take every port and serve; AddressError if one cannot be taken."""
    held = hold(config.host, config.grpc_port)
    listeners: dict[str, socket.socket] = {}
    with ExitStack() as stack:
        stack.enter_context(held)
        for name, port, flag in (
            ("HTTP", config.http_port, "--http-port"),
            ("metrics", config.metrics_port, "--metrics-port"),
        ):
            if port is not None:
                listeners[name] = stack.enter_context(listen(config.host, port, flag))
        ports = {name: taken.getsockname()[1] for name, taken in listeners.items()}
        taken = replace(
            config,
            grpc_port=held.getsockname()[1],
            http_port=ports.get("HTTP"),
            metrics_port=ports.get("metrics"),
        )
        return asyncio.run(_run(taken, listeners))


async def _run(config: ServerConfig, listeners: Mapping[str, socket.socket]) -> int:
    return await Supervisor(config, listeners).run()
