"""CHANGELOG.md says each thing once: a merge that keeps both sides brings back what was rewritten."""

import re
from collections import Counter
from pathlib import Path

TEXT = (Path(__file__).parents[2] / "CHANGELOG.md").read_text(encoding="utf-8")


def test_a_release_has_each_heading_and_each_entry_once() -> None:
    for release in re.split(r"^## ", TEXT, flags=re.MULTILINE)[1:]:
        said = Counter(re.findall(r"^(?:#{3,4}|-) .+$", release, re.MULTILINE))

        assert not [line for line, times in said.items() if times > 1]
