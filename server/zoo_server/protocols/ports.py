"""Ports taken with plain sockets: before anything is loaded, or for other processes to use.

listen   takes a port of HTTP: connections wait in it until somebody answers
hold     takes the port of gRPC for several processes, which bind it beside each other
"""

import socket

from zoo_server.errors import AddressError
from zoo_server.protocols.grpc.transport.public import (
    TransportOptions,
    cause_of,
    join_address,
    probe,
    refusal,
)

#: Connections that may wait to be taken.
_BACKLOG = 1024


def listen(host: str, port: int, flag: str) -> socket.socket:
    """Return a listening socket; connections wait in it until the server runs.

    AddressError says why that fails, and that `flag` sets the port.
    """
    place = join_address(host, port)
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror:
        raise AddressError(f"cannot listen on {place}: the host name cannot be resolved") from None
    taken = socket.socket(family, kind, protocol)
    try:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        taken.bind(address)
        taken.listen(_BACKLOG)
    except OSError as error:
        taken.close()
        raise AddressError(f"cannot listen on {place}: {cause_of(error, flag)}") from None
    return taken


def hold(host: str, port: int) -> socket.socket:
    """Return a socket that takes a port, 0 any free one, for processes that share it.

    It takes no connections. Whoever shares the port must be of the same user and say so; for all
    others it is in use for as long as the socket is open. AddressError says why that fails.
    """
    probe(host, port)
    options = TransportOptions(host=host, port=port, max_message_bytes=0, handler_threads=0)
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    held = socket.socket(family, kind, protocol)
    try:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind(address)
        # It has served for connections that are only cooling down, and would let others in.
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    except OSError as error:
        held.close()
        raise refusal(options, cause_of(error)) from None
    return held
