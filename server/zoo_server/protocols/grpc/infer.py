"""ModelInfer, from a request's bytes to the answer's, one call or a burst at a time.

    bytes ──walk──> template? ──> data ──> queue of the model ──> … ──> bytes
                        └─ no ──> protobuf ──> check ──> a template for the next one

Requests of one client differ in their data only. What precedes the data is looked up whole, as
bytes; on a hit, all that is left to check are the sizes of the tensors. Where there is no id either,
the size of a message leads to the template, and comparing the bytes that are the same says the rest.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field

from zoo_proto import grpc_service_pb2 as pb
from zoo_server.errors import ServerError
from zoo_server.inference.execution import Rows
from zoo_server.inference.model import LoadedModel
from zoo_server.inference.plan import CheckedRequest, Plan
from zoo_server.inference.request import ParameterValue
from zoo_server.inference.shared_memory import SharedMemory, Source
from zoo_server.limits import InFlight, MemoryBudget
from zoo_server.models.catalog import Catalog
from zoo_server.protocols.bulk import INFER
from zoo_server.protocols.bulk import take_out as bulk_of
from zoo_server.protocols.decoded_size import INFER_FIELDS, reserve_message, reserve_strings
from zoo_server.protocols.grpc import unparsed_request
from zoo_server.protocols.grpc.infer_request import decode
from zoo_server.protocols.grpc.infer_response import encode
from zoo_server.protocols.grpc.unparsed_request import Layout, Split, split
from zoo_server.protocols.interceptor import parse
from zoo_server.protocols.response_sender import ResponseSender
from zoo_server.protocols.unary import UnaryPath
from zoo_server.varint import delimited

METHOD = "ModelInfer"

#: Templates kept, and the longest head worth one: a client sends few different heads, a stranger
#: may send any number.
_MOST_TEMPLATES = 1024
_LONGEST_HEAD = 2048


@dataclass(slots=True)
class RequestTemplate:
    """What requests of one kind have in common: all but their data and their id."""

    model: LoadedModel
    plan: Plan
    #: Sizes of the tensors that it carries, in the order in which it lists them.
    sizes: tuple[int, ...]
    #: Of those without an id, which bytes are the same.
    layout: Layout
    #: Of the plan's inputs, which of those each one is, or where in shared memory it lies.
    places: tuple[int | Source, ...]
    parameters: Mapping[str, ParameterValue]
    #: Where the data is in a message of the layout.
    data: Sequence[slice | Source] = field(init=False)

    def __post_init__(self) -> None:
        self.data = self.data_in(self.layout.spans)

    def data_in(self, spans: Sequence[tuple[int, int]]) -> Sequence[slice | Source]:
        """Return where the data of each of the plan's inputs lies in a message with such tensors."""
        return [slice(*spans[place]) if isinstance(place, int) else place for place in self.places]


class Templates:
    """The kinds of requests that are remembered."""

    def __init__(self) -> None:
        #: By what precedes their data.
        self.by_head: dict[bytes, RequestTemplate] = {}
        #: The one that came last without an id, by the size of its layout.
        self.by_size: dict[int, RequestTemplate] = {}

    def add(self, head: bytes, template: RequestTemplate) -> None:
        """Remember one more; all others are forgotten where they are too many."""
        if len(self.by_head) >= _MOST_TEMPLATES:
            self.by_head.clear()
            self.by_size.clear()
        self.by_head[head] = template

    def without(self, model: str) -> "Templates":
        """Return all but those of one model."""
        rest = Templates()
        for head, template in self.by_head.copy().items():
            if template.model.settings.name != model:
                rest.by_head[head] = template
        return rest

    def find(self, raw: bytes) -> tuple[RequestTemplate, bytes, Sequence[slice | Source]] | None:
        """Return a request's template, its id, and where its data lies; None if it is of no kind."""
        template = self.by_size.get(len(raw))
        if template is not None and template.layout.fits(raw):
            return template, b"", template.data
        parts = split(raw, _LONGEST_HEAD)
        if parts is None:
            return None
        template = self.by_head.get(parts.head)
        if template is None:
            return None
        spans = parts.spans
        if tuple([end - begin for begin, end in spans]) != template.sizes:
            return None
        if len(raw) == template.layout.nbytes:  # no id, and lengths as they are mostly written
            self.by_size[len(raw)] = template
        return template, parts.id, template.data_in(spans)


