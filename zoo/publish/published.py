"""Reads published versions from a repository, and proves their files again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.errors import CheckFailed, UsageError
from zoo.parity.compare import Tolerance
from zoo.parity.prove import Policy, Proof, prove
from zoo.parity.vectors import read_vectors
from zoo.publish import repository as publish
from zoo_server.repository import layout

if TYPE_CHECKING:
    from zoo.recipes.registry import Registry


@dataclass(frozen=True, slots=True, kw_only=True)
class ExactFile:
    """An ONNX file that is meant to be equal to Keras, and how that is judged."""

    title: str
    path: Path
    policy: Policy


def published_models(repository: Path) -> list[str]:
    """Return the names of the models that were published here, in order."""
    if not repository.is_dir():
        return []
    names = sorted(
        p.name for p in repository.iterdir() if p.is_dir() and not layout.is_hidden(p.name)
    )
    return [name for name in names if publish.read_manifest(repository, name)]


def published(repository: Path, name: str, known: Registry) -> publish.Manifest:
    """Return the latest published version, once its checksums hold.

    Raises UsageError for a model that is not published, CheckFailed for one that is not whole.
    """
    manifest = publish.read_manifest(repository, name)
    if manifest is None:
        if name not in known.owners:
            raise known.unknown(name)
        raise UsageError(f"{name} is not published in {repository}: run `zoo export {name}`")
    if not publish.intact(manifest):
        raise CheckFailed(f"a file of {manifest.folder} is missing or is not what was published")
    return manifest


def exact_files(manifest: publish.Manifest) -> list[ExactFile]:
    """Return the ONNX files of a version that are meant to be equal to Keras.

    Each is held to the bound that it was published under; where the model's rows decide for a
    class, the class counts too.
    """
    values = manifest.values
    name, argmax = manifest.folder.parent.name, values.get("task") == "multiclass"
    first = {"file": layout.MODEL_FILE, "exact": True, "tolerance": values["tolerance"]}
    return [
        ExactFile(
            title=name if variant is first else f"{name}/{variant['file']}",
            path=manifest.folder / variant["file"],
            policy=Policy(tolerance=Tolerance(**variant["tolerance"]), argmax=argmax),
        )
        for variant in (first, *values.get("variants", ()))
        if variant.get("exact")
    ]


def prove_published(repository: Path, name: str, known: Registry) -> Iterator[tuple[str, Proof]]:
    """Prove the latest published version again: checksums, then each exact file on its vectors.

    A variant that is not meant to be equal to Keras is left to its checksum.
    """
    for file in exact_files(published(repository, name, known)):
        yield file.title, _proof(file.path, file.policy)


def prove_file(path: Path) -> tuple[str, Proof]:
    """Prove any ONNX file that has test vectors beside it."""
    if not path.is_file():
        raise UsageError(f"{path}: there is no such file")
    return str(path), _proof(path, Policy())


def _proof(path: Path, policy: Policy) -> Proof:
    cases = read_vectors(path)
    if not cases:
        raise UsageError(f"{path} has no test vectors beside it (test_data_set_0/input_0.pb ...)")
    (proof,) = prove([path], cases, policy)
    return proof
