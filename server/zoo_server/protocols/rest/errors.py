"""The HTTP status of each gRPC status, and the one writer of {"error": …}.

server/zoo_server/protocols/status.py gives an error its gRPC status; the HTTP status follows from it, as
in Triton (HttpCodeFromError), and is 400 where Triton has none. No framework is imported here.
"""

import json

import grpc

from zoo_server.errors import QuotaExceeded, ServerExiting
from zoo_server.protocols.status import retry_ms_of, status_of

HTTP_STATUS: dict[grpc.StatusCode, int] = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.ALREADY_EXISTS: 400,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.CANCELLED: 400,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 400,
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.INTERNAL: 500,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
}

JSON = "application/json"


def error_body(text: str) -> bytes:
    """Return the body of every answer that is an error."""
    return json.dumps({"error": text}, separators=(",", ":")).encode()


def error_response(error: Exception, method: str) -> tuple[int, bytes, dict[str, str]]:
    """Return what a handler raised as status, body and headers, and log it."""
    code, text = status_of(error, method)
    headers = {"content-type": JSON}
    if code is grpc.StatusCode.UNAUTHENTICATED:
        headers["www-authenticate"] = "Bearer"
    if isinstance(error, ServerExiting):
        headers["connection"] = "close"  # or the next request meets its end
    if retry_ms := retry_ms_of(error):
        headers["retry-after"] = str(-(-retry_ms // 1000))  # which counts in seconds
    status = 429 if isinstance(error, QuotaExceeded) else HTTP_STATUS.get(code, 500)
    return status, error_body(text), headers
