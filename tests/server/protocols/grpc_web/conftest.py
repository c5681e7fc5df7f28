"""A server of one model that answers gRPC-Web, and who asks it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.server.web_callers import WebCaller


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, graphs: Any, serve: Any) -> Iterator[Any]:
    """The server, by gRPC."""
    folder = tmp_path_factory.mktemp("web") / "models" / "m"
    (folder / "1").mkdir(parents=True)
    (folder / "1" / "model.onnx").write_bytes(graphs.identity(shape=("n", "k")))
    (folder / "config.pbtxt").write_text("max_batch_size: 8")
    with serve(folder.parent, http_port=0, grpc_web=True) as wire:
        yield wire


@pytest.fixture
def web(served: Any) -> Iterator[WebCaller]:
    """The same, by gRPC-Web."""
    caller = WebCaller(served.server.http_address)
    yield caller
    caller.close()
