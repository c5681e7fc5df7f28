"""Publishes versions: a version folder appears in the model repository whole, or not at all.

    stage    .tmp-<model>-xxxx/ in the repository, built in full and flushed to disk
    publish  first time: the model's whole folder is renamed into place
             later: config.pbtxt and labels are replaced, then the version folder is renamed
                    into place as the next number

A published version never changes. One lock file per repository keeps publishers apart; readers need
none, since `.tmp-*` and other hidden names are invisible to them.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf import text_format

from zoo.errors import UsageError
from zoo.files import (
    TEMPORARY_PREFIX,
    atomic_write,
    json_bytes,
    locked,
    read_json,
    sha256,
    staged_folder,
)
from zoo.publish.versions import STATE_FILE, read_manifest
from zoo_proto import model_config_pb2
from zoo_server.durability import flush, flush_tree
from zoo_server.repository import layout

LOCK_FILE = ".lock"
LABELS_FILE = "labels.txt"

#: What to do about another model's folder; a recipe's name is its own, and a file's can be chosen.
_ELSEWHERE = "publish in another --repository (a Keras file: or under another --name)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """The published version; `created` is False if the latest version already held this model."""

    version: int
    folder: Path
    created: bool
    config_kept: bool = False


@contextmanager
def staging(repository: Path, name: str) -> Iterator[Path]:
    """Yield an empty folder on the repository's file system, removed at the end if still there.

    Holds the repository's lock throughout, and clears what a killed publisher left behind. Raises
    UsageError for a name that no repository can hold, StorageError for what the disk refuses.
    """
    try:
        layout.check_model_name(name)
    except ValueError as error:
        raise UsageError(str(error)) from error
    repository.mkdir(parents=True, exist_ok=True)
    with locked(repository / LOCK_FILE):
        _remove_leftovers(repository)
        _remove_leftovers(repository / name)
        with staged_folder(repository, name) as folder:
            yield folder


def publish(
    repository: Path,
    staged: Path,
    config: model_config_pb2.ModelConfig,
    labels: tuple[str, ...],
    key: str,
    variants: Sequence[Mapping[str, Any]] = (),
) -> Published:
    """Publish the staged version folder (model file, manifest, ...) of `config.name`.

    If the latest version is whole and its model files, ONNX and Keras, are the same, no version is
    added.
    `variants` is kept for `last_variants`.
    Raises UsageError if the kept versions would not satisfy the new configuration.
    """
    text = _config_text(config)
    model = repository / config.name
    versions = layout.version_numbers(model) if model.is_dir() else []
    if not versions:
        return _publish_first(model, staged, text, labels, _state(key, 1, text, variants))
    latest = model / str(versions[-1])
    kept = _is_kept(model, config)
    manifest = read_manifest(repository, config.name, versions[-1])
    whole = manifest is not None and manifest.is_intact
    if whole and _models(latest) == _models(staged):
        version, created = versions[-1], False
    else:
        version, created = versions[-1] + 1, True
    if not kept:
        if labels or (model / LABELS_FILE).is_file():
            atomic_write(model / LABELS_FILE, _labels_text(labels))
        atomic_write(model / layout.CONFIG_FILE, text)
    if created:
        flush_tree(staged)
        staged.rename(model / str(version))
        flush(model)
    atomic_write(model / STATE_FILE, _state(key, version, text, variants))
    return Published(
        version=version, folder=model / str(version), created=created, config_kept=kept
    )


def adopt(repository: Path, name: str, staged: Path, number: int, beside: Path) -> Published:
    """Put a version that was published elsewhere in place under its number.

    `staged` has its files, `beside` those that go beside it, config.pbtxt among them; the caller holds
    `staging`. UsageError if the number holds another version here, or the kept versions would not
    satisfy the configuration.
    """
    model = repository / name
    target = model / str(number)
    config_file = beside / layout.CONFIG_FILE
    kept = False
    if target.is_dir():
        if file_sums(target) != file_sums(staged):
            raise UsageError(
                f"{target} holds another version {number}, which stays as it is: pull into another --repository"
            )
        return Published(version=number, folder=target, created=False)
    if not (model.is_dir() and layout.version_numbers(model)):
        staged.rename(beside / str(number))
        _appear(beside, model)
    else:
        if config_file.is_file():
            kept = _is_kept(model, parse_config(str(config_file), config_file.read_bytes()))
        files = [] if kept else sorted(path for path in beside.rglob("*") if path.is_file())
        for path in files:
            place = model / path.relative_to(beside)
            place.parent.mkdir(parents=True, exist_ok=True)
            atomic_write(place, path.read_bytes())
        flush_tree(staged)
        staged.rename(target)
        flush(model)
    return Published(version=number, folder=target, created=True, config_kept=kept)


def file_sums(version: Path) -> dict[str, str]:
    """Return the checksum of every file of a version that readers see, by its path."""
    paths = ((path.relative_to(version), path) for path in sorted(version.rglob("*")))
    return {
        inner.as_posix(): sha256(path)
        for inner, path in paths
        if path.is_file() and not any(map(layout.is_hidden, inner.parts))
    }


def write_beside(repository: Path, name: str, documents: Mapping[str, bytes]) -> None:
    """Replace files beside a published model's config.pbtxt, each atomically.

    For what is found out about a version after it was published, which its own folder never
    holds; readers of a repository pass over files that are no configuration.
    """
    with locked(repository / LOCK_FILE):
        for file, content in documents.items():
            atomic_write(repository / name / file, content)


def _remove_leftovers(folder: Path) -> None:
    """Remove what a process that was killed was writing there; the repository's lock is held."""
    for leftover in folder.glob(f"{TEMPORARY_PREFIX}*"):
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


