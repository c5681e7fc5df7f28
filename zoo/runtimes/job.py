"""What an isolated process is given to do: files to run, tensors to run them on.

    job.json    {"folder": F, "packages": P, "models": [{"model": 0, "path": ...,
                    "outputs": [NAME], "cases": [
                        {"case": 0, "feeds": [{"name", "file", "dtype", "shape"}]}]}]}
    tensors     raw bytes in C order in files of F, in this machine's byte order

The folder is a temporary one; the process writes its outputs there too, as raw bytes. It never gets
at the model's own file: onnx2tf writes the simplified graph over the file it is given, and pnnx
puts others beside it, which in a repository would spoil a published version.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zoo.parity.compare import Case, Refusal
from zoo.runtimes.environments import Environment

#: A subject's number and a case's.
Step = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A model file and the cases to run it on."""

    path: Path
    cases: tuple[Case, ...]


def write_feeds(folder: Path, subjects: Sequence[Subject]) -> dict[Step, Refusal]:
    """Write every feed as raw bytes; return a refusal for each case with text, which has none."""
    refused = {}
    for number, subject in enumerate(subjects):
        for c, case in enumerate(subject.cases):
            for position, (name, array) in enumerate(case.feeds.items()):
                if array.dtype.kind in "OSU":
                    reason = f"not tried: {name} is text, which is not handed to other processes"
                    refused[number, c] = Refusal(reason)
                else:
                    np.ascontiguousarray(array).tofile(folder / f"in-{number}-{c}-{position}")
    return refused


Rest = Mapping[int, tuple[Subject, list[int]]]


def write_models(folder: Path, rest: Rest) -> None:
    """Put a fresh copy of every model that remains into the folder, with its external data."""
    for number, (subject, _) in rest.items():
        copy = _copy(folder, number, subject)
        shutil.rmtree(copy.parent, ignore_errors=True)
        copy.parent.mkdir()
        shutil.copyfile(subject.path, copy)
        for name in _external_files(subject.path):
            shutil.copyfile(subject.path.parent / name, copy.parent / name)


def _copy(folder: Path, number: int, subject: Subject) -> Path:
    return folder / f"model-{number}" / subject.path.name


def _external_files(path: Path) -> set[str]:
    """Return the names of files beside a model that hold its larger tensors; none if unreadable."""
    import onnx
    from google.protobuf.message import DecodeError

    try:
        graph = onnx.load(path, load_external_data=False).graph
    except DecodeError:
        return set()  # the runtime will say what it thinks of it
    named = {
        entry.value
        for tensor in graph.initializer
        for entry in tensor.external_data
        if entry.key == "location"
    }
    return {name for name in named if Path(name).name == name and (path.parent / name).is_file()}


def job_values(folder: Path, environment: Environment, rest: Rest) -> dict[str, Any]:
    """Return the job for what remains."""
    return {
        "folder": os.fspath(folder),
        "packages": os.fspath(environment.folder.absolute()),
        "models": [
            {
                "model": number,
                "path": os.fspath(_copy(folder, number, subject)),
                "outputs": list(subject.cases[0].expected),
                "cases": [{"case": c, "feeds": _feeds(number, c, subject.cases[c])} for c in cases],
            }
            for number, (subject, cases) in rest.items()
        ],
    }


def _feeds(number: int, c: int, case: Case) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "file": f"in-{number}-{c}-{position}",
            "dtype": array.dtype.name,
            "shape": list(array.shape),
        }
        for position, (name, array) in enumerate(case.feeds.items())
    ]


def read_output(folder: Path, tensor: Mapping[str, Any]) -> np.ndarray:
    """Read one output and remove its file."""
    path = folder / tensor["file"]
    array = np.fromfile(path, dtype=tensor["dtype"]).reshape(tensor["shape"])
    path.unlink()
    return array
