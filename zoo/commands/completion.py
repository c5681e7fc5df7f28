"""zoo completion: a script that completes commands, options, models and files in a shell."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

SUMMARY = "print the script that completes commands, options and models in bash, zsh or fish"
EXAMPLE = (
    'eval "$(zoo completion bash)"    # in ~/.bashrc\n'
    '  eval "$(zoo completion zsh)"     # in ~/.zshrc, below `autoload -Uz compinit && compinit`\n'
    "  zoo completion fish | source     # in ~/.config/fish/config.fish"
)

#: What writes the models' names, in each shell, alone and with the files that begin as the word does. Asked while
#: somebody types, who does not want to read its errors.
FUNCTIONS: Mapping[str, str] = {
    "bash": """
_zoo_names() {
  compgen -W "$(zoo list --names 2>/dev/null)" -- $1
}
_zoo_names_or_files() {
  _zoo_names $1
  compgen -f -- $1
}
""",
    "zsh": """
_zoo_names() {
  compadd -- ${(f)"$(zoo list --names 2>/dev/null)"}
}
_zoo_names_or_files() {
  _zoo_names
  _files
}
""",
    "fish": """
function _zoo_names
  zoo list --names 2>/dev/null
end
function _zoo_names_or_files
  _zoo_names
  __fish_complete_path (commandline -ct)
end
""",
}

#: Metavars whose value is a folder, and those whose value is a file.
FOLDER = re.compile(r"\bDIR\b|REPOSITORY")
FILE = re.compile(r"FILE|INPUT|\.\w+$")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("shell", choices=tuple(FUNCTIONS))


def run(options: argparse.Namespace) -> int:
    """Print the script for the whole parser, which the command line left in the options."""
    import shtab

    _mark(options.parser)
    print(shtab.complete(options.parser, shell=options.shell, preamble=FUNCTIONS[options.shell]))
    return 0


def _mark(parser: argparse.ArgumentParser) -> None:
    """Say of each argument that is no choice what completes it: names of models, files, folders."""
    for action in parser._actions:  # shtab reads the same; argparse has no other way
        if complete := _completion(action):
            action.complete = complete  # type: ignore[attr-defined]
        if isinstance(action.choices, dict):
            for command in action.choices.values():
                _mark(command)


def _completion(action: argparse.Action) -> Mapping[str, Any] | None:
    import shtab

    metavar = str(action.metavar)
    if not action.option_strings and metavar.startswith("MODEL"):
        name = "_zoo_names_or_files" if "FILE" in f"{metavar} {action.help}" else "_zoo_names"
        return {"bash": name, "zsh": name, "fish": f"({name})"}
    if FOLDER.search(metavar):
        return shtab.DIRECTORY
    return shtab.FILE if FILE.search(metavar) else None
