"""Answers of the REST api: JSON, and THE table of HTTP statuses, one a gRPC status.

The gRPC status of an error is server/zoo_server/protocols/status.py's business; HTTP's follows from it, as it does in
Triton (HttpCodeFromError): what has no like there is 400.
"""

import json
from typing import Any

import grpc
from starlette.responses import Response

from zoo_server.protocols.status import status_of

HTTP_STATUS: dict[Any, int] = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.ALREADY_EXISTS: 400,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.CANCELLED: 400,
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.INTERNAL: 500,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
}

JSON = "application/json"


def json_response(value: Any, status: int = 200) -> Response:
    """Return a JSON answer; NaN and Infinity are written so, as Triton writes them."""
    return Response(json.dumps(value, separators=(",", ":")), status, media_type=JSON)


def error_response(error: Exception, method: str) -> Response:
    """Return what a handler raised as its status and {"error": …}, and log it."""
    code, text = status_of(error, method)
    response = json_response({"error": text}, HTTP_STATUS.get(code, 500))
    if code is grpc.StatusCode.UNAUTHENTICATED:
        response.headers["www-authenticate"] = "Bearer"
    return response
