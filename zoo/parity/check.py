"""What is published, or any ONNX file with test vectors, against Keras's answers.

cases x installed runtimes -> Checked       zoo/parity/compare.py decides, zoo/runtimes loads
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from zoo.errors import CheckFailed, UsageError
from zoo.parity import runtimes
from zoo.parity.compare import Arrays, Case, Report, Session, Tolerance, verify
from zoo.parity.vectors import read_vectors
from zoo.publish import repository as publish
from zoo_server.repository import layout

if TYPE_CHECKING:
    from zoo.recipes.registry import Registry


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """The verification of one file: the versions of the runtimes used, and those not installed.

    `answers`: what each runtime gave for the case that check was told to keep.
    """

    name: str
    report: Report
    versions: Mapping[str, str]
    skipped: tuple[str, ...]
    answers: Mapping[str, Arrays] = field(default_factory=dict, repr=False)


def check(
    path: Path,
    name: str,
    cases: tuple[Case, ...],
    *,
    argmax: bool,
    tolerance: Tolerance | None = None,
    keep: Case | None = None,
) -> Checked:
    """Run the cases through every installed runtime; one that cannot load the file fails.

    The answers to the case `keep` come back with the report.
    """
    answers: dict[str, Arrays] = {}
    sessions: dict[str, Session] = {}
    versions: dict[str, str] = {}
    skipped = []
    for runtime in runtimes.available():
        version = runtime.version()
        if version is None:
            skipped.append(runtime.name)
            continue
        versions[runtime.name] = version
        try:
            session = runtime.load(path)
            sessions[runtime.name] = _keeping(session, keep, runtime.name, answers)
        except Exception as error:  # a foreign runtime may raise anything; it is its verdict
            sessions[runtime.name] = _failing(error)
    if not sessions:
        raise UsageError(
            f"no runtime is installed: {', '.join(skipped)}; pip install 'layer-zoo[cpu]'"
        )
    with np.errstate(all="ignore"):  # what overflows in numpy is for the comparison to judge
        report = verify(cases, sessions, tolerance=tolerance, argmax=argmax)
    return Checked(
        name=name, report=report, versions=versions, skipped=tuple(skipped), answers=answers
    )


def check_published(repository: Path, name: str, known: Registry) -> Iterator[Checked]:
    """Verify the latest published version: checksums, then each of its ONNX files on its vectors.

    A variant that is not meant to be equal to Keras is left to its checksum.
    """
    manifest = published(repository, name, known)
    argmax = decides(manifest)
    for file, tolerance in equal_files(manifest):
        title = name if file == layout.MODEL_FILE else f"{name}/{file}"
        yield _check_vectors(manifest.folder / file, title, argmax=argmax, tolerance=tolerance)


def equal_files(manifest: publish.Manifest) -> list[tuple[str, Tolerance]]:
    """Return the ONNX files of a version that are meant to be equal to Keras, with their bounds."""
    values = manifest.values
    first = {"file": layout.MODEL_FILE, "exact": True, "tolerance": values["tolerance"]}
    return [
        (variant["file"], Tolerance(**variant["tolerance"]))
        for variant in (first, *values.get("variants", ()))
        if variant.get("exact")
    ]


def decides(manifest: publish.Manifest) -> bool:
    """Whether rows decide for a class, so that another class is wrong however small the difference."""
    return manifest.values.get("task") == "multiclass"


def published(repository: Path, name: str, known: Registry) -> publish.Manifest:
    """Return the latest published version, once its checksums hold.

    Raises UsageError for a model that is not published, CheckFailed for one that is not whole.
    """
    manifest = publish.read_manifest(repository, name)
    if manifest is None:
        if name in known.owners:
            raise UsageError(f"{name} is not published in {repository}: run `zoo export {name}`")
        known.get(name)  # raises with near matches
        raise AssertionError(name)
    if not publish.intact(manifest):
        raise CheckFailed(f"a file of {manifest.folder} is missing or is not what was published")
    return manifest


def check_file(path: Path) -> Checked:
    """Verify any ONNX file that has test vectors beside it."""
    if not path.is_file():
        raise UsageError(f"{path}: there is no such file")
    return _check_vectors(path, str(path), argmax=False)


def published_models(repository: Path) -> list[str]:
    """Return the names of the models that were published here, in order."""
    if not repository.is_dir():
        return []
    names = sorted(
        p.name for p in repository.iterdir() if p.is_dir() and not layout.is_hidden(p.name)
    )
    return [name for name in names if publish.read_manifest(repository, name)]


def _check_vectors(
    path: Path, name: str, *, argmax: bool, tolerance: Tolerance | None = None
) -> Checked:
    cases = read_vectors(path)
    if not cases:
        raise UsageError(f"{path} has no test vectors beside it (test_data_set_0/input_0.pb ...)")
    return check(path, name, cases, argmax=argmax, tolerance=tolerance)


def _keeping(
    session: Session, keep: Case | None, runtime: str, answers: dict[str, Arrays]
) -> Session:
    """Return a session that also stores what it answers to one case."""

    def run(feeds: Arrays) -> Arrays:
        given = session(feeds)
        if keep is not None and feeds is keep.feeds:
            answers[runtime] = given
        return given

    return run


def _failing(error: Exception) -> Session:
    """Return a session that reports why the file could not be loaded."""

    def run(feeds: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        raise error

    return run
