"""An identity model of every datatype, and a server of them on every wire."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import helper

from zoo_server.config import TRANSPORTS, ServerConfig
from zoo_server.datatypes import DATA_TYPES, DataType
from zoo_server.server import running


def _identity(kind: DataType) -> bytes:
    """x -> y, unchanged, four elements a row; opset 17, IR 8."""
    values = [
        helper.make_tensor_value_info(name, kind.onnx_enum, ["batch", 4]) for name in ("x", "y")
    ]
    node = helper.make_node("Identity", ["x"], ["y"])
    graph = helper.make_graph([node], "identity", values[:1], values[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    data: bytes = model.SerializeToString()
    return data


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of `identity_fp32` and its like."""
    path = tmp_path_factory.mktemp("datatypes") / "models"
    for kind in DATA_TYPES:
        folder = path / f"identity_{kind.wire.lower()}" / "1"
        folder.mkdir(parents=True)
        (folder / "model.onnx").write_bytes(_identity(kind))
    return path


@pytest.fixture(scope="session", params=TRANSPORTS)
def server(request: pytest.FixtureRequest, repository: Path) -> Iterator[Any]:
    """A running server, over each transport: gRPC, REST and shared memory."""
    config = ServerConfig(
        repository=repository,
        grpc_port=0,
        http_port=0,
        metrics_port=None,
        transport=request.param,
        allow_shared_memory=True,
        drain_seconds=2.0,
    )
    with running(config) as served:
        yield served
