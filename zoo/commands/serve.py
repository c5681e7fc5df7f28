"""zoo serve: serve a model repository over gRPC and HTTP."""

from __future__ import annotations

import argparse
import gc
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from zoo.commands import RECIPES, add_modules, registry
from zoo.errors import UsageError
from zoo.models.find import default_repository, no_repository
from zoo_server import config
from zoo_server.errors import OperatorError
from zoo_server.protocols.grpc.poller import prefer_older_poller

SUMMARY = (
    "serve a model repository over gRPC and HTTP (Open Inference Protocol, TensorFlow Serving)"
)
EXAMPLE = "zoo serve models --grpc-port 8001 --provider cpu"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options, which are the server's own table."""
    parser.add_argument(
        "repository",
        nargs="?",
        type=config.repository_place,
        metavar="REPOSITORY",
        help="the model repository: a folder, or a URL such as s3://bucket/path, gs://, az:// or https:// "
        "(default: models, else the installed layer-zoo-models)",
    )
    parser.add_argument(
        "--repository",
        dest="repository_option",
        type=config.repository_place,
        metavar="DIR|URL",
        help="the same, as the other commands take it",
    )
    add_modules(parser, f"{RECIPES}: what the repository has not yet is trained and exported first")
    try:
        config.ServerConfig.add_arguments(parser)
    except OperatorError as error:  # a bad value in the environment
        raise UsageError(str(error)) from error


def run(options: argparse.Namespace) -> int:
    """Serve until a signal comes; what --module adds is published before."""
    options.repository = _repository(options)
    try:
        configuration = config.ServerConfig.from_arguments(options)
    except OperatorError as error:
        raise UsageError(str(error)) from error
    place = configuration.repository
    if options.modules and (status := _publish(options, place)):
        return status
    if configuration.model_dir is None and isinstance(place, Path) and not place.exists():
        raise no_repository(place)
    if configuration.transport == "fast":
        prefer_older_poller()
    with _ending_on_sigterm(), _without_collector():
        from zoo_server import main

    return main.serve(configuration)


@contextmanager
def _without_collector() -> Iterator[None]:
    """Import without Python's garbage collector: it finds next to nothing, and takes 40 ms of a start."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _repository(options: argparse.Namespace) -> Path | str:
    """Return the repository, which may be named by its place or by --repository."""
    named = {
        place for place in (options.repository, options.repository_option) if place is not None
    }
    if len(named) > 1:
        raise UsageError("the repository is named twice: give REPOSITORY, or --repository")
    return named.pop() if named else default_repository()


def _publish(options: argparse.Namespace, place: Path | str) -> int:
    """Export the recipes of --module that are not published there; return the exit status of that.

    In a process of its own: the server's has no training framework in its memory.
    """
    from zoo.publish.versions import model_names
    from zoo.recipes.registry import Registry

    own = set(registry(options).names()) - set(Registry.default().names())
    published = model_names(place) if isinstance(place, Path) else []
    if not (missing := sorted(own - set(published))):
        return 0
    modules = [word for path in options.modules for word in ("--module", str(path))]
    command = [sys.executable, "-m", "zoo.cli", "export", *missing, *modules]
    return subprocess.run([*command, "--repository", str(place)], check=False).returncode


@contextmanager
def _ending_on_sigterm() -> Iterator[None]:
    """While the server is imported, which takes a second or two: SIGTERM ends that with a line."""

    def end(*_: object) -> NoReturn:
        sys.stderr.write("zoo: leaving: the server was not started yet\n")
        sys.exit(0)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
