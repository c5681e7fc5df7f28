"""The REST application: paths and methods, the token, errors as {"error": …}.

request ──> token? ──> route ──> admitted? ──> body ──> function ──> JSON
              └──────────┴───────────┴───────────┴──────────┴──> {"error": …}
"""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from contextlib import AbstractContextManager
from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from zoo_server.errors import Cancelled
from zoo_server.inference.shared_memory import SharedMemory
from zoo_server.models.catalog import Catalog
from zoo_server.protocols.rest import openapi
from zoo_server.protocols.rest.bodies import Bodies, BodyLimits
from zoo_server.protocols.rest.control import Answer, Body, Control, Path
from zoo_server.protocols.rest.infer import Inference
from zoo_server.protocols.rest.json_values import parse_json
from zoo_server.protocols.rest.plain import TokenCheck
from zoo_server.protocols.rest.responses import JSON, error_response, json_response

Endpoint = Callable[[Request], Awaitable[Response]]
Function = Callable[[Path, Body], Answer]


@dataclass(frozen=True, slots=True, kw_only=True)
class RestParts:
    """What the application is made of."""

    #: gRPC's servicer: an object with a method an RPC.
    servicer: object
    catalog: Catalog
    memory: SharedMemory
    admission: AbstractContextManager[None]
    #: Where what may take long runs, so that the event loop does not wait.
    workers: Executor
    limits: BodyLimits
    version: str
    #: None asks for none.
    token: bytes | None = None


def rest_application(parts: RestParts) -> ASGIApp:
    """Return the application."""
    routes = _Routes(parts)
    application = Starlette(
        routes=routes.all(),
        exception_handlers={HTTPException: _http_error, Exception: _unforeseen},
    )
    application.router.redirect_slashes = False
    return application if parts.token is None else TokenCheck(application, parts.token)


class _Routes:
    """Every path, each tried in this order: the hot one first."""

    def __init__(self, parts: RestParts) -> None:
        self._parts = parts
        self._control = Control(parts.servicer)
        self._bodies = Bodies(parts.limits)
        self._inference = Inference(parts.catalog, parts.memory, self._bodies, parts.workers)

    def all(self) -> list[Route]:
        control, get, post = self._control, self._get, self._post
        model = "/v2/models/{model}"
        version = f"{model}/versions/{{version}}"
        repository = ("/v2/repository", "/v2/repository/{repository}")
        routes = [
            Route(f"{path}/infer", self._infer, methods=["POST"]) for path in (model, version)
        ]
        routes += [
            get("/v2/health/live", control.live),
            get("/v2/health/ready", control.ready),
            get("/v2", control.server),
            get("/v2/models/stats", control.statistics),
            Route("/v2/openapi.json", self._document, methods=["GET"]),
        ]
        for path in (model, version):
            routes += [
                get(path, control.model),
                get(f"{path}/ready", control.model_ready),
                get(f"{path}/config", control.config),
                get(f"{path}/stats", control.statistics),
            ]
        for path in repository:
            routes += [
                post(f"{path}/index", control.index),
                post(f"{path}/models/{{model}}/load", control.load),
                post(f"{path}/models/{{model}}/unload", control.unload),
            ]
        for kind, status, register, unregister in (
            ("system", control.system_status, control.system_register, control.system_unregister),
            ("cuda", control.cuda_status, control.cuda_register, control.cuda_unregister),
        ):
            for path in (f"/v2/{kind}sharedmemory", f"/v2/{kind}sharedmemory/region/{{region}}"):
                routes += [
                    get(f"{path}/status", status),
                    post(f"{path}/register", register, needs_body=True),
                    post(f"{path}/unregister", unregister),
                ]
        for path, function in (
            (f"{model}/trace/setting", control.trace),
            ("/v2/trace/setting", control.trace),
            ("/v2/logging", control.log),
        ):
            routes += [self._route(path, function, ["GET", "POST"], needs_body=True)]
        return routes

    def _get(self, path: str, function: Function) -> Route:
        return self._route(path, function, ["GET"])

    def _post(self, path: str, function: Function, *, needs_body: bool = False) -> Route:
        return self._route(path, function, ["POST"], needs_body=needs_body)

    def _route(
        self, path: str, function: Function, methods: list[str], *, needs_body: bool = False
    ) -> Route:
        """Return a route; without `needs_body`, a POST with an empty body is one with `{}`."""

        async def endpoint(request: Request) -> Response:
            with self._parts.admission:
                if request.method == "POST":
                    answer = await self._changed(request, function, needs_body)
                elif function == self._control.statistics:  # which may ask other processes
                    loop = asyncio.get_running_loop()
                    answer = await loop.run_in_executor(
                        self._parts.workers, function, _path(request), {}
                    )
                else:  # reads what is in memory
                    answer = function(_path(request), {})
            return _answer(answer)

        return Route(path, _guarded(function.__name__, endpoint), methods=methods)

    async def _changed(self, request: Request, function: Function, needs_body: bool) -> Answer:
        """Call a function that may take long, such as a load, with the body's JSON."""
        with self._bodies.holding() as holding:
            body = await holding.read(request, self._parts.limits.input)
            if not body and not needs_body:
                body = b"{}"
            loop, workers = asyncio.get_running_loop(), self._parts.workers
            return await loop.run_in_executor(workers, _call, function, _path(request), body)

    @property
    def _infer(self) -> Endpoint:
        async def endpoint(request: Request) -> Response:
            path = _path(request)
            with self._parts.admission:
                return await self._inference.infer(request, path["model"], path.get("version", ""))

        return _guarded("infer", endpoint)

    @property
    def _document(self) -> Endpoint:
        async def endpoint(_: Request) -> Response:
            return json_response(openapi.document(self._parts.version))

        return _guarded("openapi", endpoint)


def _call(function: Function, path: Path, body: bytes | bytearray) -> Answer:
    return function(path, parse_json(body))


def _guarded(name: str, endpoint: Endpoint) -> Endpoint:
    """Turn what an endpoint raises into an answer."""

    async def guarded(request: Request) -> Response:
        try:
            return await endpoint(request)
        except HTTPException:
            raise
        except ClientDisconnect:  # nobody hears the answer; the log does, as of a caller's doing
            return error_response(Cancelled("the caller hung up"), f"HTTP {name}")
        except Exception as error:
            return error_response(error, f"HTTP {name}")

    return guarded


def _path(request: Request) -> Path:
    """Return what the path names; a version that is no number is no path of ours, as in Triton."""
    named: dict[str, str] = request.path_params
    version = named.get("version", "0")
    if not (version.isascii() and version.isdigit()):
        raise HTTPException(404)
    return named


def _answer(answer: Answer) -> Response:
    if answer is None or answer is True:
        return Response(media_type=JSON)
    if answer is False:
        return Response(status_code=400, media_type=JSON)
    return json_response(answer)


async def _http_error(_: Request, error: Exception) -> Response:
    """No such path (404), or not with this method (405): Triton's words."""
    assert isinstance(error, HTTPException)
    words = {404: "Not Found", 405: "Method Not Allowed"}
    response = json_response(
        {"error": words.get(error.status_code, error.detail)}, error.status_code
    )
    response.headers.update(error.headers or {})
    return response


async def _unforeseen(request: Request, error: Exception) -> Response:
    """Whatever passed every guard."""
    return error_response(error, f"HTTP {request.method}")
