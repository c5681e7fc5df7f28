"""A virtual environment for each peer: made whole or not at all, and made again if its pins change."""

import hashlib
import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1] / "build" / "bench"


class Unavailable(Exception):
    """A peer that cannot be measured here; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """What a peer needs installed."""

    name: str
    packages: tuple[str, ...]

    def python(self) -> Path:
        """Return its interpreter, installing what is missing; Unavailable says why that fails."""
        key = hashlib.sha256(json.dumps([sys.version, *self.packages]).encode()).hexdigest()[:12]
        folder = ROOT / f"{self.name}-{key}"
        if not (folder / "complete").exists():
            self._make(folder)
        return folder / "bin" / "python"

    def _make(self, folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        print(f"installing {self.name}: {' '.join(self.packages)}", file=sys.stderr)
        for command in (
            [sys.executable, "-m", "venv", str(folder)],
            [str(folder / "bin" / "python"), "-m", "pip", "install", "-q", *self.packages],
        ):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                lines = (done.stderr or done.stdout).strip().splitlines()
                raise Unavailable(f"{self.name} cannot be installed: {lines[-1] if lines else '?'}")
        (folder / "complete").touch()
