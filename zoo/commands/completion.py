"""zoo completion: a script that completes commands and options in a shell."""

from __future__ import annotations

import argparse
from pathlib import Path

SUMMARY = "print the script that completes commands and options in bash, zsh or fish"
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

    _mark_files(options.parser)
    print(shtab.complete(options.parser, shell=options.shell))
    return 0


def _mark_files(parser: argparse.ArgumentParser) -> None:
    """Let arguments that are paths be completed with files."""
    import shtab

    for action in parser._actions:  # shtab reads the same; argparse has no other way
        if action.type is Path:
            action.complete = shtab.FILE  # type: ignore[attr-defined]
        if isinstance(action.choices, dict):
            for command in action.choices.values():
                _mark_files(command)
