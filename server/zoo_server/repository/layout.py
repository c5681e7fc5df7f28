"""The names of files and folders in a model repository of Triton's layout.

    REPOSITORY/MODEL/config.pbtxt
    REPOSITORY/MODEL/VERSION/model.onnx
    REPOSITORY/MODEL/VERSION/model.onnx.data   its external data, if it has some
    REPOSITORY/MODEL/VERSION/manifest.json
    REPOSITORY/MODEL/VERSION/test_data_set_0/input_0.pb output_0.pb
    REPOSITORY/.tmp-…                        being written, invisible to readers

Standard library only: the zoo writes by these names and the server reads by them.
"""

import re
from pathlib import Path

CONFIG_FILE = "config.pbtxt"
MODEL_FILE = "model.onnx"
#: Follows a model file's name in that of the file with its larger weights.
DATA_SUFFIX = ".data"
MANIFEST_FILE = "manifest.json"
VECTORS_PREFIX = "test_data_set_"
TEMPORARY_PREFIX = ".tmp-"

#: First and last object of a version in a store, which has no rename (remote/listing.py): with the first alone it
#: is not there yet, also where the store is mounted as a folder.
UPLOAD_MARKER = ".upload"
COMPLETE_MARKER = ".complete"

#: What file systems commonly allow for one name; a longer one fails late and obscurely.
MAX_NAME_BYTES = 255


def check_model_name(name: str) -> str:
    """Return `name` if it can be a model's folder; ValueError says why it cannot.

    A name becomes one path component, so whatever could reach another folder is refused
    (docs/protocol.md 4.4, model-name validation).
    """
    reason = None
    if not name.strip():
        reason = "it is blank"
    elif "/" in name or "\\" in name:
        reason = "it contains a path separator"
    elif name.startswith("."):
        reason = "it starts with a dot, which marks hidden entries"
    elif any(not character.isprintable() for character in name):
        reason = "it contains a control or other unprintable character"
    elif name != name.strip():
        reason = "it begins or ends with a space"
    elif len(name.encode("utf-8", "surrogatepass")) > MAX_NAME_BYTES:
        reason = f"it is longer than {MAX_NAME_BYTES} bytes"
    if reason is not None:
        raise ValueError(f"{name[:80]!r} cannot be a model name: {reason}")
    return name


def number_at_end(path: Path) -> int:
    """Return the number that a name ends in, so that 10 sorts after 9; -1 without one."""
    match = re.search(r"(\d+)$", path.stem)
    return int(match[1]) if match else -1


def is_hidden(name: str) -> bool:
    """Tell whether readers pass over this entry (TEMPORARY_PREFIX is one case of it)."""
    return name.startswith(".")


def is_plain_name(name: str) -> bool:
    """Tell whether a name is that of a file in its folder, and leads nowhere else."""
    return name not in ("", "..", ".") and not any(sign in name for sign in "/\\\0")


def version_number(name: str) -> int | None:
    """Return the version that a folder of this name holds, or None.

    Only a positive decimal number without leading zeros is one, as in Triton: "01" would be a second
    spelling of 1, and 0 stands for "none asked" on the wire.
    """
    if name.isascii() and name.isdigit() and not name.startswith("0") and len(name) < 19:
        return int(name)
    return None


def version_numbers(model_folder: Path) -> list[int]:
    """Return the versions in a model's folder, ascending; anything else in it is ignored."""
    return sorted(
        number
        for entry in model_folder.iterdir()
        if (number := version_number(entry.name)) is not None and entry.is_dir()
    )
