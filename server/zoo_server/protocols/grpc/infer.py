"""The hot path: ModelInfer from a request's bytes to the answer's, one call or a burst at a time.

    bytes ──walk──> template? ──> data ──> queue of the model ──> … ──> bytes
                        └─ no ──> protobuf ──> check ──> a template for the next one

Requests of one client differ in their data only. What precedes the data is looked up whole, as
bytes; on a hit, all that is left to check are the sizes of the tensors.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from zoo_proto import grpc_service_pb2 as pb
from zoo_server.errors import ServerError
from zoo_server.inference.execution import Rows
from zoo_server.inference.model import LoadedModel
from zoo_server.inference.queued_request import Pending
from zoo_server.inference.shared_memory import SharedMemory, Source
from zoo_server.inference.validation import CheckedRequest, Plan
from zoo_server.limits import Admission
from zoo_server.models.catalog import Catalog
from zoo_server.protocols.grpc.decoded_size import INFER_FIELDS, Decoding, Holding
from zoo_server.protocols.grpc.infer_request import decode
from zoo_server.protocols.grpc.infer_response import encode
from zoo_server.protocols.grpc.interceptor import parse
from zoo_server.protocols.grpc.wire import Split, delimited, split
from zoo_server.protocols.status import status_of
from zoo_server.schedulers.dynamic_batcher import UNBOUNDED

METHOD = "ModelInfer"

#: Templates kept, and the longest head worth one: a client sends few different heads, a stranger
#: may send any number.
_MOST_TEMPLATES = 1024
_LONGEST_HEAD = 2048


class Call(Protocol):
    """One unary call of any transport; answered once, by `reply` or `abort`, from any thread."""

    message: bytes

    def is_gone(self) -> bool:
        """Tell whether nobody waits any more: cancelled, or the deadline has passed."""

    def reply(self, answer: bytes) -> None:
        """Send the answer and status OK."""

    def abort(self, code: Any, details: str) -> None:
        """End the call with another status."""


@dataclass(slots=True)
class _Template:
    model: LoadedModel
    plan: Plan
    #: Sizes of the tensors that it carries, in the order in which it lists them.
    sizes: tuple[int, ...]
    #: Of the plan's inputs, which of those each one is, or where in shared memory it lies.
    places: tuple[int | Source, ...]
    parameters: Mapping[str, Any]


#: Hands a request on to the process that keeps its model's sequences; the reply is told the outcome.
HandOn = Callable[[bytes, "Reply"], None]


class BurstPath(ABC):
    """Answers unary calls of one method, a burst at a time; what they mean is its subclass's."""

    def __init__(self, admission: Admission, decoding: Decoding, reply: "type[Reply]") -> None:
        self._admission = admission
        self._decoding = decoding
        self._reply = reply

    @abstractmethod
    def pending(self, raw: bytes, reply: "Reply", arrived: int) -> list[Pending]:
        """Read a request, and tell `reply` of its model, its plan and its id."""

    def answer(
        self, calls: Sequence[Call], bears_ns: int = UNBOUNDED, *, stays: bool = False
    ) -> None:
        """Take calls that arrived together; each is answered, now or later, exactly once.

        `bears_ns` and `stays`: see zoo_server.schedulers.dynamic_batcher.Scheduler.submit.
        """
        arrived = time.perf_counter_ns()
        if len(calls) == 1:
            self._answer_one(calls[0], arrived, bears_ns, stays)
            return
        groups: dict[LoadedModel, list[Pending]] = {}
        for call in calls:
            reply = self._reply(call, self._admission.leave)
            members = self._let_in(call, reply, arrived)
            if not members:
                continue
            model = reply.model
            if model in groups:
                groups[model] += members
            else:
                groups[model] = list(members)
        for model, members in groups.items():
            model.submit(members, bears_ns, stays=stays)

    def _hold(self, reply: "Reply") -> Holding:
        """Return the account of what decoding a request takes; it ends with the reply."""
        holding = reply.holding = Holding(self._decoding)
        return holding

    def _answer_one(self, call: Call, arrived: int, bears_ns: int, stays: bool) -> None:
        reply = self._reply(call, self._admission.leave)
        members = self._let_in(call, reply, arrived)
        if members:
            reply.model.submit(members, bears_ns, stays=stays)

    def _let_in(self, call: Call, reply: "Reply", arrived: int) -> Sequence[Pending]:
        """Return what to submit for a call; nothing if it is refused, or waits for another."""
        try:
            self._admission.enter()
        except ServerError as error:
            reply.refuse(error)
            return ()
        try:
            return self.pending(call.message, reply, arrived)
        except Exception as error:
            reply.fail(error)
            return ()


