"""The command line: `zoo COMMAND ...`.

Each command is a module of zoo/commands with SUMMARY, EXAMPLE, add_arguments and run. Exit status:
0 all well, 1 a check failed, 2 bad usage. A user's mistake is one line on standard error, never a
traceback.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any, NoReturn

from zoo.errors import MissingPackage, ZooError
from zoo.terminal.messages import say
from zoo_server.version import VERSION

COMMANDS = (
    "list", "show", "run", "predict", "bench", "new", "train", "export", "verify",
    "push", "pull", "serve", "ps", "top", "site", "layers", "completion",
)  # fmt: skip

#: The extra that brings each package of those that are not always there.
EXTRAS = {"onnxruntime": "cpu"} | dict.fromkeys(
    ("tensorflow", "keras", "tf2onnx", "onnx", "sklearn", "statsmodels"),
    "train",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        options = parse(arguments)
        if options.command is None:
            options.parser.print_help()
            return 2
        status: int = options.run(options)
        sys.stdout.flush()
    except ZooError as error:
        return _fail(str(error), error.exit_status)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in EXTRAS:
            raise
        missing = MissingPackage(package, f"`zoo {arguments[0]}`", EXTRAS[package])
        return _fail(str(missing), missing.exit_status)
    except BrokenPipeError:
        # The reader of the output has ended (zoo list | head).
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return _fail("interrupted", 130)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _fail(f"{where}{error.strerror or error}", 1)
    return status


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line; argparse would print the usage before it, dozens of lines.

    An option is written out: an abbreviation would change its meaning with the next option.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{"allow_abbrev": False} | settings)

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (options: {self.prog} --help)\n")


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Return the options of a command line; `run` is the command's. A wrong line ends with SystemExit."""
    arguments = _without_help([_positional(word) for word in words])
    options, unknown = _parser(arguments).parse_known_args(arguments)
    if unknown and not _taken_behind_options(options, unknown):
        # The command's own help is where to look.
        options.command_parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    return options


def _taken_behind_options(options: argparse.Namespace, words: list[str]) -> bool:
    """Add words that stand behind an option to those before it; False if the command takes none.

    argparse reads the words of `MODEL INPUT...` up to the first option alone.
    """
    actions = options.command_parser._get_positional_actions()
    several = [action.dest for action in actions if action.nargs in ("*", "+")]
    if not several or any(word.startswith("-") and word != "-" for word in words):
        return False
    setattr(options, several[-1], [*getattr(options, several[-1]), *words])
    return True


def _parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    """Build the parser; import only the requested command, or all of them for the help."""
    parser = _Parser(
        prog="zoo",
        description="From a Keras model to a portable ONNX file: trained, proven equal, served.",
        epilog="`zoo help COMMAND` says more of one; `zoo run dense_iris` is a beginning.",
    )
    parser.add_argument("--version", action="version", version=f"zoo {VERSION}")
    parser.set_defaults(parser=parser, command_parser=parser)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    chosen = [name for name in COMMANDS if name in arguments[:1] and name != "completion"]
    for name in chosen or COMMANDS:
        module: Any = import_module(f"zoo.commands.{name}")
        command = commands.add_parser(
            name,
            help=module.SUMMARY,
            description=module.SUMMARY,
            epilog=f"example:\n  {module.EXAMPLE}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(command)
        command.set_defaults(run=module.run, command_parser=command)
    return parser


def _without_help(arguments: list[str]) -> list[str]:
    """Return `zoo help COMMAND` as `zoo COMMAND --help`."""
    return [*arguments[1:2], "--help"] if arguments[:1] == ["help"] else arguments


def _positional(word: str) -> str:
    """Return a word so that argparse takes numbers that start with a minus for no option.

    It passes over words with a space in them; no option of ours starts with a digit.
    """
    return f" {word}" if re.match(r"-\.?\d", word) else word


def _fail(message: str, status: int) -> int:
    say(message, failed=True)
    return status


if __name__ == "__main__":
    sys.exit(main())
