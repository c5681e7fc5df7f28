"""Completion as people meet it: the lines that the help gives are typed into each shell, and Tab is pressed."""

import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from zoo import cli
from zoo.commands.completion import EXAMPLE

#: How each shell is started: with no settings of a user's, reading from a terminal.
SHELLS = {
    "bash": ("bash", "--norc", "--noprofile", "-i"),
    "zsh": ("zsh", "-f", "-i"),
    "fish": ("fish", "--no-config", "-i"),
}

#: What is typed before Tab, and the words that are there then.
TYPED = {
    "zoo predi": ("zoo", "predict"),
    "zoo show dense_i": ("zoo", "show", "dense_iris"),
    "zoo export --quant": ("zoo", "export", "--quantize"),
    "zoo export --quantize au": ("zoo", "export", "--quantize", "auto"),
    "zoo predict dense_n": ("zoo", "predict", "dense_notes.txt"),
    "zoo predict dense_iris not": ("zoo", "predict", "dense_iris", "notes.csv"),
    "zoo export -o not": ("zoo", "export", "-o", "notes.csv"),
    "zoo serve mod": ("zoo", "serve", "mod_folder"),
    "zoo list --repository mod": ("zoo", "list", "--repository", "mod_folder"),
}

SECONDS = 60


class Terminal:
    """A shell that reads from a pseudo-terminal."""

    def __init__(self, terminal: int) -> None:
        self._terminal = terminal

    def type(self, text: str) -> None:
        """Press these keys."""
        os.write(self._terminal, text.encode())

    def read_until(self, pattern: str) -> re.Match[str]:
        """Return the first match in what the shell writes from now on."""
        seen, until = "", time.monotonic() + SECONDS
        while time.monotonic() < until:
            if select.select([self._terminal], [], [], 0.5)[0]:
                seen += os.read(self._terminal, 65536).decode(errors="replace")
                if found := re.search(pattern, re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", seen)):
                    return found
        raise AssertionError(f"no {pattern!r} in {seen!r}")


@contextmanager
def _terminal(shell: str, folder: Path) -> Iterator[Terminal]:
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell} on this machine (Debian: apt-get install {shell})")
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(folder),
        "TERM": "xterm",
        "LC_ALL": "C.UTF-8",
    }
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(folder)
        os.execvpe(shell, SHELLS[shell], environment)
    try:
        yield Terminal(terminal)
    finally:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        os.close(terminal)


def _documented(shell: str) -> str:
    """Return the lines of the help for a shell: what its comment names first is done, too."""
    (line,) = (line for line in EXAMPLE.splitlines() if f"completion {shell}" in line)
    code, _, comment = line.partition("#")
    before = re.search(r"`(.+)`", comment)
    return f"{before[1]}; {code}".strip() if before else code.strip()


@pytest.mark.parametrize("shell", SHELLS)
def test_tab_completes_commands_options_models_and_files(shell: str, tmp_path: Path) -> None:
    for name in ("dense_notes.txt", "notes.csv"):
        (tmp_path / name).write_text("")
    (tmp_path / "mod_folder").mkdir()
    with _terminal(shell, tmp_path) as terminal:
        terminal.type(f"{_documented(shell)}\nprintf '<%s>\\n' rea'dy'\n")
        terminal.read_until("<ready>")
        for typed, words in TYPED.items():
            # Then to the line's beginning, and what writes the words instead of running them.
            terminal.type(f"{typed}\t\x01printf '<%s>' \x05 end\n")
            found = terminal.read_until(r"((?:<[^<>%]*>)+)<end>")
            # zsh takes the slash of a folder away again, when a space follows.
            assert tuple(re.findall("<(.*?)/?>", found[1])) == words


def test_completion_knows_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    """Bash reads the script without complaint."""
    assert cli.main(["completion", "bash"]) == 0
    script = capsys.readouterr().out

    assert all(name in script for name in cli.COMMANDS)
    assert "--metrics" in script
    done = subprocess.run(["bash", "-n"], input=script, text=True, check=False, capture_output=True)
    assert (done.returncode, done.stderr) == (0, "")
