"""grpc.health.v1: Check and Watch, for the server ("" and the service's name) and for each model.

A Watch stays open for as long as its caller likes. It is served without a thread of its own (grpcio's
non-blocking streams: the handler gets a callback to send with), so that watchers cannot use up the
threads that answer inference.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NoReturn

import grpc
from grpc_health.v1 import health_pb2

from zoo_server.models.readiness import Readiness

SERVICE_NAME = "grpc.health.v1.Health"

Status = health_pb2.HealthCheckResponse.ServingStatus
Send = Callable[[object], None]


class Health:
    """The serving status of each name; `publish` replaces all of them and tells the open watches."""

    def __init__(self, services: Sequence[str] = ()) -> None:
        """`services`: names that serve while the whole server is ready."""
        self._services = ("", *services)
        self._lock = threading.Lock()
        self._serving: Mapping[str, bool] = {}
        self._watchers: dict[str, list[Send]] = {}
        self._closed = False

    def show(self, readiness: Readiness) -> None:
        """Publish what is ready: each model, and for the services what ServerReady answers."""
        models = {name: bool(versions) for name, versions in readiness.models.items()}
        self.publish({**models, **dict.fromkeys(self._services, readiness.server)})

    def publish(self, serving: Mapping[str, bool]) -> None:
        """Set what each name answers; names not in `serving` are unknown from now on."""
        with self._lock:
            if self._closed:
                return  # the server is leaving, whatever is loaded
            before, self._serving = self._serving, dict(serving)
            for name, senders in self._watchers.items():
                if before.get(name) != self._serving.get(name):
                    for send in senders:
                        send(self._response(name))

    def close(self) -> None:
        """Say NOT_SERVING to everybody and end the watches: a drain need not wait for them."""
        self.publish(dict.fromkeys(self._serving, False))
        with self._lock:
            self._closed = True
            for senders in self._watchers.values():
                for send in senders:
                    send(None)  # grpcio's word for the end of the stream

    @property
    def watches(self) -> int:
        """How many watches are open."""
        with self._lock:
            return sum(len(senders) for senders in self._watchers.values())

    def check(
        self, request: health_pb2.HealthCheckRequest, context: grpc.ServicerContext
    ) -> health_pb2.HealthCheckResponse:
        """Answer now; NOT_FOUND for an unknown name, as the health protocol requires."""
        with self._lock:
            if request.service in self._serving:
                return self._response(request.service)
        answer: NoReturn = context.abort(
            grpc.StatusCode.NOT_FOUND, f"unknown service or model '{request.service}'"
        )
        return answer

    def watch(
        self, request: health_pb2.HealthCheckRequest, context: grpc.ServicerContext, send: Send
    ) -> None:
        """Answer now and at each change; SERVICE_UNKNOWN, and no error, for an unknown name."""
        name = request.service
        with self._lock:
            send(self._response(name))
            if self._closed:
                send(None)
                return
            self._watchers.setdefault(name, []).append(send)
        if not context.add_callback(lambda: self._forget(name, send)):
            self._forget(name, send)  # it was over before it began

    def _forget(self, name: str, send: Send) -> None:
        with self._lock:
            senders = self._watchers.get(name, [])
            if send in senders:
                senders.remove(send)
                send(None)
            if not senders:
                self._watchers.pop(name, None)  # or names a stranger invents would pile up

    def _response(self, name: str) -> health_pb2.HealthCheckResponse:
        serving = self._serving.get(name)
        if serving is None:
            return health_pb2.HealthCheckResponse(status=Status.SERVICE_UNKNOWN)
        return health_pb2.HealthCheckResponse(
            status=Status.SERVING if serving else Status.NOT_SERVING
        )


def health_handlers(health: Health) -> grpc.GenericRpcHandler:
    """Return the handlers of grpc.health.v1.Health."""

    def watch(
        request: health_pb2.HealthCheckRequest, context: grpc.ServicerContext, send: Send
    ) -> None:
        health.watch(request, context, send)

    # grpcio reads these two off the function: a small pool of its own, and no thread per stream.
    vars(watch).update(
        experimental_non_blocking=True, experimental_thread_pool=ThreadPoolExecutor(1, "health")
    )
    parse = health_pb2.HealthCheckRequest.FromString
    write = health_pb2.HealthCheckResponse.SerializeToString
    return grpc.method_handlers_generic_handler(
        SERVICE_NAME,
        {
            "Check": grpc.unary_unary_rpc_method_handler(health.check, parse, write),
            "Watch": grpc.unary_stream_rpc_method_handler(watch, parse, write),
        },
    )
