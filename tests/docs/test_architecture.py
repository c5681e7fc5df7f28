"""docs/architecture.md and its pictures show the rooms that there are."""

import re
import runpy
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
DRAWING = ROOT / "docs/draw.py"
PACKAGES = (ROOT / "zoo", ROOT / "server/zoo_server")


def _folders(package: Path) -> set[str]:
    """The rooms of a package: its folders with modules."""
    return {path.parent.name for path in package.glob("*/__init__.py")}


def test_every_room_is_in_the_tables_and_each_row_is_a_room() -> None:
    """A folder that is added, renamed or removed changes the page."""
    rows = re.findall(r"^\| `([\w/]+)/` \|.*\| `([\w/.]+)` \|$", PAGE, re.MULTILINE)
    named = {room for room, _ in rows}
    folders = {
        f"{package.relative_to(ROOT)}/{folder}"
        for package in PACKAGES
        for folder in _folders(package)
    }

    assert named == folders
    assert not [first for _, first in rows if not (ROOT / first).is_file()]


def test_the_picture_has_every_room_and_no_other() -> None:
    """Boxes are folders or modules of the packages, and all that a note is for are in the layers."""
    drawing = runpy.run_path(str(DRAWING))
    for package in PACKAGES:
        boxes = {name for row in drawing["layers"](package.name) for name, _ in row}
        modules = {path.stem for path in package.glob("*.py")}
        assert _folders(package) <= boxes <= _folders(package) | modules
        assert boxes == set(drawing["NOTES"][package.name])


def test_the_pictures_are_what_the_script_draws() -> None:
    done = subprocess.run(
        [sys.executable, str(DRAWING), "--check"], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout


def test_every_box_is_inside_its_picture() -> None:
    for path in (ROOT / "docs/images").glob("*.svg"):
        drawn = path.read_text(encoding="utf-8")
        width, height = map(int, re.findall(r'viewBox="0 0 (\d+) (\d+)"', drawn)[0])
        boxes = re.findall(
            r'<rect class="\w+" x="(\d+)" y="(\d+)" width="(\d+)" height="(\d+)"', drawn
        )
        assert boxes, path.name
        for x, y, w, h in (map(int, box) for box in boxes):
            assert x + w <= width, path.name
            assert y + h <= height, path.name
