"""TensorFlow Serving's REST, which is KServe's V1 too: the format of predict, and the other routes.

Paths, members and the stems of messages are upstream's (model_servers/http_rest_api_handler.cc). The
answer to GET /v1/models is KServe's: upstream has none.
"""

from collections.abc import Mapping
from typing import NoReturn

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from zoo_proto import tensorflow_serving_pb2 as pb
from zoo_server.dataplane import DataPlane
from zoo_server.errors import InvalidRequest
from zoo_server.inference.execution import Rows
from zoo_server.inference.model import LoadedModel
from zoo_server.inference.plan import Plan
from zoo_server.model_config import ModelSettings
from zoo_server.protocols import servables
from zoo_server.protocols.rest import predict_request, predict_response
from zoo_server.protocols.rest.json_values import Json
from zoo_server.protocols.rest.open_inference import Answer, Body, PathParameters
from zoo_server.protocols.rest.request_formats import DecodedRequest

_MAX_VERSION = 2**63 - 1


class PredictFormat:
    """TensorFlow Serving's rows and columns (zoo_server.protocols.rest.request_formats.RequestFormat)."""

    has_bytes = False

    def __init__(self, dataplane: DataPlane) -> None:
        self._dataplane = dataplane

    def find(self, path: Mapping[str, str]) -> LoadedModel:
        return servables.find(self._dataplane, _spec(path))

    def decode(self, body: memoryview, header_length: int, model: LoadedModel) -> DecodedRequest:
        return _Decoded(predict_request.decode(body[:header_length], model.settings))


class _Decoded:
    __slots__ = ("_decoded", "request")

    def __init__(self, decoded: predict_request.PredictRequest) -> None:
        self._decoded = decoded
        self.request = decoded.request

    def check(self, plan: Plan) -> None:
        predict_response.check_datatypes(plan)

    def encode(self, _: ModelSettings, plan: Plan, rows: Rows) -> tuple[bytes, None]:
        return predict_response.encode(plan, rows, is_rows=self._decoded.is_rows), None


class TensorFlowServingRoutes:
    """All of TensorFlow Serving's routes but predict: the path and the body's JSON in, JSON out."""

    def __init__(self, dataplane: DataPlane) -> None:
        self._dataplane = dataplane

    def models(self, _: PathParameters, __: Body) -> Answer:
        entries = self._dataplane.repository_index("", ready=True)
        return {"models": sorted({entry.name for entry in entries})}

    def status(self, path: PathParameters, _: Body) -> Answer:
        return _json(servables.statuses(self._dataplane, _spec(path)))

    def metadata(self, path: PathParameters, _: Body) -> Answer:
        model = servables.find(self._dataplane, _spec(path))
        return {
            "model_spec": _json(servables.model_spec(model)),
            "metadata": {"signature_def": _json(servables.signatures(model.settings))},
        }

    def classify(self, _: PathParameters, __: Body) -> NoReturn:
        servables.refuse("Classify")

    def regress(self, _: PathParameters, __: Body) -> NoReturn:
        servables.refuse("Regress")


def _spec(path: Mapping[str, str]) -> pb.ModelSpec:
    spec = pb.ModelSpec(name=path["model"])
    if "version" in path:
        version = path["version"]
        if len(version) > len(str(_MAX_VERSION)) or int(version) > _MAX_VERSION:
            raise InvalidRequest(f"Failed to convert version: {version[:40]} to numeric.")
        spec.version.value = int(version)
    elif "label" in path:
        spec.version_label = path["label"]
    return spec


def _json(message: Message) -> Json:
    """As upstream prints: names as in the .proto file, 64-bit numbers as strings."""
    return MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
