"""Checks inputs that come as files of pictures: one a row, as BYTES; what is in them is read later. Pure."""

import numpy as np

from zoo_server import datatypes
from zoo_server.errors import InvalidRequest
from zoo_server.inference.plan import PlannedInput
from zoo_server.inference.request import InputTensor
from zoo_server.inference.shared_memory import Source
from zoo_server.model_config import InputSettings

#: How the files begin that are read: JPEG and PNG.
SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")


def is_picture(sent: InputTensor, settings: InputSettings) -> bool:
    """Tell whether an input that encodes an image comes as files."""
    return settings.image is not None and sent.datatype == "BYTES"


def planned_picture(sent: InputTensor, batch_size: int) -> PlannedInput:
    """Return an input that comes as files; InvalidRequest unless there is one a row."""
    dims = sent.shape[1:] if batch_size else sent.shape
    if dims not in ((), (1,)):
        raise InvalidRequest(
            f"input '{sent.name}' has BYTES of shape {list(sent.shape)}: pictures come one a row, as "
            f"{'[N] or [N, 1]' if batch_size else '[1]'}"
        )
    return PlannedInput(
        name=sent.name, dtype=np.dtype(object), shape=(batch_size or 1,), nbytes=None
    )


def files_of(sent: InputTensor, count: int) -> np.ndarray:
    """Return an input's files, one an element; InvalidRequest if there are not so many."""
    label = f"inference input '{sent.name}'"
    data = sent.data.read() if isinstance(sent.data, Source) else sent.data
    try:
        if isinstance(data, bytes | memoryview):
            pieces = list(datatypes.parse_pieces(data, count, tensor=label))
        else:
            if isinstance(data, np.ndarray) or len(data) != count:
                raise datatypes.miscounted(len(data), count, tensor=label)
            pieces = list(datatypes.pieces_of(data))
    except ValueError as error:
        raise InvalidRequest(str(error)) from None
    return datatypes.object_array_of(pieces, (count,))
