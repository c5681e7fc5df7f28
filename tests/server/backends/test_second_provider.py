"""A second execution provider, for real, where this machine has one: OpenVINO, or WebGPU.

OpenVINO is built into the wheel onnxruntime-openvino, of any x86-64 processor, or comes as the plugin
onnxruntime-ep-openvino, of Intel's alone; the plugin onnxruntime-ep-webgpu wants a GPU. With neither, `make
test-openvino` brings the wheel.
"""

import logging
import urllib.request
from types import SimpleNamespace

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from zoo_server.backends.onnxruntime import plugins
from zoo_server.backends.onnxruntime.runtime import Runtime
from zoo_server.errors import ProviderError

ROWS = np.arange(8, dtype=np.float32).reshape(2, 4) - 3
WEIGHTS = np.random.default_rng(0).integers(-3, 4, (4, 4)).astype(np.float32)


@pytest.fixture(scope="module", params=["openvino", "webgpu"])
def second(request):
    """Return the name of a provider that runs here."""
    try:
        Runtime(provider=request.param, threads=1)
    except ProviderError as error:
        pytest.skip(f"no second provider: {error}")
    return request.param


@pytest.fixture
def partly(graphs):
    """A graph of which a second provider takes two nodes, and leaves Unique to the CPU."""
    return graphs.model(
        [
            helper.make_node("MatMul", ["x", "w"], ["a"]),
            helper.make_node("Relu", ["a"], ["b"]),
            helper.make_node("Unique", ["b"], ["y"]),
        ],
        [graphs.value("x", TensorProto.FLOAT, ["n", 4])],
        [graphs.value("y", TensorProto.FLOAT, [None])],
        (numpy_helper.from_array(WEIGHTS, "w"),),
    )


def accelerator(name, option=""):
    kind = "cpu" if name == "openvino" else "gpu"
    body = f'name: "{name}" {option}'
    return (
        f"optimization {{ execution_accelerators {{ {kind}_execution_accelerator {{ {body} }} }} }}"
    )


def option(key, value):
    return f'parameters {{ key: "{key}" value: "{value}" }}'


WHOLE = "max_batch_size: 0 "


def test_it_takes_its_nodes_and_leaves_the_others(
    repository, graphs, serve, partly, second, caplog
):
    """The answers are right, and log and metric tell which provider has which nodes."""
    caplog.set_level(logging.INFO, "zoo_server")
    repository.add("m", partly, WHOLE)
    with serve(repository.path, provider=second, metrics_port=0) as wire:
        answer = wire.infer("m", x=ROWS)["y"]
        address = wire.server.metrics_address
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as page:
            metrics = page.read().decode()

    assert answer == pytest.approx(np.unique(np.maximum(ROWS @ WEIGHTS, 0)))
    assert f"model m/1: {second} took 2 of 3 nodes; cpu has 1 Unique" in caplog.text
    assert f"serving m version 1 on {second}" in caplog.text
    for provider, nodes in ((second, 2), ("cpu", 1)):
        labels = f'model="m",version="1",provider="{provider}"'
        assert f"nv_model_provider_nodes{{{labels}}} {nodes}.0" in metrics


def test_one_model_asks_for_it(repository, graphs, serve, partly, second):
    """In config.pbtxt, with options; its neighbour stays on the CPU, and a wrong option is an error."""
    repository.add("asks", partly, WHOLE + accelerator(second))
    repository.add("plain", graphs.identity())
    repository.add("wrong", partly, WHOLE + accelerator(second, option("nonsense", "1")))
    with serve(repository.path) as wire:
        entries = {entry.name: entry for entry in wire.server.catalog.entries()}

        assert entries["asks"].model.provider == second
        assert dict(entries["asks"].model.nodes) == {second: 2, "cpu": 1}
        assert (entries["plain"].model.provider, entries["plain"].model.nodes) == ("cpu", ())
        assert "nonsense" in entries["wrong"].reason


def test_a_model_may_refuse_the_cpu(repository, graphs, serve, partly, second):
    """With onnxruntime's own entry a graph of which a node is left fails to load."""
    entry = 'parameters { key: "session.disable_cpu_ep_fallback" value { string_value: "1" } }'
    repository.add("m", partly, WHOLE + entry)
    with serve(repository.path, provider=second) as wire:
        reason = next(iter(wire.server.catalog.entries())).reason

    assert "fallback" in reason.lower()


def test_it_runs_in_a_process_of_its_own(repository, serve, partly, second):
    """An isolated model asks for it alike."""
    own = 'parameters { key: "isolation" value { string_value: "process" } }'
    repository.add("m", partly, WHOLE + own + accelerator(second))
    with serve(repository.path) as wire:
        assert dict(wire.server.catalog.find("m", "").nodes) == {second: 2, "cpu": 1}
        assert wire.infer("m", x=ROWS)["y"].size


@pytest.mark.parametrize("provider", ["openvino", "webgpu"])
def test_a_plugin_without_a_device_says_so(provider):
    """A server asked for it does not start, and hears what is missing."""
    try:
        Runtime(provider=provider, threads=1)
    except ProviderError as error:
        reason = str(error)
    else:
        pytest.skip(f"this machine has what {provider} runs on")

    assert f"onnxruntime-ep-{provider}" in reason
    missing = ("supports no device of this machine", "is not installed", "cannot be loaded")
    assert any(text in reason for text in missing)


class PluginModule:
    """onnxruntime as far as plugins see it, with a processor and a GPU that a plugin supports."""

    def __init__(self):
        self.registered = []

    def get_available_providers(self):
        return ["CPUExecutionProvider"]

    def register_execution_provider_library(self, name, library):
        self.registered.append((name, library))

    def get_ep_devices(self):
        kinds = [SimpleNamespace(type=SimpleNamespace(name=name)) for name in ("CPU", "GPU")]
        mine = [SimpleNamespace(ep_name="MineExecutionProvider", device=kind) for kind in kinds]
        return [SimpleNamespace(ep_name="CPUExecutionProvider", device=kinds[0]), *mine]


def test_a_plugin_is_registered_once_and_a_device_chosen(tmp_path, monkeypatch):
    """The first device, or the first of the kind asked for; a kind that is not there is named."""
    (tmp_path / "mine_ep.py").write_text("def get_library_path():\n    return '/mine.so'\n")
    about = tmp_path / "mine_ep-1.2.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: mine-ep\nVersion: 1.2\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(plugins.PACKAGES, "MineExecutionProvider", "mine-ep")
    module, added = PluginModule(), []
    mine = plugins.Plugins(module)
    options = SimpleNamespace(add_provider_for_devices=lambda *arguments: added.append(arguments))
    mine.add(options, "MineExecutionProvider", {"a": "1"})
    mine.add(options, "MineExecutionProvider", {"device_type": "GPU", "a": "2"})

    assert "MineExecutionProvider" in mine.names
    assert module.registered == [("MineExecutionProvider", "/mine.so")]
    assert [(device.device.type.name, rest) for (device,), rest in added] == [
        ("CPU", {"a": "1"}),
        ("GPU", {"a": "2"}),
    ]
    with pytest.raises(ProviderError, match=r"mine-ep 1.2 supports no NPU of .* here: CPU, GPU"):
        mine.device("MineExecutionProvider", "NPU")
