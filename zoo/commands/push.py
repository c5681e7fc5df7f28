"""zoo push: publish a version in a repository in an object store."""

from __future__ import annotations

import argparse

from zoo.commands import add_json, add_model_version, add_published, print_json
from zoo.models.find import existing_repository
from zoo.terminal.messages import say

SUMMARY = "publish a version in an object store: s3://bucket/path and the like"
EXAMPLE = "zoo push cnn_digits s3://bucket/models\n  zoo push cnn_digits@2 gs://bucket/models"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add_model_version(
        parser, "version to publish (default: the latest); one that is named keeps its number"
    )
    parser.add_argument(
        "target", metavar="TARGET", help="URL of the repository, such as s3://bucket/path"
    )
    add_published(parser)
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Push, and say what came of it."""
    from zoo.publish.transfer import RemoteTarget

    name, version = options.model
    target = RemoteTarget(options.target)
    pushed = target.push(existing_repository(options.repository), name, version)
    if options.json:
        print_json({"model": name, "version": pushed.version, "new_version": pushed.created})
    elif pushed.created:
        print(f"{name}: published as version {pushed.version} in {target.shown}")
    else:
        print(
            f"{name}: version {pushed.version} in {target.shown} is the same, nothing was written"
        )
    if pushed.config_kept:
        say(f"{name}: config.pbtxt there was edited by hand, and is kept")
    return 0
