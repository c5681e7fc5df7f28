"""What is up to date: the key of a publication covers all code that can change what is published."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import zoo
from zoo.export.from_recipe import EXPORT_CODE
from zoo.files import code_files
from zoo.recipes import FAMILIES
from zoo.recipes.registry import Registry
from zoo.training.runs import TRAINING_CODE, key

ROOM = Path(zoo.__file__).parent

#: Imported on the way, and why a change in it leaves what is published as it is.
ELSEWHERE = {
    "errors.py": "messages",
    "files.py": "how bytes come to the disk, not which",
    "version.py": "the version itself is in the key",
}


def _imports(path: Path) -> Iterator[str]:
    """Yield the rooms and loose files of the zoo that a file imports, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for parts in (name.split(".") for name in names):
            if parts[0] == "zoo" and len(parts) > 1:
                yield parts[1] if (ROOM / parts[1]).is_dir() else f"{parts[1]}.py"


def test_the_key_covers_all_code_that_an_export_runs() -> None:
    """Every room that the pipeline comes to import is in a key, or named here with the reason."""
    seen: set[str] = set()
    waiting = ["export"]
    while waiting:
        place = waiting.pop()
        if place not in seen:
            seen.add(place)
            waiting += [name for path in code_files(place) for name in _imports(path)]

    assert seen - {*EXPORT_CODE, *TRAINING_CODE} == set(ELSEWHERE)


def test_every_place_of_the_keys_holds_code() -> None:
    """One that moved away is noticed."""
    assert [place for place in (*EXPORT_CODE, *TRAINING_CODE) if not code_files(place)] == []


def test_a_recipe_is_trained_again_for_its_own_family_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The families are files of a covered room, and in no other family's key."""
    read: list[Path] = []
    checksum = "zoo.training.runs._cached_sha256"
    monkeypatch.setattr(checksum, lambda path: read.append(path) or "0")
    key(Registry.default(installed=()).get("dense_iris"))

    families = {ROOM / "recipes" / f"{family}.py" for family in FAMILIES}
    assert families & set(read) == {ROOM / "recipes/dense.py"}
    assert {ROOM / "recipes/recipe.py", ROOM / "datasets/tables.py"} <= set(read)
