"""What is up to date: the key of a publication covers all code that can change what is published."""

import ast
from collections.abc import Iterator
from pathlib import Path

import zoo
from zoo.export.from_recipe import EXPORT_SOURCES
from zoo.training.runs import TRAINING_CODE

ROOM = Path(zoo.__file__).parent

#: Imported on the way, and why a change in it leaves what is published as it is.
ELSEWHERE = {
    "errors.py": "messages",
    "recipes/__init__.py": "recipes are in the training's key, file by file",
    "recipes/registry.py": "which recipes there are",
    "version.py": "the version itself is in the key",
}


def _imports(path: Path) -> Iterator[Path]:
    """Yield the zoo's own files that a file imports, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            room, *parts = name.split(".")
            place = ROOM.joinpath(*parts)
            if room == "zoo":
                candidates = (place.with_suffix(".py"), place / "__init__.py")
                yield from (file for file in candidates if file.is_file())


def test_the_key_covers_all_code_that_an_export_runs() -> None:
    """A source that the pipeline comes to import is in a key, or is named here with the reason."""
    seen: set[Path] = set()
    waiting = [ROOM / "export/from_recipe.py"]
    while waiting:
        path = waiting.pop()
        if path not in seen:
            seen.add(path)
            waiting += _imports(path)
    covered = {path for pattern in EXPORT_SOURCES for path in ROOM.glob(pattern)}
    covered |= {path for pattern in TRAINING_CODE for path in ROOM.glob(pattern)}

    assert {path.relative_to(ROOM).as_posix() for path in seen - covered} == set(ELSEWHERE)


def test_every_pattern_of_the_key_names_a_file() -> None:
    """A source that moved away is noticed."""
    assert [pattern for pattern in EXPORT_SOURCES if not list(ROOM.glob(pattern))] == []