def _publish_first(
    model: Path, staged: Path, text: bytes, labels: tuple[str, ...], state: bytes
) -> Published:
    """Rename the whole folder of a model that is new to the repository into place."""
    whole = staged.with_name(f"{staged.name}-whole")
    try:
        whole.mkdir()
        staged.rename(whole / "1")
        (whole / LABELS_FILE).write_bytes(_labels_text(labels))
        (whole / layout.CONFIG_FILE).write_bytes(text)
        (whole / STATE_FILE).write_bytes(state)
        _appear(whole, model)
    finally:
        shutil.rmtree(whole, ignore_errors=True)
    return Published(version=1, folder=model / "1", created=True)


def _appear(whole: Path, model: Path) -> None:
    """Rename a model's whole folder into place, flushed."""
    flush_tree(whole)
    if model.is_dir() and not any(model.iterdir()):
        model.rmdir()  # an empty folder made by hand is not a model
    try:
        whole.rename(model)
    except OSError as error:
        raise UsageError(
            f"{model} exists but holds no version: move it away, or {_ELSEWHERE}"
        ) from error
    flush(model.parent)


def _is_kept(model: Path, config: model_config_pb2.ModelConfig) -> bool:
    path = model / layout.CONFIG_FILE
    if not path.is_file():
        return False
    return keeps_config(str(path), path.read_bytes(), config, read_json(model / STATE_FILE))


def parse_config(where: str, content: bytes) -> model_config_pb2.ModelConfig:
    """Return what a config.pbtxt says; UsageError, which names it by `where`, if it is none."""
    config = model_config_pb2.ModelConfig()
    try:
        text_format.Parse(content, config)
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise UsageError(f"{where} is not a model configuration: {error}") from error
    return config


def keeps_config(
    where: str,
    content: bytes,
    config: model_config_pb2.ModelConfig,
    state: Mapping[str, Any],
    cure: str = _ELSEWHERE,
) -> bool:
    """Return whether a published config.pbtxt was edited by hand, and stays when `config` comes.

    `state` is what its STATE_FILE says. UsageError, with the cure, for another interface than the kept
    versions have.
    """
    old = parse_config(where, content)
    if _interface(old) != _interface(config):
        raise UsageError(
            f"{config.name or where} is published with another interface ({_interface_text(old)}, now "
            f"{_interface_text(config)}), which its kept versions need: {cure}"
        )
    written = state.get("config_sha256")
    return written is not None and written != hashlib.sha256(content).hexdigest()


def _interface(config: model_config_pb2.ModelConfig) -> tuple[Any, ...]:
    """What every version of a model shares: batching or not, and each tensor's name, type, dims."""
    tensors: list[Any] = [*config.input, *config.output]
    sides = ((t.name, t.data_type, tuple(t.dims)) for t in tensors)
    return (config.max_batch_size > 0, len(config.input), *sides)


def _interface_text(config: model_config_pb2.ModelConfig) -> str:
    def side(tensors: Any) -> str:
        return ", ".join(f"{t.name}{list(t.dims)}" for t in tensors)

    return f"{side(config.input)} -> {side(config.output)}"


def _config_text(config: model_config_pb2.ModelConfig) -> bytes:
    return text_format.MessageToString(config, as_utf8=True).encode()


def _labels_text(labels: tuple[str, ...]) -> bytes:
    return "".join(f"{label}\n" for label in labels).encode()


def _state(key: str, version: int, text: bytes, variants: Sequence[Mapping[str, Any]]) -> bytes:
    digest = hashlib.sha256(text).hexdigest()
    values = {"key": key, "version": version, "config_sha256": digest, "variants": list(variants)}
    return json_bytes(values)


def _models(version: Path) -> dict[str, str]:
    """Return what makes a version that version: the checksum of each of its model files."""
    kinds = ("*.onnx", f"*.onnx{layout.DATA_SUFFIX}", "*.keras")
    paths = (path for kind in kinds for path in version.glob(kind))
    return {path.name: sha256(path) for path in paths}
