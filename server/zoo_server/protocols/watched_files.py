"""Files that may change while the server runs: read again when they do, kept as they were if that fails."""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Generic, TypeVar

from zoo_server.errors import ConfigurationError

_LOG = logging.getLogger(__name__)

#: How often to see whether they changed.
CHECK_SECONDS = 1.0

T = TypeVar("T")


class WatchedFiles(Generic[T]):
    """What some files hold together; their contents are compared, whatever their times say."""

    def __init__(self, files: Mapping[str, Path], parse: Callable[[Sequence[bytes]], T]) -> None:
        """Read them. `files` are by the option that names each; `parse` takes their contents in order.

        ConfigurationError if a file cannot be read, or as `parse` says.
        """
        self._files = files
        self._parse = parse
        self._contents = self._read()
        #: The error of the last look; "" for none.
        self._error = ""
        #: What is in force.
        self.value = parse(self._contents)

    def reload(self) -> None:
        """Read them again if they changed; what is wrong with them is one line of the log."""
        try:
            contents = self._read()
            if contents == self._contents and not self._error:
                return
            value = self._parse(contents)
        except ConfigurationError as error:
            if str(error) != self._error:
                _LOG.error("%s; what was read before stays in force", error)
            self._error = str(error)
            return
        self._error = ""
        if contents != self._contents:
            self._contents, self.value = contents, value
            _LOG.info("%s: read again, and in force", " and ".join(self._files))

    def _read(self) -> list[bytes]:
        return [_content(flag, path) for flag, path in self._files.items()]


def _content(flag: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{flag} '{path}' cannot be read: {error.strerror}") from None
