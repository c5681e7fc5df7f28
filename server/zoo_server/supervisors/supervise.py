"""Runs `zoo serve --workers N`: binds every port, then starts the supervisor."""

import asyncio
import logging
import tempfile
from contextlib import ExitStack
from dataclasses import replace

from zoo_server.config import ServerConfig
from zoo_server.errors import OperatorError
from zoo_server.protocols.ports import hold, listen
from zoo_server.supervisors.supervisor import BAD_USAGE, Supervisor

_LOG = logging.getLogger(__name__)


def supervise(config: ServerConfig) -> int:
    """Serve with several workers until a signal comes; return the process's exit status."""
    try:
        with ExitStack() as stack:
            placeholder = stack.enter_context(hold(config.host, config.grpc_port))
            config = replace(config, grpc_port=placeholder.getsockname()[1])
            listeners = {}
            for name, field, flag in (
                ("HTTP", "http_port", "--http-port"),
                ("metrics", "metrics_port", "--metrics-port"),
            ):
                port = getattr(config, field)
                if port is not None:
                    listener = stack.enter_context(listen(config.host, port, flag))
                    config = replace(config, **{field: listener.getsockname()[1]})
                    listeners[name] = listener
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="layer-zoo-"))
            return asyncio.run(Supervisor(config, listeners, folder).run())
    except OperatorError as error:
        _LOG.error("%s", error)
        return BAD_USAGE
