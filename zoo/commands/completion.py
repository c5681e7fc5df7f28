"""zoo completion: a script that completes commands and options in a shell."""

from __future__ import annotations

import argparse
from pathlib import Path

#: Writes the models' names for a shell while somebody types, who does not want to read its errors.
NAMES = "zoo list --names 2>/dev/null"

#: In bash, completes an argument that is a model's name or a file.
_NAMES_OR_FILES = f"""
_zoo_names_or_files() {{
  compgen -W "$({NAMES})" -- $1
  compgen -f -- $1
}}"""

SUMMARY = "print the script that completes commands, options and models in bash, zsh or fish"
EXAMPLE = (
    "zoo completion bash > ~/.local/share/bash-completion/completions/zoo\n"
    "  zoo completion zsh > ~/.zfunc/_zoo\n"
    "  zoo completion fish > ~/.config/fish/completions/zoo.fish"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("shell", choices=("bash", "zsh", "fish"))


def run(options: argparse.Namespace) -> int:
    """Print the script for the whole parser, which the command line left in the options."""
    import shtab

    _mark(options.parser)
    print(shtab.complete(options.parser, shell=options.shell))
    return 0


def _mark(parser: argparse.ArgumentParser) -> None:
    """Let arguments that are paths be completed with files, and models with their names."""
    import shtab

    for action in parser._actions:  # shtab reads the same; argparse has no other way
        if action.type is Path:
            action.complete = shtab.FILE  # type: ignore[attr-defined]
        if not action.option_strings and action.dest in ("model", "models"):
            names = shtab.cmd(NAMES)
            if "FILE" in f"{action.metavar} {action.help}":
                names |= {"bash": "_zoo_names_or_files", "preamble": {"bash": _NAMES_OR_FILES}}
            action.complete = names  # type: ignore[attr-defined]
        if isinstance(action.choices, dict):
            for command in action.choices.values():
                _mark(command)
