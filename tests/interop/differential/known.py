"""The differences that stay, each under the name of its row in docs/compatibility.md."""

import re

#: Name -> (pattern of whole case names, what may differ: code, text, answer, or any of them).
KNOWN: dict[str, tuple[str, str]] = {}


def known_difference(case: str, difference: str) -> str:
    """Return the name of the known difference that a case shows, or nothing."""
    for name, (pattern, kinds) in KNOWN.items():
        if difference in kinds.split() and re.fullmatch(pattern, case):
            return name
    return ""
