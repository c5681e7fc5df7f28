"""What the rooms' tests share: every model of the registry, trained and published once."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import settings

from tests import leftovers
from tests.shared_folder import shared_folder
from tests.zoo.forking_python import ForkingPython

if TYPE_CHECKING:
    from tests.object_store import ObjectStore

# Hypothesis fails an example that takes 0.2 s, which any does while other work has the processors.
settings.register_profile("tests", deadline=None)
settings.load_profile("tests")

Run = Callable[..., "subprocess.CompletedProcess[str]"]

ZOO = Path(sys.executable).with_name("zoo")

EXPORT_AND_ASK_KERAS = textwrap.dedent(
    """
    import sys
    from pathlib import Path
    import numpy as np
    from zoo.cli import main

    folder = Path(sys.argv[1])
    status = main(["export", "--repository", str(folder / "models"), "--runs", str(folder / "runs")])
    if status:
        sys.exit(status)
    from zoo.datasets.dataset import Rows
    from zoo.export.trained import load_trained
    from zoo.training.loop import predict
    from zoo.recipes.registry import Registry
    from zoo.training.runs import RunFolder

    for name in (known := Registry.default()).names():
        recipe = known.get(name)
        if recipe.step_of is not None or recipe.dataset.is_left_out:
            continue  # a step is asked in sequences
        source = load_trained(recipe, RunFolder.of(folder / "runs", recipe))
        model, held = source.model, source.held_out
        first = Rows(
            x=held.x[:64],
            y=held.y[:64],
            more_x={key: x[:64] for key, x in held.more_x.items()},
            more_y={key: y[:64] for key, y in held.more_y.items()},
        )
        feeds = {f"x:{key}": x for key, x in zip(recipe.inputs, first.inputs)}
        answers = {f"y:{key}": y for key, y in zip(recipe.outputs, predict(model, first))}
        np.savez(folder / f"{name}.npz", **feeds, **answers)
    """
)


@dataclass(frozen=True)
class Trained:
    """The published models, and what Keras itself answers for held-out rows of each."""

    folder: Path
    output: str

    @property
    def repository(self) -> Path:
        """The model repository."""
        return self.folder / "models"

    @property
    def runs(self) -> Path:
        """The training results."""
        return self.folder / "runs"

    @property
    def names(self) -> list[str]:
        """The models, in alphabetical order."""
        return sorted(path.stem for path in self.folder.glob("*.npz"))

    def keras(self, name: str) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """64 held-out rows and Keras's answers to them, by the names of inputs and outputs."""
        with np.load(self.folder / f"{name}.npz") as file:
            feeds = {key[2:]: file[key] for key in file.files if key.startswith("x:")}
            return feeds, {key[2:]: file[key] for key in file.files if key.startswith("y:")}


def pytest_configure(config: pytest.Config) -> None:
    """See to it that what the tests start ends with them, however they end."""
    leftovers.pytest_configure(config)


@pytest.fixture(scope="session")
def python() -> Iterator[Run]:
    """Run `python ARGUMENTS` in a process of its own, as `subprocess.run` does, that knows TensorFlow already."""
    with ForkingPython() as parent:
        yield parent.run


def _train(python: Run, folder: Path) -> str:
    """Train and publish them all, in a process of its own since it needs TensorFlow."""
    # No optional data, whatever lies in this user's home.
    environment = {**os.environ, "KERAS_HOME": str(folder / "keras")}
    done = python("-c", EXPORT_AND_ASK_KERAS, folder, env=environment, timeout=900)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, python: Run) -> Trained:
    """Every model of the registry, trained and published once."""
    return Trained(*shared_folder(tmp_path_factory, "trained", partial(_train, python)))


@pytest.fixture(scope="session", autouse=True)
def _temporary_files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What the processes leave that the tests kill lies in pytest's folder, which it removes in time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(tmp_path_factory.mktemp("tmp")))
        patch.setattr("tempfile.tempdir", None)  # it is looked up again
        yield


#: Of the files that want the trained models, those that take longest.
LONG = ("test_from_recipe.py", "test_quantize.py", "test_verify.py")


@pytest.hookimpl(trylast=True)  # behind pytest's own order by fixtures
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put one file that wants the trained models first, and the others that do last.

    Of three processes one trains them, for a minute and more; the others have the rest to do meanwhile. Of those
    that wait, the long ones come first, so that none has much to do when the others have nothing left.
    """
    waiting = [item.path for item in items if "trained" in getattr(item, "fixturenames", ())]
    order = {path: 2 if path.name in LONG else 3 for path in waiting}
    order |= dict.fromkeys(waiting[:1], 0)
    items.sort(key=lambda item: order.get(item.path, 1))


def _free_ports(*names: str) -> list[str]:
    return [word for name in names for word in (f"--{name}-port", "0")]


@contextmanager
def listening(repository: Path, *options: str) -> Iterator[dict[str, str]]:
    """Run `zoo serve` on free ports; yield its addresses ("gRPC", "HTTP", "metrics"), and stop it."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        [str(ZOO), "serve", str(repository), *_free_ports("grpc", "http", "metrics"), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
    )
    assert process.stdout is not None
    lines = []
    try:
        for line in process.stdout:
            lines.append(line)
            if "ready: " in line:
                yield dict(re.findall(r"(\w+) on (127\.0\.0\.1:\d+)", line))
                break
        else:
            raise AssertionError(f"the server did not start: {''.join(lines)}")
    finally:
        process.terminate()
        process.communicate(timeout=30)


@contextmanager
def serving(repository: Path, *options: str) -> Iterator[str]:
    """Run `zoo serve` on free ports; yield its port for gRPC, and stop it."""
    with listening(repository, *options) as addresses:
        yield addresses["gRPC"].rpartition(":")[2]


@pytest.fixture(name="serving", scope="session")
def _serving() -> Callable[..., AbstractContextManager[str]]:
    """The context manager that runs `zoo serve` on a repository of the test's own."""
    return serving


@pytest.fixture(scope="session")
def addresses(trained: Trained) -> Iterator[dict[str, str]]:
    """The addresses of a running server of all models: "gRPC", "HTTP", "metrics"."""
    with listening(trained.repository) as running:
        yield running


@pytest.fixture(scope="session")
def address(addresses: dict[str, str]) -> str:
    """The gRPC address of a running server of all models."""
    return addresses["gRPC"]


@pytest.fixture(scope="session")
def s3_server() -> Iterator[Callable[[], ObjectStore]]:
    """Run a store for the tests that read and write one."""
    from tests.object_store import CREDENTIALS, running_store

    before = {name: os.environ.get(name) for name in CREDENTIALS}
    os.environ.update(CREDENTIALS)
    with running_store() as bucket:
        yield bucket
    for name, value in before.items():
        os.environ.pop(name) if value is None else os.environ.update({name: value})


@pytest.fixture
def s3(s3_server: Callable[[], ObjectStore]) -> ObjectStore:
    """An empty bucket of a store, and what spoils its answers."""
    return s3_server()
