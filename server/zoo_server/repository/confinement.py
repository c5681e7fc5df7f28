"""Decides which files of a repository are read: regular ones, inside of it, of bounded size.

A link may lead anywhere inside the repository. One that leads out is refused unless --follow-links
says otherwise: who writes a repository must not choose which other files of this machine are read.
Pipes, devices and sockets are refused always, as reading one may never end.
"""

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from zoo_server.errors import ModelLoadError


@dataclass(frozen=True, slots=True)
class Confinement:
    """The folder that files must lie in, its own links resolved."""

    root: Path
    follow_links: bool = False

    def leads_out(self, path: Path) -> bool:
        """Tell whether a path ends outside of the repository, and may not."""
        return not self.follow_links and not Path(os.path.realpath(path)).is_relative_to(self.root)

    def check(self, file: Path, what: str, most_bytes: int) -> int:
        """Return the size of a file that may be read; ModelLoadError calls it `what` and says why not."""
        try:
            status = file.stat()
        except OSError as error:
            raise ModelLoadError(f"{what} cannot be read: {error.strerror}") from None
        except ValueError:
            raise ModelLoadError(f"{what} cannot be read: not a file name") from None
        if not stat.S_ISREG(status.st_mode):
            raise ModelLoadError(f"{what} is not a regular file")
        if self.leads_out(file):
            raise ModelLoadError(
                f"{what} is a link that leads out of the repository: copy the file, or start the "
                "server with --follow-links"
            )
        if status.st_size > most_bytes:
            raise ModelLoadError(f"{what} is larger than {most_bytes} bytes")
        return status.st_size

    def read(self, file: Path, what: str, most_bytes: int) -> bytes:
        """Return a file's content; ModelLoadError as from `check`."""
        size = self.check(file, what, most_bytes)
        try:
            with file.open("rb") as opened:
                content = opened.read(size + 1)
        except OSError as error:
            raise ModelLoadError(f"{what} cannot be read: {error.strerror}") from None
        if len(content) > size:
            raise ModelLoadError(f"{what} is still being written")
        return content

    def read_text(self, file: Path, what: str, most_bytes: int) -> str:
        """Return a file's text, which must be UTF-8; a byte order mark is no part of it."""
        try:
            return self.read(file, what, most_bytes).decode("utf-8-sig")
        except UnicodeDecodeError:
            raise ModelLoadError(f"{what} is not UTF-8 text") from None
