"""onnxruntime's error messages as a caller may see them: one line, without this machine's paths."""

import re
from functools import lru_cache
from pathlib import Path

#: "[ONNXRuntimeError] : 7 : INVALID_PROTOBUF : …", which may stand in the middle too.
_PREAMBLE = re.compile(r"\[ONNXRuntimeError\] : \d+ : \w+ : ")

#: Absolute paths, quoted ones with spaces. Names of nodes look alike ("/layer1/Conv").
_QUOTED = re.compile(r"""(["'])(/[^"']*)\1""")
_BARE = re.compile(r"""(?<![\w./"'])/[^\s"',;]+""")

#: Where onnxruntime was built; a line of its source tells a caller nothing.
_SOURCE = re.compile(r"/onnxruntime_src/\S+:\d+ ")

#: Which operator an allocation failed in.
_OPERATOR = re.compile(r"while running (\w+) node")

_LONGEST = 1000

#: What its arena and the C++ library say.
_ALLOCATIONS = ("Failed to allocate memory", "bad_alloc", "bad allocation")


def one_line(error: Exception) -> str:
    """Return a message without its preamble."""
    return _PREAMBLE.sub("", " ".join(str(error).split()))


def is_out_of_memory(error: Exception) -> bool:
    """Tell whether an allocation failed: onnxruntime has no status for it."""
    return isinstance(error, MemoryError) or any(text in str(error) for text in _ALLOCATIONS)


def memory_reason(error: Exception | None, limit_bytes: int) -> str:
    """Return what a caller hears whose run was refused memory; the process has a limit, or 0."""
    operator = _OPERATOR.search(str(error))
    wants = f"operator {operator[1]} of the model wants" if operator else "the run wants"
    if not limit_bytes:
        return f"{wants} more memory than there is: send a smaller request"
    return (
        f"{wants} more than isolation_memory_mb {limit_bytes >> 20} allows: send a smaller request, or "
        "raise it in config.pbtxt"
    )


def without_paths(error: Exception, folder: Path) -> str:
    """Return a message in which files of this machine have their last name only.

    `folder` is that of the model: its path may hold anything, spaces too.
    """
    text = _SOURCE.sub("", one_line(error))
    for known in (folder, Path(folder).resolve()):
        text = text.replace(f"{known}/", "").replace(str(known), known.name)
    text = _QUOTED.sub(lambda match: f"{match[1]}{_last(match[2])}{match[1]}", text)
    return _BARE.sub(lambda match: _last(match[0]), text)[:_LONGEST]


def _last(path: str) -> str:
    """Return the last name of a path of this machine; what begins elsewhere is a node's name."""
    return path.rstrip("/").rpartition("/")[2] if _exists(path.split("/")[1]) else path


@lru_cache(256)
def _exists(name: str) -> bool:
    return bool(name) and Path("/", name).exists()
