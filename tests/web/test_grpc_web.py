"""gRPC's own client for browsers (the npm package grpc-web), in the machine's Chromium, from another origin's page."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from playwright.sync_api import Browser

from tests.server.grpc_callers import infer_request
from tests.server.http_callers import rest_server
from tests.server.onnx_graphs import Graphs
from tests.web.conftest import PATIENCE
from zoo.errors import ZooError
from zoo.site.npm import Package
from zoo_proto import grpc_service_pb2 as pb

pytestmark = pytest.mark.slow

CLIENT = Package(
    "grpc-web",
    "2.1.1",
    "sha512-6Yxso4djycqREHvhCBGdcxxqhgEf2EYWa7QqQ07v4drZBHg/N9C3f27epjJYjl4KIsGpkB0g+wn9TrYepSC35Q==",
)

INFERENCE = "/inference.GRPCInferenceService/"

#: Calls a method with bytes, and tells what the client says of it.
CALL = """
async ({server, method, kind, streams, message, metadata}) => {
  const { GrpcWebClientBase, MethodDescriptor } = await import("/grpc-web.mjs");
  const client = new GrpcWebClientBase({ format: kind });
  const type = streams ? "server_streaming" : "unary";
  const described = new MethodDescriptor(
    method, type, Uint8Array, Uint8Array, sent => sent, came => came);
  const request = [server + method, new Uint8Array(message), metadata, described];
  return await new Promise(resolve => {
    const said = { messages: [], code: null, details: "" };
    const status = ({ code, details, message }) => {
      [said.code, said.details] = [code, details ?? message];
    };
    const data = came => said.messages.push([...came]);
    if (streams) {
      const stream = client.serverStreaming(...request);
      stream.on("data", data);
      stream.on("status", status);
      stream.on("error", error => { status(error); resolve(said); });
      stream.on("end", () => resolve(said));
      return;
    }
    client.rpcCall(...request, (error, came) => {
      if (error) status(error);
      else { said.code = 0; data(came); }
      resolve(said);
    });
  });
}
"""


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def origin(tmp_path: Path) -> Iterator[str]:
    """Where a page lies with the client beside it."""
    try:
        (client,) = CLIENT.files(("index.esm.js",))
    except ZooError as error:
        pytest.skip(str(error))
    (tmp_path / "page").mkdir()
    (tmp_path / "page" / "index.html").write_text("<title>a page</title>")
    (tmp_path / "page" / "grpc-web.mjs").write_bytes(client)
    handler = partial(_Quiet, directory=str(tmp_path / "page"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("kind", ["binary", "text"])
def test_a_page_asks_models(browser: Browser, origin: str, tmp_path: Path, kind: str) -> None:
    """Answers, statuses, deadlines and streams are gRPC's; the token and the origin count."""
    model = tmp_path / "models" / "m" / "1" / "model.onnx"
    model.parent.mkdir(parents=True)
    model.write_bytes(Graphs().identity())
    (tmp_path / "token").write_text("sesame\n")
    options = {"grpc_web": True, "http_cors_origin": (origin,), "token_file": tmp_path / "token"}
    x = np.arange(4, dtype=np.float32)[None]
    infer = infer_request("m", x=x).SerializeToString()
    nobody = pb.ModelInferRequest(model_name="nöbody").SerializeToString()
    with rest_server(tmp_path / "models", **options) as rest, browser.new_context() as context:
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        page.goto(origin)

        def call(method: str, message: bytes, streams: bool = False, **metadata: str) -> Any:
            path = method if method.startswith("/") else INFERENCE + method
            sent = {"authorization": "Bearer sesame", **metadata}
            asked = {"method": path, "kind": kind, "streams": streams, "message": list(message)}
            server = f"http://{rest.server.http_address}"
            return page.evaluate(CALL, {"server": server, "metadata": sent, **asked})

        answered = call("ModelInfer", infer)
        unknown = call("ModelInfer", nobody)
        stranger = call("ModelInfer", infer, authorization="Bearer other")
        streamed = call("ModelStreamInfer", infer, streams=True)
        refused = call("ModelStreamInfer", nobody, streams=True, triton_grpc_error="true")
        watched = call("/grpc.health.v1.Health/Watch", b"", streams=True, **{"grpc-timeout": "1S"})

    assert answered["code"] == 0
    raw = pb.ModelInferResponse.FromString(bytes(answered["messages"][0])).raw_output_contents[0]
    assert raw == x.tobytes()
    for said in (unknown, refused):
        assert said["code"] == grpc.StatusCode.NOT_FOUND.value[0]
        assert "unknown model: 'nöbody'" in said["details"]
    assert stranger["code"] == grpc.StatusCode.UNAUTHENTICATED.value[0]
    (one,) = streamed["messages"]
    response = pb.ModelStreamInferResponse.FromString(bytes(one)).infer_response
    assert (streamed["code"], response.raw_output_contents[0]) == (0, x.tobytes())
    assert watched["messages"] == [[8, 1]]
    assert watched["code"] == grpc.StatusCode.DEADLINE_EXCEEDED.value[0]
