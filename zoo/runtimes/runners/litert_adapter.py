"""LiteRT, through onnx2tf's conversion to a float32 TFLite file.

onnx2tf would move the channels of an input that looks like an image; ours already have them last,
so every input keeps its shape.
"""

import os
import tempfile
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
import numpy as np
import onnx
import onnx2tf
from ai_edge_litert.interpreter import Interpreter

#: onnx2tf tries its own conversion of an image model on these, and downloads them where they are
#: not in the working folder: any values do.
SAMPLES = "calibration_image_sample_data_20x128x128x3_float32.npy"


def version() -> str:
    """Return LiteRT's version."""
    return metadata.version("ai-edge-litert")


def load(path: str, outputs: list[str]) -> Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]:
    """Convert the file; its signature is in the graph's own names."""
    if not Path(SAMPLES).exists():
        np.save(SAMPLES, np.random.default_rng(0).random((20, 128, 128, 3), np.float32))
    graph = onnx.load(path).graph
    initializers = {tensor.name for tensor in graph.initializer}
    folder = Path(tempfile.mkdtemp(dir=Path.cwd()))
    onnx2tf.convert(
        input_onnx_file_path=path,
        output_folder_path=str(folder),
        copy_onnx_input_output_names_to_tflite=True,
        keep_shape_absolutely_input_names=[
            v.name for v in graph.input if v.name not in initializers
        ],
        not_use_onnxsim=True,
        non_verbose=True,
        verbosity="error",
    )
    (file,) = folder.glob("*_float32.tflite")

    def run(feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        interpreter = Interpreter(model_path=str(file), num_threads=1)
        (key,) = interpreter.get_signature_list()
        runner = interpreter.get_signature_runner(key)
        answers = runner(**feeds)
        return {name: np.array(answers[name]) for name in outputs}

    return run
