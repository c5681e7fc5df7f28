"""What is sent to models that are not simply run: an ensemble, a warmed-up model, and a cached one."""

from collections.abc import Iterator

import numpy as np

from tests.interop.differential.requests import COUNTED, Case, ask, copied, infer, pair
from zoo_proto import grpc_service_pb2 as pb


def scheduled() -> Iterator[Case]:
    """Yield the cases of each; their counts are asked for at the end."""
    yield from _ensemble()
    yield from _cached()
    for model in ("chain", "cached", "warm"):
        for method, request in (
            ("ModelMetadata", pb.ModelMetadataRequest(name=model)),
            ("ModelConfig", pb.ModelConfigRequest(name=model)),
            ("ModelReady", pb.ModelReadyRequest(name=model)),
        ):
            yield Case(f"scheduled/{model}/{method}", method, (request,))
        statistics = pb.ModelStatisticsRequest(name=model)
        yield Case(f"{COUNTED}{model}", "ModelStatistics", (statistics,))


def _chain(
    names: tuple[str, ...] = ("a", "b"), rows: tuple[int, ...] = (1, 1)
) -> pb.ModelInferRequest:
    request: pb.ModelInferRequest = pair(names, rows)
    request.model_name = "chain"
    return request


def _wants(*outputs: str) -> pb.ModelInferRequest:
    request = _chain()
    for name in outputs:
        request.outputs.add(name=name)
    return request


def _ensemble() -> Iterator[Case]:
    kind, shape, short = _chain(), _chain(), _chain()
    kind.inputs[0].datatype = "FP32"
    shape.inputs[0].shape[1] = 2
    short.raw_input_contents[0] = b"1234"
    flat = _chain()
    flat.inputs[1].shape[:] = [4]
    version, other = _chain(), _chain()
    version.model_version, other.model_version = "1", "2"
    rows = {
        "one row": _chain(),
        "three rows": _chain(rows=(3, 3)),
        "as many as may be": _chain(rows=(8, 8)),
        "too many rows": _chain(rows=(9, 9)),
        "no rows": _chain(rows=(0, 0)),
        "rows that differ": _chain(rows=(2, 3)),
        "the other order": _chain(("b", "a")),
        "an input is missing": _chain(("a",)),
        "an input too many": _chain(("a", "b", "c")),
        "an unknown input": _chain(("a", "z")),
        "an input twice": _chain(("a", "a")),
        "an inner tensor as an input": _chain(("a", "sum")),
        "one output": _wants("d"),
        "outputs in another order": _wants("d", "c"),
        "an unknown output": _wants("z"),
        "an inner tensor as an output": _wants("sum"),
        "another datatype": kind,
        "another shape": shape,
        "too few bytes": short,
        "no batch dimension": flat,
        "version 1": version,
        "version 2": other,
    }
    for what, request in rows.items():
        yield infer(f"ensemble/{what}", request)


def _cached() -> Iterator[Case]:
    request = ask("cached", (2, 4))
    other = ask("cached", (2, 4), raw=np.full(8, 3, np.float32).tobytes())
    by_name = copied(request)
    by_name.outputs.add(name="y")
    wrong = ask("cached", (2, 4), raw=b"")
    another_id = copied(request)
    another_id.id = "another"
    rows = {
        "first": request,
        "again": request,
        "with another id": another_id,
        "other data": other,
        "the first again": request,
        "its output by name": by_name,
        "of the wrong size": wrong,
        "one row": ask("cached", (1, 4)),
        "one row again": ask("cached", (1, 4)),
    }
    for what, asked in rows.items():
        yield infer(f"cached/{what}", asked)
