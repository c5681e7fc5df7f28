"""tract, its default CPU runtime.

The feeds' shapes are set before the graph is analysed, so each shape gets a program of its own:
with a symbolic batch tract's import of recurrent operators ends the process. The file's own shapes
of outputs name the symbol, so they are cleared. Outputs come back in the graph's order, under names
of tract's own.
"""

from collections.abc import Callable

import numpy as np
import tract

#: numpy's names of types to the ones tract's facts are written in.
TYPES = {
    "float32": "f32",
    "float64": "f64",
    "int64": "i64",
    "int32": "i32",
    "int8": "i8",
    "uint8": "u8",
    "bool": "bool",
}


def version() -> str:
    """Return the native library's version."""
    return str(tract.version())


def load(path: str, outputs: list[str]) -> Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]:
    """Parse the file; each run plans it for its feeds' shapes."""
    tract.onnx().load(path)  # so that a file it refuses is refused at load

    def run(feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        model = tract.onnx().load(path)
        inputs = [model.input_name(i) for i in range(model.input_count())]
        for position in range(model.output_count()):
            model.set_output_fact(position, None)
        for position, name in enumerate(inputs):
            array = feeds[name]
            model.set_input_fact(
                position, ",".join([*map(str, array.shape), TYPES[array.dtype.name]])
            )
        answers = model.into_model().into_runnable().run([feeds[name] for name in inputs])
        return dict(zip(outputs, (answer.to_numpy() for answer in answers), strict=True))

    return run


def reason(text: str) -> str:
    """Return an error's words and causes without the stack."""
    return text.partition("Stack backtrace")[0]
