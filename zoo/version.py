"""Installed versions: of this package, and of others by the names of their distributions."""

from __future__ import annotations

from importlib import metadata

DISTRIBUTION = "layer-zoo"


def zoo_version() -> str:
    """Return the installed version, 0 from a source tree that is not installed."""
    return installed_version(DISTRIBUTION) or "0"


def installed_version(*distributions: str) -> str | None:
    """Return the version of the first of these distributions that is installed, None if none is."""
    for distribution in distributions:
        try:
            return metadata.version(distribution)
        except metadata.PackageNotFoundError:
            continue
    return None
