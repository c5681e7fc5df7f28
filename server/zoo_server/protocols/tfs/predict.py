"""TensorFlow Serving's Predict, on the same path as ModelInfer.

    bytes ──> protobuf ──> model, signature, names, tensors ──> queue of the model ──> … ──> bytes

The order of the checks and the messages' stems are upstream's (model_servers/server_core.cc,
servables/tensorflow/predict_util.cc).
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import Executor

from google.protobuf.message import Message

from zoo_proto import tensorflow_serving_pb2 as pb
from zoo_server.dataplane import DataPlane
from zoo_server.errors import InvalidRequest, PreconditionFailed
from zoo_server.inference.execution import Rows
from zoo_server.inference.request import InferRequest, OutputRequest
from zoo_server.limits import InFlight, MemoryBudget
from zoo_server.model_config import ModelSettings
from zoo_server.protocols.bulk import PREDICT, take_out
from zoo_server.protocols.copies import join
from zoo_server.protocols.decoded_size import PREDICT_FIELDS, reserve_message
from zoo_server.protocols.interceptor import parse
from zoo_server.protocols.response_sender import ResponseSender
from zoo_server.protocols.servables import SIGNATURE, find, model_spec
from zoo_server.protocols.tfs import tensors
from zoo_server.protocols.unary import UnaryPath
from zoo_server.varint import delimited

METHOD = "Predict"

_OUTPUTS = pb.PredictResponse.DESCRIPTOR.fields_by_name["outputs"].number

#: Of a message's beginning, which names the model.
_NAME_BYTES = 64


class PredictSender(ResponseSender):
    """One Predict call."""

    __slots__ = ()

    method = METHOD
    short_bytes = 1 << 14  # all but floats are written one by one

    def encode(self, rows: Rows) -> bytes:
        spec = model_spec(self.model, SIGNATURE)
        pieces: list[bytes | memoryview] = [pb.PredictResponse(model_spec=spec).SerializeToString()]
        for settings, requested in self.plan.outputs:
            output = rows.tensor(settings, requested.classes, self.plan.batch_size)
            pieces += _map_entry(output.name.encode(), tensors.encode(output))
        return join(pieces)


class PredictPath(UnaryPath[PredictSender]):
    """Answers Predict calls."""

    def __init__(
        self, dataplane: DataPlane, in_flight: InFlight, budget: MemoryBudget, workers: Executor
    ) -> None:
        super().__init__(PredictSender, in_flight, budget, workers)
        self._dataplane = dataplane
        self.reads_small_here = not dataplane.catalog.is_lazy

    def model_name(self, raw: bytes) -> bytes:
        """Return the message's first bytes: who writes like messages most likely means one model."""
        return raw[:_NAME_BYTES]

    def read(self, raw: bytes, sender: PredictSender) -> bool:
        reservation = self._reserve(sender)
        reserve_message(reservation, raw, PREDICT_FIELDS)
        bulk = take_out(raw, PREDICT)
        message = parse(pb.PredictRequest, bulk.rest)
        check_model_spec(message)
        model = find(self._dataplane, message.model_spec)
        signature = message.model_spec.signature_name or SIGNATURE
        if signature != SIGNATURE:
            raise PreconditionFailed(f'Serving signature key "{signature}" not found.')
        _check_inputs(message.inputs.keys(), model.settings)
        _check_outputs(message.output_filter, model.settings)
        request = InferRequest(
            id="",
            inputs=tuple(
                tensors.decode(alias, tensor, reservation.take, bulk.lists.get(alias.encode(), {}))
                for alias, tensor in message.inputs.items()
            ),
            outputs=tuple(OutputRequest(name=alias) for alias in message.output_filter),
        )
        checked = model.checker.check(request)
        sender.model, sender.id = model, b""
        sender.carry(checked.plan, checked.data, request.parameters)
        return True


def _map_entry(name: bytes, tensor: Sequence[bytes | memoryview]) -> Iterator[bytes | memoryview]:
    """Give the pieces of one entry of `outputs`: the name as field 1, the tensor as field 2."""
    size = sum(map(len, tensor))
    head = delimited(1, len(name)) + name + delimited(2, size)
    yield delimited(_OUTPUTS, len(head) + size) + head
    yield from tensor


def check_model_spec(request: Message) -> None:
    if not request.HasField("model_spec"):
        raise InvalidRequest("Missing ModelSpec")


def _check_inputs(sent: Collection[str], settings: ModelSettings) -> None:
    """Upstream's two checks: how many there are, and that every one that must be there is."""
    known = {tensor.name for tensor in settings.inputs}
    optional = {tensor.name for tensor in settings.inputs if tensor.optional}
    missing = known - set(sent) - optional
    if len(sent) > len(known) or (len(sent) < len(known) and not optional):
        raise InvalidRequest(
            f"input size does not match signature: {len(sent)}!={len(known)} len({_names(sent)}) "
            f"!= len({_names(known)}). Sent extra: {_names(set(sent) - known)}. Missing but "
            f"required: {_names(missing)}."
        )
    if missing:
        alias = min(missing)
        raise InvalidRequest(
            f"Signature input alias: {alias}(feed name: {alias}) not found in request and no "
            f"default value provided. Inputs expected to be in the request {_names(sent)}, or "
            f"default input alias set: {','.join(sorted(optional))}"
        )
    if not known.issuperset(sent):
        raise InvalidRequest(
            "Inputs contains invalid name. Used request inputs: "
            f"{','.join(sorted(known & set(sent)))}, request input: {','.join(sorted(sent))}"
        )


def _check_outputs(requested: Iterable[str], settings: ModelSettings) -> None:
    known = {tensor.name for tensor in settings.outputs}
    seen: set[str] = set()
    for alias in requested:
        if alias not in known:
            raise InvalidRequest(
                f"output tensor alias not found in signature: {alias} Outputs expected to be in "
                f"the set {_names(known)}."
            )
        if alias in seen:
            raise InvalidRequest(f"duplicate output tensor alias: {alias}")
        seen.add(alias)


def _names(names: Iterable[str]) -> str:
    return "{" + ",".join(sorted(names)) + "}"
