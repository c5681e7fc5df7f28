"""The REST application: serves the table of routes, checks the token, writes errors as {"error": …}.

request ──> token? ──> route ──> let in? ──> body ──> function ──> JSON
              └──────────┴───────────┴───────────┴──────────┴──> {"error": …}
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from typing import cast

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route, compile_path

from zoo_server.config import ServerConfig
from zoo_server.dataplane import DataPlane
from zoo_server.errors import Cancelled
from zoo_server.protocols.auth import Right, Tokens
from zoo_server.protocols.callers import CallerLimits
from zoo_server.protocols.ports import peer_of
from zoo_server.protocols.rest import openapi
from zoo_server.protocols.rest.asgi import Application, RightOf, TokenCheck
from zoo_server.protocols.rest.bodies import Bodies
from zoo_server.protocols.rest.errors import JSON, error_body, error_response
from zoo_server.protocols.rest.home import Home
from zoo_server.protocols.rest.infer import LENGTH_HEADER, Inference
from zoo_server.protocols.rest.json_values import parse_json
from zoo_server.protocols.rest.open_inference import (
    Answer,
    Body,
    OpenInferenceRoutes,
    PathParameters,
)
from zoo_server.protocols.rest.predict import PredictFormat, TensorFlowServingRoutes
from zoo_server.protocols.rest.request_formats import OpenInferenceFormat, RequestFormat
from zoo_server.protocols.rest.routes import INFER, OPENAPI, OPERATIONS, PREDICT, Operation
from zoo_server.protocols.rest.site import SiteRoute
from zoo_server.protocols.status import RETRY_KEY
from zoo_server.telemetry.server_counts import ServerCounts

#: Where TensorFlow Serving's paths begin.
_SERVABLES = "/v1/"

Endpoint = Callable[[Request], Awaitable[Response]]
Function = Callable[[PathParameters, Body], Answer]


def rest_application(
    dataplane: DataPlane,
    config: ServerConfig,
    in_flight: AbstractContextManager[None],
    workers: Executor,
    counts: ServerCounts,
    bodies: Bodies,
    tokens: Tokens | None = None,
    callers: CallerLimits | None = None,
) -> Application:
    """Return the application.

    `workers` run what may take long, so that the event loop does not wait; `counts` are told of what is
    refused; `bodies` accounts for those of the port. Without tokens none is asked for, and without `callers`
    none is limited.
    """
    routes = _Routes(dataplane, bodies, in_flight, workers, callers)
    site = [] if config.site is None else [SiteRoute(config.site)]
    application = Starlette(
        routes=[*routes.all(), *site, routes.home(Home(dataplane, config))],
        exception_handlers={HTTPException: _http_error, Exception: _unforeseen},
    )
    application.router.redirect_slashes = False
    if tokens is None:
        return application
    return TokenCheck(application, tokens, _rights(), counts)


def cross_origin(application: Application, config: ServerConfig) -> Application:
    """Let the pages of other origins ask, if the configuration names any.

    It stands around the check of tokens: a browser asks whether it may without one.
    """
    if not config.http_cors_origin:
        return application
    return CORSMiddleware(
        application,
        allow_origins=config.http_cors_origin,
        allow_methods=["GET", "POST"],
        allow_headers=["*"],
        expose_headers=[LENGTH_HEADER, "retry-after", "grpc-status", "grpc-message", RETRY_KEY],
    )


def _rights() -> RightOf:
    """Return what tells the right of a route; what is none, such as a page, is for who may read."""
    routes = [
        (operation.method, compile_path(path)[0], operation.right)
        for operation in OPERATIONS
        for path in operation.paths()
    ]

    def right_of(method: str, path: str) -> Right | None:
        method = "GET" if method == "HEAD" else method
        for known, pattern, right in routes:  # as Starlette finds the route
            if known == method and pattern.match(path):
                return right
        return Right.READ

    return right_of


class _Routes:
    """Makes the table's operations (routes.py) Starlette's routes."""

    def __init__(
        self,
        dataplane: DataPlane,
        bodies: Bodies,
        in_flight: AbstractContextManager[None],
        workers: Executor,
        callers: CallerLimits | None,
    ) -> None:
        self._version = dataplane.server_metadata.version
        self._limits = bodies.limits
        self._in_flight = in_flight
        self._workers = workers
        self._callers = callers
        self._functions = (OpenInferenceRoutes(dataplane), TensorFlowServingRoutes(dataplane))
        self._bodies = bodies
        self._inference = Inference(dataplane, self._bodies, workers)
        self._formats: dict[str, RequestFormat] = {
            INFER: OpenInferenceFormat(dataplane),
            PREDICT: PredictFormat(dataplane),
        }

    def all(self) -> list[Route]:
        return [
            Route(path, self._endpoint(operation), methods=[operation.method])
            for operation in OPERATIONS
            for path in operation.paths()
        ]

    def home(self, home: Home) -> Route:
        """Return the route of /, behind those of a gallery."""

        async def endpoint(request: Request) -> Response:
            with self._in_flight:
                loop = asyncio.get_running_loop()
                return await loop.run_in_executor(self._workers, home.respond, request)

        return Route("/", _guarded("home", endpoint), methods=["GET"])

    def _endpoint(self, operation: Operation) -> Endpoint:
        if operation.function in self._formats:
            infer = partial(self._infer, self._formats[operation.function])
            return _guarded(operation.function, infer)
        if operation.function == OPENAPI:
            return _guarded(OPENAPI, self._document)
        function = self._function(operation.function)

        async def endpoint(request: Request) -> Response:
            with self._in_flight:
                if operation.body is not None:
                    answer = await self._changed(request, function, operation.needs_body)
                elif operation.blocks:
                    answer = await self._on_a_worker(function, _path(request), {})
                else:  # reads what is in memory
                    answer = function(_path(request), {})
            return _answer(answer)

        return _guarded(operation.function, endpoint)

    def _function(self, name: str) -> Function:
        (function,) = (getattr(place, name) for place in self._functions if hasattr(place, name))
        return cast("Function", function)

    async def _changed(self, request: Request, function: Function, needs_body: bool) -> Answer:
        """Call a function that may take long, such as a load, with the body's JSON."""
        with self._bodies.holding() as holding:
            body = await holding.read(request, self._limits.input)
            if not body and not needs_body:
                body = b"{}"
            return await self._on_a_worker(_call, function, _path(request), body)

    async def _on_a_worker(self, function: Callable[..., Answer], *arguments: object) -> Answer:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._workers, function, *arguments)

    async def _infer(self, request_format: RequestFormat, request: Request) -> Response:
        path = _path(request)
        with self._in_flight, ExitStack() as stack:
            if self._callers is not None:
                address = "" if request.client is None else request.client.host
                leave = self._callers.enter(
                    request.headers.items(), lambda: address and peer_of((address,))
                )
                stack.callback(leave)
            return await self._inference.infer(request_format, request, path)

    async def _document(self, _: Request) -> Response:
        return _json(openapi.document(self._version))


