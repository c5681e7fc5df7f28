"""The table of routes, which the application serves and the OpenAPI document shows."""

from collections.abc import Iterator
from dataclasses import dataclass

from zoo_server.protocols.auth import OPEN, Right

#: What answers a route in the application, and not a method of open_inference.py or predict.py.
INFER, PREDICT, OPENAPI = "infer", "predict", "openapi"


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path; a part of the path in [brackets] may be left out.

    Of [several|parts] there is one.
    """

    method: str
    path: str
    #: What answers: a method of OpenInferenceRoutes or TensorFlowServingRoutes, INFER, PREDICT or OPENAPI.
    function: str
    #: The right that a token needs, None for none at all.
    right: Right | None
    summary: str
    #: The schema of the answer (openapi.py); None for an answer without a body.
    answer: str | None = None
    #: The schema of the body; None for one that is not read.
    body: str | None = None
    #: Whether the body must be there; an empty one is else read as `{}`.
    needs_body: bool = False
    #: Whether it may take long or ask other processes, and so runs on a worker thread.
    blocks: bool = False

    def paths(self) -> Iterator[str]:
        """Yield the path without and with each of its optional parts."""
        before, bracket, rest = self.path.partition("[")
        optional, _, after = rest.partition("]")
        yield before + after
        if bracket:
            for part in optional.split("|"):
                yield before + part + after


def _get(
    path: str,
    function: str,
    summary: str,
    answer: str | None = None,
    *,
    right: Right | None = Right.READ,
    blocks: bool = False,
) -> Operation:
    return Operation("GET", path, function, right, summary, answer, blocks=blocks)


def _post(
    path: str,
    function: str,
    summary: str,
    answer: str | None = None,
    *,
    right: Right,
    body: str | None = "Object",
    needs_body: bool = False,
) -> Operation:
    return Operation("POST", path, function, right, summary, answer, body, needs_body, blocks=True)


_MODEL = "/v2/models/{model}[/versions/{version}]"
_SERVABLE = "/v1/models/{model}[/versions/{version}|/labels/{label}]"
_REPOSITORY = "/v2/repository[/{repository}]"
_SYSTEM, _CUDA = (f"/v2/{kind}sharedmemory[/region/{{region}}]" for kind in ("system", "cuda"))
_TRACE = "/v2[/models/{model}]/trace/setting"

#: In the order in which they are tried: the hot one first.
OPERATIONS: tuple[Operation, ...] = (
    _post(
        f"{_MODEL}/infer",
        INFER,
        "Run the model",
        "Answer",
        body="Request",
        needs_body=True,
        right=Right.INFERENCE,
    ),
    _post(
        f"{_SERVABLE}:predict",
        PREDICT,
        "Run the model",
        "Object",
        needs_body=True,
        right=Right.INFERENCE,
    ),
    _get("/v2/health/live", "live", "200 once the server answers", right=OPEN),
    _get("/v2/health/ready", "ready", "200 if every model is ready, else 400", right=OPEN),
    _get("/v2", "server", "The server's name, version and extensions", "Server"),
    _get("/v2/models/stats", "statistics", "Statistics of every model", "Object", blocks=True),
    _get("/v2/openapi.json", OPENAPI, "This document", "Object"),
    _get(_MODEL, "model", "The model's inputs and outputs", "Model"),
    _get(f"{_MODEL}/ready", "model_ready", "200 if the model is ready, else 400", right=OPEN),
    _get(f"{_MODEL}/config", "config", "The model's configuration", "Object"),
    _get(f"{_MODEL}/stats", "statistics", "The model's statistics", "Object", blocks=True),
    _post(
        f"{_REPOSITORY}/index", "index", "The models of the repository", "Index", right=Right.READ
    ),
    _post(f"{_REPOSITORY}/models/{{model}}/load", "load", "Load a model", right=Right.CONTROL),
    _post(
        f"{_REPOSITORY}/models/{{model}}/unload", "unload", "Unload a model", right=Right.CONTROL
    ),
    _get(
        f"{_SYSTEM}/status",
        "system_status",
        "The registered regions",
        "Index",
        right=Right.SHARED_MEMORY,
    ),
    _post(
        f"{_SYSTEM}/register",
        "system_register",
        "Register a region",
        needs_body=True,
        right=Right.SHARED_MEMORY,
    ),
    _post(
        f"{_SYSTEM}/unregister",
        "system_unregister",
        "Unregister one region, or all",
        right=Right.SHARED_MEMORY,
    ),
    _get(
        f"{_CUDA}/status",
        "cuda_status",
        "The registered regions",
        "Index",
        right=Right.SHARED_MEMORY,
    ),
    _post(
        f"{_CUDA}/register",
        "cuda_register",
        "Register a region",
        needs_body=True,
        right=Right.SHARED_MEMORY,
    ),
    _post(
        f"{_CUDA}/unregister",
        "cuda_unregister",
        "Unregister one region, or all",
        right=Right.SHARED_MEMORY,
    ),
    _get(_TRACE, "trace", "The trace settings", "Object"),
    _post(_TRACE, "trace", "Change trace settings", "Object", needs_body=True, right=Right.CONTROL),
    _get("/v1/models", "models", "The names of the models that are ready", "Object"),
    _get(_SERVABLE, "status", "The state of every version", "Object"),
    _get(f"{_SERVABLE}/metadata", "metadata", "Inputs and outputs", "Object", blocks=True),
    _post(
        f"{_SERVABLE}:classify",
        "classify",
        "Refused: call predict",
        right=Right.INFERENCE,
        body=None,
    ),
    _post(
        f"{_SERVABLE}:regress", "regress", "Refused: call predict", right=Right.INFERENCE, body=None
    ),
    _get("/v2/logging", "log", "The log settings", "Object"),
    _post(
        "/v2/logging", "log", "Change log settings", "Object", needs_body=True, right=Right.CONTROL
    ),
)
