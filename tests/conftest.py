"""What the rooms' tests share: the nine models, trained and published once in a session."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

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
    from zoo.fit import predict
    from zoo.registry import Registry
    from zoo.runs import RunFolder

    for name in (known := Registry.default()).names():
        run = RunFolder(folder / "runs", name)
        model = known.get(name).build()
        model.load_weights(run.weights)
        rows = run.held_out().x[:64]
        np.savez(folder / f"{name}.npz", rows=rows, answers=predict(model, rows))
    """
)


@dataclass(frozen=True)
class Nine:
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

    def keras(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Held-out rows and Keras's answers to them."""
        with np.load(self.folder / f"{name}.npz") as file:
            return file["rows"], file["answers"]


@pytest.fixture(scope="session")
def nine(tmp_path_factory: pytest.TempPathFactory) -> Nine:
    """Train and publish all nine models, in a process of its own since it needs TensorFlow."""
    folder = tmp_path_factory.mktemp("nine")
    done = subprocess.run(
        [sys.executable, "-c", EXPORT_AND_ASK_KERAS, str(folder)],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return Nine(folder, done.stdout)


@contextmanager
def serving(repository: Path, *options: str) -> Iterator[str]:
    """Run `zoo serve` on a free port; yield its gRPC address, and stop it."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        [str(ZOO), "serve", str(repository), "--grpc-port", "0", *options],
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
            if "grpc" in line.lower() and "127.0.0.1:" in line:
                yield line.split("127.0.0.1:")[1].split()[0].strip(".,;")
                break
        else:
            raise AssertionError(f"the server did not start: {''.join(lines)}")
    finally:
        process.terminate()
        process.communicate(timeout=30)


@pytest.fixture(scope="session")
def address(nine: Nine) -> Iterator[str]:
    """The gRPC address of a running server of the nine models."""
    with serving(nine.repository) as port:
        yield f"127.0.0.1:{port}"
