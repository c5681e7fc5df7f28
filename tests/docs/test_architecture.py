"""docs/architecture.md and its pictures show the rooms that there are."""

import re
import runpy
import subprocess
import sys
from pathlib import Path

import grimp

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
DRAWING = ROOT / "docs/draw.py"
PACKAGES = {"ZOO": ROOT / "zoo", "SERVER": ROOT / "server/zoo_server"}


def _folders(package: Path) -> set[str]:
    """The rooms of a package: its folders with modules."""
    return {path.parent.name for path in package.glob("*/__init__.py")}


def _room_imports(package: str) -> set[tuple[str, str]]:
    """Pairs of a room and a room that one of its modules imports."""
    graph = grimp.build_graph(package, cache_dir=None)
    return {
        (importer.split(".")[1], imported.split(".")[1])
        for importer in graph.modules - {package}
        for imported in graph.find_modules_directly_imported_by(importer) - {package}
    }


def _row(rows: tuple[tuple[tuple[str, str], ...], ...], room: str) -> int:
    """The row in which a room is drawn, from the top; -1 for one that is in none."""
    return next((place for place, row in enumerate(rows) if room in dict(row)), -1)


def test_every_room_is_in_the_tables_and_each_row_is_a_room() -> None:
    """A folder that is added, renamed or removed changes the page."""
    rows = re.findall(r"^\| `([\w/]+)/` \|.*\| `([\w/.]+)` \|$", PAGE, re.MULTILINE)
    named = {room for room, _ in rows}
    folders = {
        f"{package.relative_to(ROOT)}/{folder}"
        for package in PACKAGES.values()
        for folder in _folders(package)
    }

    assert named == folders
    assert not [first for _, first in rows if not (ROOT / first).is_file()]


def test_the_picture_has_every_room_and_no_other() -> None:
    """Boxes are folders or modules of the packages; `client` stands apart from the layers."""
    drawing = runpy.run_path(str(DRAWING))
    for constant, package in PACKAGES.items():
        boxes = {name for row in drawing[constant] for name, _ in row}
        modules = {path.stem for path in package.glob("*.py")}
        assert boxes | {"client"} >= _folders(package)
        assert boxes <= _folders(package) | modules


def test_a_room_imports_what_is_drawn_below_it() -> None:
    """The rows are the order of imports: none runs up, and none aside."""
    drawing = runpy.run_path(str(DRAWING))
    against = {
        (above, below)
        for constant, package in PACKAGES.items()
        for above, below in _room_imports(package.name)
        if above != below and _row(drawing[constant], above) >= _row(drawing[constant], below) >= 0
    }

    assert not against


def test_the_pictures_are_what_the_script_draws() -> None:
    done = subprocess.run(
        [sys.executable, str(DRAWING), "--check"], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout
