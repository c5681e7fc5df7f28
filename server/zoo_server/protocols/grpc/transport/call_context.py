"""What handlers written for grpcio's own server see of a call on the C core (grpc.ServicerContext)."""

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import grpc

from zoo_server.protocols.grpc.transport import core
from zoo_server.protocols.grpc.transport.fast_calls import RawCall, UnaryCall

_LOG = logging.getLogger(__name__)


class Aborted(Exception):
    """Raised by CallContext.abort: the status is in the context."""


class CallerGone(grpc.RpcError):
    """Raised for a handler that asks for the next request of a caller who hung up."""


class CallContext(grpc.ServicerContext):
    """What a handler sees of its call, as of grpcio's own server's."""

    def __init__(self, call: RawCall, event: core.Event) -> None:
        self._raw = call
        self._event = event
        self._code: grpc.StatusCode | None = None
        self._details = b""
        self._callbacks: list[Callable[[], None]] | None = []
        self.message_flags = core.NO_FLAGS
        call.on_over = self.ended

    # -- what the handler asks -----------------------------------------------------------------

    def is_active(self) -> bool:
        return not self._raw.is_cancelled and not self._raw.has_ended

    def time_remaining(self) -> float:
        deadline: float = self._event.call_details.deadline
        return max(deadline - time.time(), 0.0)

    def cancel(self) -> bool:
        self._event.call.cancel()
        return True

    def add_callback(self, callback: Callable[[], None]) -> bool:
        if self._callbacks is None:
            return False
        self._callbacks.append(callback)
        return True

    def invocation_metadata(self) -> core.Metadata:
        return self._event.invocation_metadata

    def peer(self) -> str:
        peer: bytes = self._event.call.peer()
        return peer.decode()

    def peer_identities(self) -> Sequence[bytes] | None:
        identities: Sequence[bytes] | None = core.peer_identities(self._event.call)
        return identities

    def peer_identity_key(self) -> str | None:
        key = core.peer_identity_key(self._event.call)
        return None if key is None else key.decode()

    def auth_context(self) -> dict[str, Any]:
        known = core.auth_context(self._event.call) or {}
        return {key.decode(): value for key, value in known.items()}

    # -- what the handler says -----------------------------------------------------------------

    def set_compression(self, compression: grpc.Compression) -> None:
        pair = (core.COMPRESSION_KEY, compression.name.lower().replace("nocompression", "identity"))
        self._raw.initial_metadata = (*(self._raw.initial_metadata or ()), pair)

    def disable_next_message_compression(self) -> None:
        self.message_flags = core.NO_COMPRESS

    def send_initial_metadata(self, initial_metadata: core.Metadata) -> None:
        self._raw.send_initial_metadata(initial_metadata)

    def set_trailing_metadata(self, trailing_metadata: core.Metadata) -> None:
        self._raw.trailing_metadata = trailing_metadata

    def trailing_metadata(self) -> Any:
        return self._raw.trailing_metadata

    def set_code(self, code: grpc.StatusCode) -> None:
        self._code = code

    def code(self) -> grpc.StatusCode | None:
        return self._code

    def set_details(self, details: str) -> None:
        self._details = details.encode()

    def details(self) -> bytes:
        return self._details

    def abort(self, code: grpc.StatusCode, details: str) -> NoReturn:
        if code == grpc.StatusCode.OK:
            code, details = grpc.StatusCode.UNKNOWN, ""
        self._code, self._details = code, details.encode()
        raise Aborted

    def abort_with_status(self, status: grpc.Status) -> NoReturn:
        self._raw.trailing_metadata = status.trailing_metadata
        self.abort(status.code, status.details)

    # -- the end -------------------------------------------------------------------------------

    def status(self) -> tuple[grpc.StatusCode | None, bytes]:
        """Return the status that the handler has set, None for OK."""
        code = None if self._code is grpc.StatusCode.OK else self._code
        return code, self._details

    def failure(self, error: Exception) -> tuple[grpc.StatusCode, bytes]:
        """Return the status of a handler that raised: its own if it aborted, else UNKNOWN."""
        if isinstance(error, Aborted):
            return self._code or grpc.StatusCode.UNKNOWN, self._details
        if isinstance(error, CallerGone):
            return grpc.StatusCode.CANCELLED, b""
        _LOG.error("a handler raised", exc_info=error)
        return grpc.StatusCode.UNKNOWN, f"Exception calling application: {error}".encode()

    def ended(self) -> None:
        """Run the callbacks of the call's end, once."""
        callbacks, self._callbacks = self._callbacks, None
        for callback in callbacks or ():
            callback()


def run_unary(call: UnaryCall, handler: core.Handler) -> None:
    """Answer a call by a handler that was written for the public server."""
    context = CallContext(call, call.event)
    assert handler.unary_unary is not None
    try:
        request = _apply(handler.request_deserializer, call.message)
        response = handler.unary_unary(request, context)
        code, details = context.status()
        if code is not None:
            call.end(code, details)
            return
        answer = _apply(handler.response_serializer, response)
    except Exception as error:
        call.end(*context.failure(error))
        return
    core.prepare_copy(answer)
    call.end(None, details, core.SendMessage(answer, context.message_flags))


def _apply(function: Callable[[Any], Any] | None, value: Any) -> Any:
    return value if function is None else function(value)
