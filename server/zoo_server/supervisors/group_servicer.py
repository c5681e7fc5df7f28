"""The RPCs that are about the whole server, from the seat of one of its workers.

changes       go through the supervisor to every worker, the asked one first (journal.py)
readiness     is what is ready in all of them; known here, since each change of it is told to all
statistics    are added up when somebody asks

Everything else is the same in every worker and answered from its own memory, inference above all.
"""

from collections.abc import Callable, Set
from types import SimpleNamespace
from typing import Any

from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from zoo_proto import grpc_service_pb2 as pb
from zoo_server.models.readiness import Readiness
from zoo_server.protocols.grpc.handlers import SERVICE, one_servicer
from zoo_server.supervisors.replay_log import LANES
from zoo_server.supervisors.supervisor_channel import Function, Seat

#: Of these an empty request only asks what is in force, which is the same in all workers.
_SETTINGS = ("TraceSetting", "LogSettings")

#: The RPCs that ask the supervisor before they answer.
WAITS: Set[str] = frozenset({*LANES, "ModelStatistics"})


def whole_servicer(local: Any, seat: Seat, readiness: Callable[[], Readiness]) -> object:
    """Return a servicer that speaks for all workers; `local` speaks for this one."""
    changes = SimpleNamespace(
        **{method: _change(method, getattr(local, method), seat) for method in LANES}
    )
    return one_servicer(changes, _Whole(local, readiness), local)


def local_functions(local: Any) -> dict[str, Function]:
    """Return what the supervisor may ask this worker to change, from bytes to bytes."""
    return {method: _function(method, getattr(local, method)) for method in LANES}


class _Whole:
    """The other RPCs that differ."""

    def __init__(self, local: Any, readiness: Callable[[], Readiness]) -> None:
        self._local = local
        self._readiness = readiness

    def ServerReady(self, _: pb.ServerReadyRequest) -> pb.ServerReadyResponse:
        return pb.ServerReadyResponse(ready=self._readiness().server)

    def ModelReady(self, request: pb.ModelReadyRequest) -> pb.ModelReadyResponse:
        ready = self._readiness().is_model_ready(request.name, request.version)
        return pb.ModelReadyResponse(ready=ready)

    def ModelStatistics(self, request: pb.ModelStatisticsRequest) -> pb.ModelStatisticsResponse:
        answer: pb.ModelStatisticsResponse = self._local.ModelStatistics(request)
        return answer


def _change(method: str, local: Callable[[Any], Message], seat: Seat) -> Callable[[Any], Message]:
    answer = GetMessageClass(SERVICE.methods_by_name[method].output_type)

    def change(request: Any) -> Message:
        if method in _SETTINGS and not request.settings:
            return local(request)
        return answer.FromString(seat.call(method, request.SerializeToString()))

    return change


def _function(method: str, local: Callable[[Any], Message]) -> Function:
    request = GetMessageClass(SERVICE.methods_by_name[method].input_type)
    return lambda raw: local(request.FromString(raw)).SerializeToString()
