"""docs/compatibility.md names tests that exist, and every difference that the runs against Triton know."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "compatibility.md").read_text(encoding="utf-8")
FOLDERS = (ROOT, ROOT / "tests" / "server")


def test_every_named_test_exists():
    """Each `file.py::test` is a function of that file, each `file.py` and folder is there."""
    named = re.findall(r"`([\w/]+\.py)(?:::(\w+))?`", PAGE)
    assert len(named) > 60
    missing = []
    for file, function in named:
        paths = [folder / file for folder in FOLDERS if (folder / file).is_file()]
        text = paths[0].read_text(encoding="utf-8") if paths else ""
        if not paths or (function and not re.search(rf"^def {function}\(", text, re.MULTILINE)):
            missing.append(f"{file}::{function}")
    assert not missing


def test_every_row_shows_its_test():
    """Where a table has a column of tests, each of its rows names a function, not another row."""
    bare, shown, has_tests = [], 0, False
    for line in PAGE.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if not line.startswith("|"):
            has_tests = False
        elif cells[-1] == "test":
            has_tests = True
        elif has_tests and not line.startswith("| ---"):
            shown += 1
            if not re.search(r"\.py::test_\w+`", cells[-1]):
                bare.append(cells[0])

    assert shown > 60
    assert not bare


def test_every_known_difference_has_its_row():
    """What the differential run forgives is what the page explains, no more and no less."""
    known = (ROOT / "tests" / "interop" / "differential" / "known.py").read_text(encoding="utf-8")
    names = set(re.findall(r'^    "([a-z0-9-]+)": \(', known, re.MULTILINE))
    section = PAGE.partition("## Requests that Triton 2.51 answers otherwise")[2].partition("\n## ")
    rows = set(re.findall(r"^\| `([a-z0-9-]+)` \|", section[0], re.MULTILINE))

    assert names
    assert rows == names
