"""Ports and addresses: binds them with plain sockets, before anything is loaded or for other processes.

listen   binds an HTTP port: connections wait until the server accepts them
hold     binds the gRPC port for several processes, which share it with SO_REUSEPORT
probe    says why a port cannot be bound, where gRPC gives no reason
peer_of  says whose connection it is, where those of one peer are bounded; peer_of_call whose call
"""

import errno
import ipaddress
import socket
from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote

from zoo_server.errors import AddressError

#: Connections that may wait to be taken.
_BACKLOG = 4096


def listen(host: str, port: int, flag: str) -> socket.socket:
    """Return a listening socket; connections wait in it until the server runs.

    AddressError says why that fails, and that `flag` sets the port.
    """
    listener, address = _unbound(host, port)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise address_error(host, port, cause_of(error, flag)) from None
    return listener


def hold(host: str, port: int) -> socket.socket:
    """Return a socket that takes a port, 0 any free one, for processes that share it.

    It takes no connections. Processes of the same user can share the port by SO_REUSEPORT; for all others
    it is in use while the socket is open. Raises AddressError with the reason.
    """
    probe(host, port)
    placeholder, address = _unbound(host, port)
    try:
        placeholder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        placeholder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        placeholder.bind(address)
        # Needed for connections in TIME_WAIT only; left on, it would let other programs bind the port.
        placeholder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    except OSError as error:
        placeholder.close()
        raise address_error(host, port, cause_of(error)) from None
    return placeholder


def probe(host: str, port: int) -> None:
    """Try the address with a plain socket first: grpcio's own error does not say what is wrong."""
    probe, address = _unbound(host, port)
    with probe:
        # A port whose last connections are only cooling down is free, as it is for grpcio.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
            probe.listen(1)
        except OSError as error:
            raise address_error(host, port, cause_of(error)) from None


def _unbound(host: str, port: int) -> tuple[socket.socket, Any]:
    """Return a socket, and the address to bind it to; AddressError for a host that has none."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror:
        raise address_error(host, port, "the host name cannot be resolved") from None
    return socket.socket(family, kind, protocol), address


def cause_of(error: OSError, flag: str = "--grpc-port") -> str:
    """Say why an address cannot be bound, and what to do; `flag` is the option for its port."""
    if error.errno == errno.EADDRINUSE:
        return f"the port is in use; stop what uses it or choose another with {flag}"
    if error.errno == errno.EACCES:
        return f"ports below 1024 need privileges; choose another with {flag}"
    if error.errno == errno.EADDRNOTAVAIL:
        return "this machine has no such address; choose another with --host"
    return str(error.strerror)


def address_error(host: str, port: int, cause: str) -> AddressError:
    """Return the error that says why an address cannot be listened on."""
    return AddressError(f"cannot listen on {join_address(host, port)}: {cause}")


def join_address(host: str, port: int) -> str:
    """Return HOST:PORT, with brackets where the host is an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def peer_of_call(peer: str) -> str:
    """Return the same from what grpcio says: ipv4:1.2.3.4:5678, or ipv6:%5B::1%5D:5678."""
    kind, _, address = unquote(peer).partition(":")
    if kind not in ("ipv4", "ipv6"):
        return unquote(peer)
    return peer_of((address.rpartition(":")[0].strip("[]"),))


def peer_of(address: Sequence[object]) -> str:
    """Return whose connection comes from a socket address: an IPv4 address, or an IPv6 /64 network."""
    host = str(address[0])
    if ":" not in host:
        return host
    whole = ipaddress.IPv6Address(host.partition("%")[0])
    if whole.ipv4_mapped is not None:
        return str(whole.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(whole) >> 64 << 64, 64)))
