"""Options of Triton's whose values have several parts: pure, text in, values out."""

import re
from collections.abc import Sequence

from zoo_server.errors import ConfigurationError

_CACHE = re.compile(r"local,size=(\d{1,15})")


def cache_bytes(settings: Sequence[str]) -> int:
    """Return the size in --cache-config, 0 without one; ConfigurationError for another setting."""
    if not settings:
        return 0
    text = ",".join(settings)  # of a variable of the environment, a comma has made two
    match = _CACHE.fullmatch(text)
    if match is None:
        raise ConfigurationError(
            f"--cache-config is {text[:80]!r}: write local,size=BYTES; there is one cache, and its "
            "size is its only setting"
        )
    return int(match[1])


_RESOURCE = re.compile(r"([^:]{1,256}):(\d{1,10})(?::(\d{1,5}))?")


def resource_counts(settings: Sequence[str]) -> dict[str, dict[int | None, int]]:
    """Return how many there are of each resource in --rate-limit-resource, by device.

    Names are in lower case, None stands for every device; ConfigurationError for what is neither
    NAME:COUNT nor NAME:COUNT:DEVICE.
    """
    counts: dict[str, dict[int | None, int]] = {}
    for text in settings:
        match = _RESOURCE.fullmatch(text)
        if match is None:
            raise ConfigurationError(
                f"--rate-limit-resource is {text[:80]!r}: write NAME:COUNT or NAME:COUNT:DEVICE"
            )
        name, count, device = match.groups()
        counts.setdefault(name.lower(), {})[None if device is None else int(device)] = int(count)
    return counts
