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
    found = _CACHE.fullmatch(text)
    if found is None:
        raise ConfigurationError(
            f"--cache-config is {text[:80]!r}: write local,size=BYTES; there is one cache, and its "
            "size is its only setting"
        )
    return int(found[1])
