"""The JSON formats of inference over HTTP: how a request is decoded, and its answer encoded.

Behind both is one path (infer.py).
"""

from collections.abc import Mapping
from typing import Protocol

from zoo_server.dataplane import DataPlane
from zoo_server.inference.execution import Rows
from zoo_server.inference.model import LoadedModel
from zoo_server.inference.plan import Plan
from zoo_server.inference.request import InferRequest
from zoo_server.model_config import ModelSettings
from zoo_server.protocols.rest import infer_request, infer_response


class DecodedRequest(Protocol):
    """A request as values, and how its answer is written."""

    @property
    def request(self) -> InferRequest:
        """What goes to the model."""

    def check(self, plan: Plan) -> None:
        """Before anything runs: InvalidRequest if an output cannot be written in this format."""

    def encode(self, settings: ModelSettings, plan: Plan, rows: Rows) -> tuple[bytes, int | None]:
        """Return the body, and the length of its JSON where bytes follow."""


class RequestFormat(Protocol):
    """How one protocol writes requests and answers."""

    #: Whether bytes may follow the JSON of a body.
    has_bytes: bool

    def find(self, path: Mapping[str, str]) -> LoadedModel:
        """Return the model that a path names; errors as the data plane's."""

    def decode(self, body: memoryview, header_length: int, model: LoadedModel) -> DecodedRequest:
        """Return the request; `header_length`: how much of the body is JSON.

        InvalidRequest, UnreadableJson for one that no model could take.
        """


class OpenInferenceFormat:
    """The Open Inference Protocol v2, with Triton's binary tensors."""

    has_bytes = True

    def __init__(self, dataplane: DataPlane) -> None:
        self._dataplane = dataplane

    def find(self, path: Mapping[str, str]) -> LoadedModel:
        return self._dataplane.find(path["model"], path.get("version", ""))

    def decode(self, body: memoryview, header_length: int, model: LoadedModel) -> DecodedRequest:
        memory = self._dataplane.memory
        return _Decoded(infer_request.decode(body, header_length, model.settings, memory))


class _Decoded:
    __slots__ = ("_decoded", "request")

    def __init__(self, decoded: infer_request.RestRequest) -> None:
        self._decoded = decoded
        self.request = decoded.request

    def check(self, plan: Plan) -> None:
        infer_response.check_formats(plan, self._decoded)

    def encode(self, settings: ModelSettings, plan: Plan, rows: Rows) -> tuple[bytes, int | None]:
        return infer_response.encode(settings, plan, rows, self._decoded)
