"""Virtual environments of the isolated runtimes: installed once, cached, whole or absent.

    build/compat/<runtime>-<version>/      a venv, or a folder with node_modules
    build/compat/<runtime>-<version>/environment.json      its pins and packages, written last

An environment is built under a hidden name and renamed when it is complete; another set of pins or
another Python makes it again. A venv survives the rename because nothing here calls its scripts
(whose first line holds the old path), only its interpreter.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.errors import StorageError
from zoo.files import TEMPORARY_PREFIX, json_bytes, locked, read_json, staged_folder
from zoo.runtimes.catalogue import IsolatedRuntime

#: Held while an environment is made or the record is written, below the folder of both.
LOCK_FILE = ".lock"

STAMP_FILE = "environment.json"

#: One package manager's run. The largest wheel (torch) takes minutes on a slow line.
INSTALL_SECONDS = 1800


class RuntimeUnavailable(Exception):
    """A runtime cannot be had on this machine; `str()` says why, in one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """A finished environment: the interpreter to start, and every package in it by version."""

    folder: Path
    interpreter: tuple[str, ...]
    installed: Mapping[str, str]


def prepare(
    runtime: IsolatedRuntime, root: Path, *, say: Callable[[str], None] = lambda text: None
) -> Environment:
    """Return the runtime's environment below `root`, making it if it is not there as pinned.

    `say` is called with what takes long. Raises RuntimeUnavailable, with nothing left behind, if it cannot be.
    """
    host = _host(runtime)
    folder = root / f"{runtime.name}-{runtime.version}"
    requirements = {"pins": [*runtime.pins, *runtime.alone], "host": host}
    try:
        root.mkdir(parents=True, exist_ok=True)
        with locked(root / LOCK_FILE):
            stamp = _read(folder)
            if stamp is None or {key: stamp.get(key) for key in requirements} != requirements:
                say(f"{runtime.name} {runtime.version}: making its environment in {folder}")
                _make(runtime, folder, requirements)
                stamp = _read(folder)
    except OSError as error:
        raise RuntimeUnavailable(f"{error.filename or root}: {error.strerror or error}") from error
    except StorageError as error:
        raise RuntimeUnavailable(str(error)) from error
    if stamp is None:
        raise RuntimeUnavailable(f"{folder} could not be read back")
    return Environment(
        folder=folder, interpreter=_interpreter(runtime, folder), installed=stamp["installed"]
    )


def _host(runtime: IsolatedRuntime) -> str:
    """Return the interpreter's version; RuntimeUnavailable if there is none."""
    if not runtime.on_node:
        return f"python {sys.version_info.major}.{sys.version_info.minor}"
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            raise RuntimeUnavailable(f"{program} is not installed")
    return f"node {_run(['node', '--version'], os.environ).strip()}"


def _interpreter(runtime: IsolatedRuntime, folder: Path) -> tuple[str, ...]:
    if runtime.on_node:
        return ("node",)
    # Neither this process's PYTHON* variables, nor the user's site-packages, nor bytecode written.
    return (os.fspath((folder / "bin" / "python").absolute()), "-E", "-s", "-B")


def _read(folder: Path) -> dict[str, Any] | None:
    """Return an environment's stamp, None if it is absent, damaged or has lost its Python."""
    values = read_json(folder / STAMP_FILE)
    pythonless = (folder / "pyvenv.cfg").exists() and not (folder / "bin" / "python").exists()
    return None if pythonless else values or None


def _make(runtime: IsolatedRuntime, folder: Path, requirements: Mapping[str, Any]) -> None:
    """Build under a hidden name, stamp, rename."""
    for leftover in folder.parent.glob(f"{TEMPORARY_PREFIX}*"):
        shutil.rmtree(leftover, ignore_errors=True)
    with staged_folder(folder.parent, runtime.name) as staged:
        install = _install_npm if runtime.on_node else _install_pip
        stamp = {**requirements, "installed": install(runtime, staged)}
        (staged / STAMP_FILE).write_bytes(json_bytes(stamp))
        shutil.rmtree(folder, ignore_errors=True)
        staged.rename(folder)


def _install_pip(runtime: IsolatedRuntime, folder: Path) -> dict[str, str]:
    """Make a venv and install the pins; return every distribution in it by version."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    _run([sys.executable, "-m", "venv", os.fspath(folder)], environment)
    pip = [os.fspath(folder / "bin" / "python"), "-m", "pip", "--disable-pip-version-check"]
    install = [*pip, "install", "--quiet", "--only-binary", ":all:", "--no-input"]
    _run([*install, *runtime.pins], environment)
    if runtime.alone:
        _run([*install, "--no-deps", *runtime.alone], environment)
    listed = json.loads(_run([*pip, "list", "--format", "json"], environment))
    return {item["name"]: item["version"] for item in listed if item["name"] not in _INSTALLERS}


_INSTALLERS = ("pip", "setuptools", "wheel")


def _install_npm(runtime: IsolatedRuntime, folder: Path) -> dict[str, str]:
    """Install the pins without running any package's scripts; return all packages by version."""
    pins = dict(pin.rsplit("@", 1) for pin in runtime.pins)
    (folder / "package.json").write_text(json.dumps({"private": True, "dependencies": pins}))
    options = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    _run(["npm", "install", *options, "--prefix", os.fspath(folder)], os.environ)
    locked = json.loads((folder / "package-lock.json").read_text())["packages"]
    return {
        path.rpartition("node_modules/")[2]: values["version"]
        for path, values in locked.items()
        if path
    }


def _run(command: Sequence[str], environment: Mapping[str, str]) -> str:
    """Run one program of the set-up; RuntimeUnavailable with its error if it fails."""
    program = Path(command[0]).name
    called = " ".join([program, *command[1:3]]) if program != "npm" else "npm install"
    try:
        done = subprocess.run(
            command,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=INSTALL_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise RuntimeUnavailable(f"{called} did not finish within {INSTALL_SECONDS} s") from None
    if done.returncode:
        raise RuntimeUnavailable(f"{called} failed: {_error_line(done.stderr or done.stdout)}")
    return done.stdout


def _error_line(text: str) -> str:
    """Return the last line that is an error, else the last line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()] or ["no message"]
    errors = [line for line in lines if line.lower().startswith(("error", "npm error"))]
    return (errors or lines)[-1][:300]