class InferSender(ResponseSender):
    """One ModelInfer call."""

    __slots__ = ()

    method = METHOD

    def encode(self, rows: Rows) -> bytes:
        return encode(self.model.settings, self.plan, rows, self.id)


#: Forwards a request to the process that keeps its model's sequences; the sender gets the outcome.
Forward = Callable[[bytes, InferSender], None]


class InferPath(UnaryPath[InferSender]):
    """Answers ModelInfer calls."""

    def __init__(
        self,
        catalog: Catalog,
        in_flight: InFlight,
        budget: MemoryBudget,
        workers: Executor,
        memory: SharedMemory,
        forward: Forward | None = None,
    ) -> None:
        """`forward`: where another process keeps the sequences."""
        super().__init__(InferSender, in_flight, budget, workers)
        self._forward = forward
        self._catalog = catalog
        self._memory = memory
        self._templates = Templates()
        memory.when_unregistered(self.forget)

    def forget(self) -> None:
        """Forget the models and regions that are remembered: they may be others by now."""
        self._templates = Templates()

    def forget_model(self, name: str) -> None:
        """Forget what is remembered of one model, which leaves memory with its last reference."""
        self._templates = self._templates.without(name)

    def model_name(self, raw: bytes) -> bytes:
        return unparsed_request.model_name(raw)

    def keeps_order(self, model: bytes) -> bool:
        try:
            return self._catalog.find_loaded(model.decode(), None).settings.sequences is not None
        except (ServerError, UnicodeDecodeError):
            return False

    def recognise(self, raw: bytes, sender: InferSender) -> bool:
        known = self._templates.find(raw)
        if known is None:
            return False
        template, sender.id, places = known
        sender.model = template.model
        view = memoryview(raw)
        data = [view[place] if isinstance(place, slice) else place for place in places]
        sender.carry(template.plan, data, template.parameters)
        return True

    def read(self, raw: bytes, sender: InferSender) -> bool:
        """Read a request with protobuf: the first of its kind, or one of no kind."""
        parts = split(raw)
        reservation = self._reserve(sender)
        reserve_message(reservation, raw if parts is None else parts.head, INFER_FIELDS)
        bulk = bulk_of(raw if parts is None else parts.head, INFER)
        message, views = parse(pb.ModelInferRequest, bulk.rest), None
        if parts is not None:
            view = memoryview(raw)
            views = [view[begin:end] for begin, end in parts.spans]
            if parts.id:
                message.MergeFrom(parse(pb.ModelInferRequest, _id_field(parts.id)))
        # Read before the catalog and the regions: a template of one that changes after this point is
        # then stored where nobody looks any more.
        templates = self._templates
        # The model first: an unknown one is NOT_FOUND whatever else is wrong, as in Triton.
        model = self._catalog.find(message.model_name, message.model_version)
        if self._forward is not None and model.settings.sequences is not None:
            self._forward(raw, sender)
            return False
        model.scheduler.check(sender)
        request = decode(message, self._memory, views, bulk.lists)
        reserve_strings(reservation, request.inputs)
        checked = model.checker.check(request)
        sender.model, sender.id = model, message.id.encode()
        sender.carry(checked.plan, checked.data, request.parameters)
        if parts is not None:
            template = _template(parts, message, checked, model, request.parameters)
            if template is not None:
                templates.add(parts.head, template)
        return True


def _template(
    parts: Split,
    message: pb.ModelInferRequest,
    checked: CheckedRequest,
    model: LoadedModel,
    parameters: Mapping[str, ParameterValue],
) -> RequestTemplate | None:
    """Return the template for further requests of this kind, None if there can be none."""
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
    sizes = tuple(end - begin for begin, end in parts.spans)
    return RequestTemplate(
        model=model,
        plan=checked.plan,
        sizes=sizes,
        layout=Layout(parts.head, sizes),
        places=tuple(places[planned.name] for planned in inputs),
        parameters=parameters,
    )


def _id_field(request_id: bytes) -> bytes:
    return delimited(3, len(request_id)) + request_id
