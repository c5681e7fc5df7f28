"""One model in a folder of its own, served by a given name: --model-name and --model-dir.

    DIR/model.onnx             also any one file NAME.onnx; config.pbtxt and labels beside it
    DIR/1/model.onnx           a model's folder
    DIR/ANY/1/model.onnx       a folder that holds one model's folder

The name is the given one, whatever config.pbtxt or the folder is called: it is how KServe and others
mount a model, whose folder they name themselves.
"""

import os
from dataclasses import replace
from pathlib import Path

from zoo_server.errors import ConfigurationError
from zoo_server.repository import layout
from zoo_server.repository.scan import (
    BARE_SUFFIX,
    ModelFiles,
    ModelRepository,
    read_bare,
    read_folder,
)


class SingleModel(ModelRepository):
    """A repository of the one model in a folder."""

    def __init__(self, path: Path, name: str, *, follow_links: bool = False) -> None:
        """ConfigurationError if the name is none."""
        super().__init__(path, follow_links=follow_links)
        try:
            self._name = layout.check_model_name(name)
        except ValueError as error:
            raise ConfigurationError(f"--model-name: {error}") from None

    def scan(self) -> list[ModelFiles]:
        self.check_folder()
        try:
            model = self._find_model()
        except OSError as error:
            raise ConfigurationError(
                f"the model's folder '{self.path}' cannot be read: {error.strerror}"
            ) from None
        return [replace(model, name=self._name, renamed=True)]

    def names(self) -> list[str]:
        return [self._name]

    def find(self, name: str) -> ModelFiles | None:
        return self.scan()[0] if name == self._name else None

    def _find_model(self) -> ModelFiles:
        entries = sorted(
            (entry for entry in os.scandir(self.path) if not layout.is_hidden(entry.name)),
            key=lambda entry: entry.name,
        )
        folders = [Path(entry.path) for entry in entries if entry.is_dir()]
        graphs = [
            Path(entry.path)
            for entry in entries
            if entry.name.endswith(BARE_SUFFIX) and not entry.is_dir()
        ]
        if any(layout.version_number(folder.name) is not None for folder in folders):
            return read_folder(self.path, self.confinement, self._name)
        chosen = [file for file in graphs if file.name == layout.MODEL_FILE] or graphs
        if len(chosen) == 1:
            config = self.path / layout.CONFIG_FILE
            bare = read_bare(chosen[0], self.confinement, self._name)
            return replace(bare, config_file=config if os.path.lexists(config) else None)
        models = [folder for folder in folders if layout.version_numbers(folder)]
        named = [folder for folder in models if folder.name == self._name] or models
        if not chosen and len(named) == 1:
            return read_folder(named[0], self.confinement, self._name)
        what = "several are there" if chosen or named else "no model is there"
        return ModelFiles(
            name=self._name,
            folder=self.path,
            confinement=self.confinement,
            fault=f"{what}: put one graph at {layout.MODEL_FILE} or 1/{layout.MODEL_FILE}",
        )
