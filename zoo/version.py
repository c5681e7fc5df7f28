"""The installed version of this package."""

from __future__ import annotations

from importlib import metadata

DISTRIBUTION = "layer-zoo"


def zoo_version() -> str:
    """Return the installed version, 0 from a source tree that is not installed."""
    try:
        return metadata.version(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return "0"