def _call(function: Function, path: PathParameters, body: bytes | bytearray) -> Answer:
    return function(path, parse_json(body))


def _guarded(name: str, endpoint: Endpoint) -> Endpoint:
    """Turn what an endpoint raises into an answer."""

    async def guarded(request: Request) -> Response:
        try:
            return await endpoint(request)
        except HTTPException:
            raise
        except ClientDisconnect:  # the caller is gone; the log says so
            return _failure(Cancelled("the caller hung up"), f"HTTP {name}")
        except Exception as error:
            return _failure(error, f"HTTP {name}")

    return guarded


def _path(request: Request) -> PathParameters:
    """Return what the path names; a version that is no number is no path of ours, as in Triton.

    Nor is, in TensorFlow Serving's paths, a model or label with a colon: a verb follows that.
    """
    named: dict[str, str] = request.path_params
    version = named.get("version", "0")
    if not (version.isascii() and version.isdigit()):
        raise HTTPException(404)
    if request.url.path.startswith(_SERVABLES) and any(":" in part for part in named.values()):
        raise HTTPException(404)
    return named


def _answer(answer: Answer) -> Response:
    if answer is None or answer is True:
        return Response(media_type=JSON)
    if answer is False:
        return Response(status_code=400, media_type=JSON)
    return _json(answer)


async def _http_error(request: Request, error: Exception) -> Response:
    """No such path (404), or not with this method (405): Triton's words, below /v1/ upstream's."""
    assert isinstance(error, HTTPException)
    if request.url.path.startswith(_SERVABLES) and error.status_code in (404, 405):
        text = f"Malformed request: {request.method} {request.url.path}"
        return Response(error_body(text), 400, media_type=JSON)
    text = {404: "Not Found", 405: "Method Not Allowed"}.get(error.status_code, error.detail)
    return Response(error_body(text), error.status_code, error.headers, JSON)


async def _unforeseen(request: Request, error: Exception) -> Response:
    """Whatever passed every guard."""
    return _failure(error, f"HTTP {request.method}")


def _failure(error: Exception, method: str) -> Response:
    status, body, headers = error_response(error, method)
    return Response(body, status, headers)


def _json(value: object) -> Response:
    """Return a JSON answer; NaN and Infinity are written so, as Triton writes them."""
    return Response(json.dumps(value, separators=(",", ":")), media_type=JSON)
