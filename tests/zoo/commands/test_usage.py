"""A mistake on the command line is one line that names it, and the exit status 2."""

import subprocess
import sys

import pytest

from zoo import cli


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["list", "--json", "--markdown", "README.md"],
            "zoo list: argument --markdown: not allowed",
        ),
        (["serve", "--http=1"], "zoo serve: unrecognized arguments: --http=1"),
        (["serve", "--grpc-port"], "zoo serve: argument --grpc-port: expected one argument"),
        (["--no-such"], "unrecognized arguments: --no-such (options: zoo --help)"),
        (["list", "--no-such"], "unrecognized arguments: --no-such (options: zoo list --help)"),
        (["nothing"], "invalid choice: 'nothing'"),
        (["run", "m", "--json", "1", "--no"], "zoo run: unrecognized arguments: 1 --no"),
        (["show", "m", "--json", "n"], "zoo show: unrecognized arguments: n"),
    ],
)
def test_a_wrong_option_is_one_line(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The usage of dozens of options is what --help is for."""
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    said = capsys.readouterr().err

    assert caught.value.code == 2
    assert said.count("\n") == 1
    assert words in said


@pytest.mark.parametrize(
    ("words", "name", "values"),
    [
        ("run m --json 1,2 -", "input", ["1,2", "-"]),
        ("predict m 1,2 --json -3,4", "input", ["1,2", " -3,4"]),
        ("verify a --json b c.onnx", "targets", ["a", "b", "c.onnx"]),
        ("export --json a --opset 18 b", "models", ["a", "b"]),
        ("train a", "models", ["a"]),
    ],
)
def test_words_may_stand_behind_options(words: str, name: str, values: list[str]) -> None:
    """Or a model or an input would be called an unrecognized argument."""
    assert getattr(cli.parse(words.split()), name) == values


def test_sigterm_while_the_server_is_imported_says_so() -> None:
    """A process that is ended before it serves leaves with a line and status 0."""
    program = (
        "import os, signal, sys\n"
        "class Finder:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'zoo_server.main':\n"
        "            os.kill(os.getpid(), signal.SIGTERM)\n"
        "sys.meta_path.insert(0, Finder())\n"
        "from zoo.cli import main\n"
        "sys.exit(main(['serve', '.']))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=240, check=False
    )

    assert (done.returncode, done.stderr) == (0, "zoo: leaving: the server was not started yet\n")


def test_serve_takes_the_repository_as_other_commands_do(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """By --repository, or by its place; not by both, unless they agree."""
    for arguments in (["--repository", "/nope"], ["/nope"], ["/nope", "--repository", "/nope"]):
        assert cli.main(["serve", *arguments]) == 2
        assert "there is no /nope" in capsys.readouterr().err
    assert cli.main(["serve", "/nope", "--repository", "/other"]) == 2
    assert "give REPOSITORY, or --repository" in capsys.readouterr().err
