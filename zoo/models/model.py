"""A loaded model: `load` it by name, folder, file or from a server; `predict` answers in words.

>>> model = zoo.load("dense_iris")
>>> model.predict([5.1, 3.5, 1.4, 0.2])[0].label
'setosa'
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from zoo.errors import UsageError
from zoo.models.find import model_file
from zoo.models.inputs import tensors
from zoo.models.interface import Array, Backend, InputSpec, Run
from zoo.models.predictions import Prediction, nothing_drawn, predictions
from zoo_server.images.reading import is_blank

if TYPE_CHECKING:
    from zoo.client import Client

#: Where models run unless the caller says otherwise.
PROVIDERS = ("CPUExecutionProvider",)


def load(
    model: str | PathLike[str],
    *,
    version: int | None = None,
    repository: str | PathLike[str] | None = None,
    server: str | Client | None = None,
    providers: Sequence[str] = PROVIDERS,
) -> Model:
    """Load a published model by name, a model's or a version's folder, or any .onnx file.

    A name is looked up in `repository` (default: `models`, else the package layer-zoo-models), or,
    with `server` ("127.0.0.1:8001", or a zoo.client.Client with a token or TLS), asked of a server:
    the object is the same. `providers` are onnxruntime's, for a model that runs here.

    Raises UsageError for what is not there or cannot be loaded, MissingPackage without onnxruntime.
    """
    if server is not None:
        from zoo.models.remote import RemoteBackend

        return Model(RemoteBackend(str(model), str(version or ""), server))
    from zoo.models.local import LocalBackend

    return Model(LocalBackend(model_file(model, version, repository), providers))


class Model:
    """A model that answers: numbers, arrays, images, files and pandas rows in, labels and units out.

    A context manager: one that asks a server holds a connection.
    """

    def __init__(self, backend: Backend) -> None:
        """Take what runs the model; `load` makes it."""
        self._backend = backend
        self._interface = backend.interface

    def __repr__(self) -> str:
        version = f", version {self.version}" if self.version else ""
        return (
            f"<Model {self.name}{version}: {self.parameters.get('description', 'no description')}>"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection to the server, if there is one."""
        self._backend.close()

    @property
    def name(self) -> str:
        """Return the model's name."""
        return self._interface.name

    @property
    def version(self) -> str:
        """Return the version's number; empty for a file that is in no repository."""
        return self._interface.version

    @property
    def inputs(self) -> tuple[InputSpec, ...]:
        """Return what goes in: names, types, dimensions of a row, image encoding."""
        return self._interface.inputs

    @property
    def parameters(self) -> Mapping[str, str]:
        """Return what the model says of itself: task, classes, units, features, image, …."""
        return self._interface.parameters

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the labels, in the output's order; empty for a model without classes."""
        return self._interface.classes

    @property
    def session(self) -> Any:
        """Return onnxruntime's InferenceSession; UsageError for a model that a server runs."""
        session = getattr(self._backend, "session", None)
        if session is None:
            raise UsageError(f"{self.name} runs on a server, and has no session here")
        return session

    def predict(self, *values: Any, **named: Any) -> list[Prediction]:
        """Return one answer for each row.

        Give the inputs in order or by name, each as: an array or lists, one row or several; the path
        of an image, .npy, .csv or .json file, or numbers in a string; an image of Pillow's, pixels
        (uint8, rows × columns or × 3), or a list of images; a row or table of pandas's, or a mapping
        by the features' names. Raises UsageError where something does not fit.

        An image without ink is answered with a note. A model with a state takes its rows as the
        steps of one sequence, in order.
        """
        feeds = self.preprocess(*values, **named)
        return self.postprocess(self.run(feeds), feeds)

    def preprocess(self, *values: Any, **named: Any) -> dict[str, Array]:
        """Return the tensors that `predict` runs for these inputs: by name, rows first."""
        return tensors(values, named, self.inputs)

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Return the outputs for tensors by name, a bounded number of rows at a time."""
        stateful = self._interface.stateful
        run: Run = self._backend.sequence() if stateful else self._backend.run
        if not self._interface.batched:
            return run(feeds)
        rows = 1 if stateful else self._interface.rows
        parts = [run(part) for part in _parts(feeds, rows)]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def postprocess(
        self, outputs: Mapping[str, Array], feeds: Mapping[str, Array] | None = None
    ) -> list[Prediction]:
        """Return what outputs mean, a row at a time; with `feeds`, rows without ink have a note."""
        answers = predictions(outputs, self._interface)
        for spec in self.inputs if feeds is not None else ():
            assert feeds is not None
            if spec.image is None or not spec.batched:
                continue
            for i, row in enumerate(feeds[spec.name]):
                if is_blank(row, spec.image):
                    answers[i] = nothing_drawn(answers[i])
        return answers


def _parts(feeds: Mapping[str, Array], rows: int) -> Iterator[dict[str, Array]]:
    count = len(next(iter(feeds.values())))
    for begin in range(0, count, rows):
        yield {name: array[begin : begin + rows] for name, array in feeds.items()}
