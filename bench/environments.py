"""A virtual environment for each peer: made whole or not at all, and made again if its pins change."""

import hashlib
import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).parents[1] / "build" / "bench"

#: Written last: an environment without it was cut off half way.
_COMPLETE = "complete"

#: Far longer than the largest peer needs on a slow line; a stuck installer ends the peer, not us.
_INSTALL_SECONDS = 900


class PeerUnavailable(Exception):
    """A peer or a scenario that cannot be measured here; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """What a peer needs installed."""

    name: str
    #: Requirements; the first is the peer itself, and all that decide its speed are pinned.
    packages: tuple[str, ...]

    @property
    def folder(self) -> Path:
        """Where it is, named for what it holds."""
        key = hashlib.sha256(json.dumps([sys.version, *self.packages]).encode()).hexdigest()[:12]
        return ROOT / f"{self.name}-{key}"

    @property
    def complete(self) -> bool:
        """Whether it has been made."""
        return (self.folder / _COMPLETE).exists()

    @property
    def site_packages(self) -> Path:
        """Where its packages are."""
        return next((self.folder / "lib").glob("python3*/site-packages"))

    def python(self) -> Path:
        """Return its interpreter, installing what is missing; PeerUnavailable says why that fails."""
        if not self.complete:
            self._make()
        return self.folder / "bin" / "python"

    def versions(self) -> dict[str, str]:
        """Return what is installed of the packages asked for, by name."""
        names = {package.split("=")[0].split("<")[0] for package in self.packages} | {"grpcio"}
        installed = metadata.distributions(path=[str(self.site_packages)])
        return {
            name: distribution.version
            for distribution in installed
            if (name := distribution.metadata["Name"].lower()) in names
        }

    def _make(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        print(f"installing {self.name}: {' '.join(self.packages)}", file=sys.stderr)
        pip = [str(self.folder / "bin" / "python"), "-m", "pip", "--disable-pip-version-check"]
        _do(self.name, [sys.executable, "-m", "venv", str(self.folder)])
        _do(self.name, [*pip, "install", "--quiet", *self.packages])
        (self.folder / _COMPLETE).touch()


def _do(name: str, command: list[str]) -> None:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=_INSTALL_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise PeerUnavailable(
            f"{name} cannot be installed: not done after {_INSTALL_SECONDS} s"
        ) from None
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise PeerUnavailable(f"{name} cannot be installed: {lines[-1] if lines else '?'}")
