"""zoo pull: bring a version from a repository in an object store to one on this machine."""

from __future__ import annotations

import argparse

from zoo.commands import add_json, add_model_version, add_repository, print_json
from zoo.terminal.messages import say

SUMMARY = "bring a published version from an object store: s3://bucket/path and the like"
EXAMPLE = (
    "zoo pull cnn_digits s3://bucket/models\n  zoo pull cnn_digits@2 https://example.org/models"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add_model_version(parser, "version to bring (default: the latest)")
    parser.add_argument(
        "source", metavar="SOURCE", help="URL of the repository, such as s3://bucket/path"
    )
    add_repository(parser)
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Pull, and say what came of it."""
    from zoo.publish.transfer import RemoteTarget

    name, version = options.model
    pulled = RemoteTarget(options.source).pull(name, options.repository, version)
    place = options.repository / name / str(pulled.version)
    if options.json:
        print_json({"model": name, "version": pulled.version, "new_version": pulled.created})
    else:
        print(f"{name}: {place}" if pulled.created else f"{name}: {place} was there already")
    if pulled.config_kept:
        say(f"{name}: config.pbtxt here was edited by hand, and is kept")
    return 0
