"""Messages on standard error: `zoo: …`, one line each, with colour on a terminal only."""

from __future__ import annotations

import os
import sys


def say(message: str, *, failed: bool = False) -> None:
    """Write one line; it is left whole, since a terminal shows a long line by itself."""
    name = "zoo:"
    # https://no-color.org: any value but the empty one means no colour.
    if sys.stderr.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb":
        name = f"\x1b[{'1;31' if failed else '1;33'}m{name}\x1b[0m"
    sys.stderr.write(f"{name} {message}\n")
    sys.stderr.flush()
