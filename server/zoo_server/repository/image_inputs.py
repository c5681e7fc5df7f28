"""The parameter `image` of config.pbtxt, by which an input that encodes one takes files of pictures.

    parameters { key: "image" value { string_value: '{"mode": "L", "size": [8, 8], "range": [0, 16], "crop": "centre"}' } }

It is what the zoo publishes (zoo_server.images.description). Another program's parameter of that name, and
one that fits no input, changes nothing.
"""

from zoo_proto import model_config_pb2
from zoo_server.datatypes import DataType
from zoo_server.images.description import Image

PARAMETER = "image"

#: How many channels Pillow's modes have that models take.
_CHANNELS = {"L": 1, "RGB": 3}

#: A side of an image, and of the canvas that ink is put on.
_LONGEST_SIDE = 4096


def image_of(config: model_config_pb2.ModelConfig) -> Image | None:
    """Return the description of an image, None if there is none, or requests belong to sequences."""
    if PARAMETER not in config.parameters or config.HasField("sequence_batching"):
        return None
    try:
        image = Image.from_text(config.parameters[PARAMETER].string_value)
    except ValueError:
        return None
    return image if _is_sound(image) else None


def is_of(image: Image | None, datatype: DataType, dims: tuple[int, ...]) -> bool:
    """Tell whether an input of numbers, without its batch, takes the values of an image."""
    return (
        image is not None
        and datatype.byte_size is not None
        and dims == (*image.size, _CHANNELS[image.mode])
    )


def _is_sound(image: Image) -> bool:
    ink = image.ink
    if image.mode not in _CHANNELS or not all(0 < side <= _LONGEST_SIDE for side in image.size):
        return False
    if ink is None:
        return True
    return (
        image.mode == "L"
        and 0 < ink.canvas <= _LONGEST_SIDE
        and 0 < ink.blocks <= ink.canvas
        and ink.canvas % ink.blocks == 0
        and all(0 < side <= ink.canvas for side in ink.box)
    )
