"""The catalogue of measured runtimes: names, pinned packages, adapters.

This table is the one place that says which versions are measured. What a runtime installs stays in
its environment (zoo/runtimes/environments.py); how its files are run stands in its adapter
(zoo/runtimes/runners).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from zoo.errors import UsageError, did_you_mean

RUNNERS = Path(__file__).parent / "runners"


@dataclass(frozen=True, slots=True, kw_only=True)
class IsolatedRuntime:
    """A program that runs ONNX files in its own process, with what must be installed for it.

    `pins` are exact requirements, pip's `name==version` or npm's `name@version`; those of `alone`
    are installed without what they declare to need. `note` says how the runtime is set up.
    """

    name: str
    version: str
    adapter: str
    pins: tuple[str, ...]
    alone: tuple[str, ...] = ()
    note: str = ""

    @property
    def script(self) -> Path:
        """The adapter's file."""
        return RUNNERS / self.adapter

    @property
    def on_node(self) -> bool:
        """Whether it is an npm package, run by node."""
        return self.adapter.endswith(".mjs")


#: The runtimes that share this process, as `zoo verify` without --runtimes uses them.
IN_PROCESS = {
    "onnxruntime": "CPU, one thread, in the zoo's own process",
    "onnx-reference": "the standard's own evaluator, in numpy, in the zoo's own process",
}

#: numpy for every Python environment, so that arrays mean the same in all of them.
NUMPY = "numpy==2.4.6"

ISOLATED = (
    IsolatedRuntime(
        name="onnxruntime-oldest",
        version="1.20.1",
        adapter="onnxruntime_adapter.py",
        pins=("onnxruntime==1.20.1", NUMPY),
        note="the oldest release that pyproject.toml allows",
    ),
    IsolatedRuntime(
        name="openvino",
        version="2026.4.1",
        adapter="openvino_adapter.py",
        pins=(NUMPY,),
        alone=("openvino==2026.4.1",),  # without openvino-telemetry, which its tools alone use
        note="CPU, INFERENCE_PRECISION_HINT f32: by default it computes in bf16 where it can",
    ),
    IsolatedRuntime(
        name="opencv",
        version="5.0.0.93",
        adapter="opencv_adapter.py",
        pins=("opencv-python-headless==5.0.0.93", NUMPY),
        note="cv2.dnn, its default engine",
    ),
    IsolatedRuntime(
        name="opencv-4",
        version="4.14.0.94",
        adapter="opencv_adapter.py",
        pins=("opencv-python-headless==4.14.0.94", NUMPY),
        note="cv2.dnn of the line before, still the more widely installed one",
    ),
    IsolatedRuntime(
        name="tract",
        version="0.23.9",
        adapter="tract_adapter.py",
        pins=("tract==0.23.9", NUMPY),
        note="shapes set from the feeds before the graph is optimised",
    ),
    IsolatedRuntime(
        name="onnxruntime-node",
        version="1.30.0",
        adapter="onnxruntime_node.mjs",
        pins=("onnxruntime-node@1.30.0", "onnxruntime-common@1.30.0"),
        note="node's native binding, CPU",
    ),
    IsolatedRuntime(
        name="onnxruntime-web",
        version="1.30.0",
        adapter="onnxruntime_web.mjs",
        pins=("onnxruntime-web@1.30.0", "onnxruntime-common@1.30.0"),
        note="WebAssembly, one thread, run by node",
    ),
    IsolatedRuntime(
        name="onnx2torch",
        version="1.5.15",
        adapter="onnx2torch_adapter.py",
        pins=("torch==2.13.0", "onnx==1.23.2", NUMPY),
        # A torch built without CUDA does as well, and is a tenth of the size: which one it is,
        # pip's own configuration decides. Without torchvision, which two operators need and whose
        # wheel does not load beside such a torch.
        alone=("onnx2torch==1.5.15",),
        note="converted to a torch 2.13.0 module, CPU",
    ),
    IsolatedRuntime(
        name="jaxonnxruntime",
        version="0.3.0",
        adapter="jaxonnxruntime_adapter.py",
        # It uses absl-py, chex and onnx without declaring them.
        pins=(
            "jax==0.10.2",
            "jaxlib==0.10.2",
            "absl-py==2.3.1",
            "chex==0.1.92",
            "onnx==1.23.2",
            NUMPY,
        ),
        alone=("jaxonnxruntime==0.3.0",),
        note="the graph as jax 0.10.2 operations, CPU, not compiled",
    ),
    IsolatedRuntime(
        name="tvm",
        version="0.27.0.post1",
        adapter="tvm_adapter.py",
        pins=("apache-tvm==0.27.0.post1", "onnx==1.23.2", NUMPY),
        note="the relax frontend, compiled by LLVM for this CPU",
    ),
    IsolatedRuntime(
        name="ncnn",
        version="1.0.20261020",
        adapter="ncnn_adapter.py",
        pins=(NUMPY,),
        # Without what they declare for downloading models; pnnx is its converter.
        alone=("ncnn==1.0.20261020", "pnnx==20261020"),
        note="converted by pnnx with fp16 off; it has no batch, so rows are run one by one",
    ),
    IsolatedRuntime(
        name="litert",
        version="2.1.0",
        adapter="litert_adapter.py",
        pins=("onnx2tf==1.29.24", "ai-edge-litert==2.1.0", "tensorflow==2.19.0", "numpy==1.26.4"),
        note="converted by onnx2tf 1.29.24, which pins all that it needs, and run by LiteRT, CPU",
    ),
)


def descriptions() -> dict[str, str]:
    """Return how each runtime is set up, by name, in the order of the tables."""
    return IN_PROCESS | {runtime.name: runtime.note for runtime in ISOLATED}


def select(text: str) -> tuple[str, ...]:
    """Return the names in a comma-separated list, or every one for "all".

    Raises UsageError for a name that is none of them, with the nearest ones.
    """
    known = list(descriptions())
    if text == "all":
        return tuple(known)
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in known:
            hint = did_you_mean(name, known) or f"give {', '.join(known)}, or all"
            raise UsageError(f"--runtimes: no runtime is called {name!r}: {hint}")
    if not names:
        raise UsageError(f"--runtimes names no runtime: {', '.join(known)}, or all")
    return tuple(name for name in known if name in names)