class InferPath(BurstPath):
    """Answers ModelInfer calls."""

    def __init__(
        self,
        catalog: Catalog,
        admission: Admission,
        decoding: Decoding,
        memory: SharedMemory,
        hand_on: HandOn | None = None,
    ) -> None:
        """`hand_on`: where another process keeps the sequences."""
        super().__init__(admission, decoding, Reply)
        self._hand_on = hand_on
        self._catalog = catalog
        self._memory = memory
        self._templates: dict[bytes, _Template] = {}
        memory.when_unregistered(self.forget)

    def forget(self) -> None:
        """Forget the models and regions that are remembered: they may be others by now."""
        self._templates = {}

    def pending(self, raw: bytes, reply: "Reply", arrived: int) -> list[Pending]:
        parts = split(raw)
        if parts is None:
            return self._parsed(raw, None, reply, arrived)
        template = self._templates.get(parts.head)
        if template is None:
            return self._parsed(raw, parts, reply, arrived)
        spans = parts.spans
        sizes = tuple([end - begin for begin, end in spans])
        if sizes != template.sizes:
            return self._parsed(raw, parts, reply, arrived)
        view = memoryview(raw)
        data = [
            view[slice(*spans[place])] if isinstance(place, int) else place
            for place in template.places
        ]
        reply.model, reply.plan, reply.id = template.model, template.plan, parts.id
        checked = CheckedRequest(template.plan, data)
        return template.model.pending(checked, reply, arrived, template.parameters)

    def _parsed(
        self, raw: bytes, parts: Split | None, reply: "Reply", arrived: int
    ) -> list[Pending]:
        """Read a request with protobuf: the first of its kind, or one of no kind."""
        holding = self._hold(reply)
        holding.take_message(raw if parts is None else parts.head, INFER_FIELDS)
        if parts is None:
            message, views = parse(pb.ModelInferRequest, raw), None
        else:
            message = parse(pb.ModelInferRequest, parts.head)
            view = memoryview(raw)
            views = [view[begin:end] for begin, end in parts.spans]
            if parts.id:
                message.MergeFrom(parse(pb.ModelInferRequest, _id_field(parts.id)))
        # Before the catalog and the regions are asked: what is found in those that have changed since
        # is then remembered where nobody looks any more.
        templates = self._templates
        # The model first: an unknown one is NOT_FOUND whatever else is wrong, as in Triton.
        model = self._catalog.find(message.model_name, message.model_version)
        if self._hand_on is not None and model.settings.sequences is not None:
            self._hand_on(raw, reply)
            return []
        request = decode(message, self._memory, views)
        holding.take_strings(request.inputs)
        checked = model.checker.check(request)
        reply.model, reply.plan, reply.id = model, checked.plan, message.id.encode()
        if parts is not None:
            template = _template(parts, message, checked, model, request.parameters)
            if template is not None:
                if len(templates) >= _MOST_TEMPLATES:
                    templates.clear()
                templates[parts.head] = template
        return model.pending(checked, reply, arrived, request.parameters)


def _template(
    parts: Split,
    message: pb.ModelInferRequest,
    checked: CheckedRequest,
    model: LoadedModel,
    parameters: Mapping[str, Any],
) -> _Template | None:
    """Return what the next request of this kind need not be asked again, None if there will be none."""
    inputs = checked.plan.inputs
    if len(parts.head) > _LONGEST_HEAD or any(planned.nbytes is None for planned in inputs):
        return None
    sources = {
        planned.name: data
        for planned, data in zip(inputs, checked.data, strict=True)
        if isinstance(data, Source)
    }
    carried = [tensor.name for tensor in message.inputs if tensor.name not in sources]
    if len(parts.spans) != len(carried):  # typed contents are part of the head
        return None
    places: dict[str, int | Source] = {name: index for index, name in enumerate(carried)}
    places |= sources
    return _Template(
        model=model,
        plan=checked.plan,
        sizes=tuple(end - begin for begin, end in parts.spans),
        places=tuple(places[planned.name] for planned in inputs),
        parameters=parameters,
    )


class Reply:
    """Where one call's answer goes (zoo_server.inference.model.Reply)."""

    __slots__ = ("_call", "_leave", "holding", "id", "is_gone", "model", "plan")

    method = METHOD
    model: LoadedModel
    plan: Plan
    id: bytes

    def __init__(self, call: Call, leave: Callable[[], None]) -> None:
        self._call = call
        self._leave = leave
        #: What its request takes in memory, where that is known to be more than its bytes.
        self.holding: Holding | None = None
        self.is_gone = call.is_gone

    def encode(self, rows: Rows) -> bytes:
        """Return the answer's bytes."""
        return encode(self.model.settings, self.plan, rows, self.id)

    def answer(self, rows: Rows) -> None:
        try:
            answer = self.encode(rows)
        except Exception as error:
            self.fail(error)
            return
        self._call.reply(answer)
        self._end()

    def fail(self, error: Exception) -> None:
        self.refuse(error)
        self._end()

    def _end(self) -> None:
        if self.holding is not None:
            self.holding.release()
        self._leave()

    def relay(self, answer: bytes, status: tuple[Any, str] | None) -> None:
        """Take what came of the call in another process: the answer, or a status instead of one."""
        if status is None:
            self._call.reply(answer)
        else:
            self._call.abort(*status)
        self._end()

    def refuse(self, error: Exception) -> None:
        """Fail a call that was not let in."""
        code, text = status_of(error, self.method)
        self._call.abort(code, text)


def _id_field(request_id: bytes) -> bytes:
    return delimited(3, len(request_id)) + request_id
