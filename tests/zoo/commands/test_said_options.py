"""Options, commands, targets and extras that the code's messages name exist, where they are said to."""

import argparse
import ast
import re
import tomllib
from collections.abc import Iterator, Set
from functools import cache
from importlib import import_module
from pathlib import Path

from zoo import cli

HERE = Path(__file__).parents[3]

#: Where messages of each command are written; all else may speak of any command.
ROOMS = {
    **{f"zoo/commands/{name}.py": name for name in cli.COMMANDS},
    "zoo/commands/trainings.py": "train",
    "zoo/export/": "export",
    "zoo/convert/": "export",
    "zoo/quantize/": "export",
    "zoo/training/": "train",
    "zoo/runtimes/": "verify",
    "zoo/atlas/": "layers",
    "zoo/site/": "site",
    "server/": "serve",
}

OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*")
COMMAND = re.compile(rf"\bzoo ({'|'.join(cli.COMMANDS)})\b([^`\n,;)]*)")
FOREIGN = re.compile(r"\b(curl|pip install|ray start|npm)\b[^`\n;)]*")


def _strings(tree: ast.Module) -> Iterator[str]:
    """Yield every text of a file that is no docstring; of an f-string what stands fixed in it."""
    docs = {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    inside = {
        part for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(
                str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values
            )
        elif (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and node not in docs
            and node not in inside
        ):
            yield node.value


@cache
def _texts() -> list[tuple[str, str]]:
    """Return (file, text) of all that the code may say, which is more than one word."""
    files = [*(HERE / "zoo").rglob("*.py"), *(HERE / "server/zoo_server").rglob("*.py")]
    return [
        (path.relative_to(HERE).as_posix(), text)
        for path in sorted(files)
        for text in _strings(ast.parse(path.read_text()))
        if " " in text.strip()
    ]


@cache
def _options(command: str) -> Set[str]:
    """Return the long options of a command."""
    parser = argparse.ArgumentParser(prog=command)
    import_module(f"zoo.commands.{command}").add_arguments(parser)
    return {option for action in parser._actions for option in action.option_strings}


def _command_of(file: str) -> str | None:
    return next((command for room, command in ROOMS.items() if file.startswith(room)), None)


def test_an_option_that_is_said_exists_in_its_command() -> None:
    """In the command that is named with it, else in that of the room, or of several."""
    anywhere = {option for command in cli.COMMANDS for option in _options(command)}
    said, wrong = 0, set()
    for file, text in _texts():
        own = _command_of(file)
        places = [(name, words, _options(name)) for name, words in COMMAND.findall(text)]
        rest = FOREIGN.sub("", COMMAND.sub("", text))
        places.append((own or "zoo", rest, anywhere if own is None else _options(own)))
        for command, words, known in places:
            options = set(OPTION.findall(words))
            said += len(options)
            wrong |= {(file, command, option) for option in options - known}

    assert said > 100
    assert wrong == set()


def test_a_command_that_is_said_exists() -> None:
    said = {name for _, text in _texts() for name in re.findall(r"`zoo ([a-z]+)[^`]*`", text)}

    assert said <= {*cli.COMMANDS, "help"}


def test_a_target_of_make_that_is_said_exists() -> None:
    targets = re.findall(r"^([a-z-]+):", (HERE / "Makefile").read_text(), re.MULTILINE)
    said = {name for _, text in _texts() for name in re.findall(r"`make ([a-z-]+)`", text)}

    assert said
    assert said <= set(targets)


def test_an_extra_that_is_said_exists() -> None:
    project = tomllib.loads((HERE / "pyproject.toml").read_text())["project"]
    said = {
        extra
        for _, text in _texts()
        for names in re.findall(r"layer-zoo\[([\w,-]+)\]", text)
        for extra in names.split(",")
    }

    assert said
    assert said <= set(project["optional-dependencies"])
