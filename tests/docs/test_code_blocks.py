"""Every code block of the pages is code: python compiles, and a console's lines are commands that there are."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from importlib.util import find_spec

import pytest

from tests.docs.blocks import MARKS, PAGES, ROOT, Block, blocks, same
from zoo.cli import parse

BLOCKS = [block for page in PAGES for block in blocks(page)]

#: Programs of others, whose own options are not checked here.
FOREIGN = {"cd", "docker", "export", "git", "kubectl", "serve", "source", "$EDITOR"}


def _consoles() -> list[Block]:
    return [block for block in BLOCKS if block.language == "console"]


def test_the_pages_have_blocks_of_known_kinds() -> None:
    assert len(BLOCKS) > 50
    assert not [str(block) for block in BLOCKS if block.mark not in MARKS]
    kinds = {"", "console", "js", "python", "text", "toml", "{eval-rst}", "{toctree}"}
    assert {block.language for block in BLOCKS} <= kinds


def test_python_compiles() -> None:
    for block in BLOCKS:
        if block.language == "python":
            compile(block.text, str(block), "exec")


def test_toml_is_toml() -> None:
    assert [tomllib.loads(block.text) for block in BLOCKS if block.language == "toml"]


@pytest.mark.parametrize("block", _consoles(), ids=str)
def test_a_line_of_a_console_is_a_command(block: Block) -> None:
    """`zoo` by its own parser, `make` by its targets, `pip` by our extras, `curl` by its JSON."""
    assert block.commands
    for words, _ in block.commands:
        _check(words)


def _check(words: list[str]) -> None:
    program, rest = words[0].removeprefix(".venv/bin/"), words[1:]
    if joints := [at for at, word in enumerate(rest) if word in ("&&", "|")]:
        _check(rest[joints[0] + 1 :])
        rest = rest[: joints[0]]
    match program:
        case "zoo":
            parse(rest)
        case "make":
            targets = re.findall(r"^([\w-]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE)
            assert {word for word in rest if "=" not in word} <= set(targets)
        case "pip":
            extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
                "optional-dependencies"
            ]
            extras_named = re.findall(r"layer-zoo\[([\w,]+)\]", " ".join(rest))
            assert rest[0] == "install"
            assert {extra for each in extras_named for extra in each.split(",")} <= set(extras)
        case "python" if rest[0] == "-m":
            assert find_spec(rest[1]) is not None
        case "python":
            named = {block.name for block in BLOCKS if block.mark == "file"}
            assert rest[0] in named or (ROOT / rest[0]).is_file()
        case "curl" | "grpcurl":
            json.loads(rest[rest.index("-d") + 1])
        case "eval":
            _check(shlex.split(rest[0].removeprefix("$(").removesuffix(")")))
        case _:
            assert program in FOREIGN


def test_a_wrong_command_is_found() -> None:
    with pytest.raises(SystemExit):
        _check(["zoo", "serve", "--no-such-option"])
    with pytest.raises(AssertionError):
        _check(["make", "no-such-target"])


def test_what_is_printed_is_compared() -> None:
    assert same("setosa  0.9999\n--- ---", "setosa 0.98\n- -------")
    assert not same("setosa 0.9999", "setosa 0.5")
    assert not same("setosa 0.9999", "virginica 0.9999")
    assert not same("one line", "one line more")
