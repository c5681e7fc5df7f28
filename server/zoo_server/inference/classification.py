"""Classification outputs: the k best classes instead of an output's values (docs/protocol.md 2.3).

Each class is a BYTES element `value:index[:label]`, best first; the shape is [k], or [batch, k] where
the model batches. Values are written as C's %f writes them, as Triton does.
"""

import numpy as np

from zoo_server import datatypes
from zoo_server.errors import InvalidRequest
from zoo_server.inference.request import OutputTensor
from zoo_server.model_config import OutputSettings

#: Sorting more than this for one answer is an attack, not a question (docs/protocol.md 4.4).
MAX_ELEMENTS = 1_000_000


def classify(
    settings: OutputSettings, values: np.ndarray, classes: int, batch_size: int
) -> OutputTensor:
    """Return the best `classes` of each row; more than there are is clipped.

    InvalidRequest for an element type without an order, or an output too large to sort.
    """
    wire = settings.datatype.wire
    if values.dtype.kind not in "iuf" or wire in ("FP16", "BF16"):
        raise InvalidRequest(
            f"class result not available for output due to unsupported type '{wire}'"
        )
    rows = values.reshape(batch_size, -1) if batch_size else values.reshape(1, -1)
    if rows.shape[1] > MAX_ELEMENTS:
        raise InvalidRequest("classification output tensor too large")
    count = min(classes, rows.shape[1])
    elements = [element for row in rows for element in _best(settings.labels, row, count)]
    return OutputTensor(
        name=settings.name,
        datatype="BYTES",
        shape=(batch_size, count) if batch_size else (count,),
        raw=datatypes.serialize_bytes(elements),
    )


def _best(labels: tuple[str, ...], row: np.ndarray, count: int) -> list[str]:
    # Sorting the reverse of the reversed row keeps equal values in index order.
    order = (len(row) - 1 - np.argsort(row[::-1], kind="stable"))[::-1][:count]
    number_format = "%f" if row.dtype.kind == "f" else "%d"
    return [
        f"{number_format % row[index]}:{index}"
        + (f":{labels[index]}" if index < len(labels) else "")
        for index in order.tolist()
    ]
