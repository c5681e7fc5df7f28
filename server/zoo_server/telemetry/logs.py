"""Logging: one event a line on standard error, text or JSON, and the settings that callers may change.

log_info  log_warning  log_error     each kind of line on or off
log_verbose_level                    above 0: details for debugging, too
log_format                           default: the time of day; ISO8601: date and zone
"""

import json
import logging
import sys
import threading
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from zoo_server.errors import InvalidRequest, Unsupported

#: The forms of a line.
TEXT, JSON = "text", "json"

FORMAT = "%(asctime)s %(levelname)-7s %(message)s"

#: Of one process of several.
_WORKER_FORMAT = "%(asctime)s %(levelname)-7s worker {}: %(message)s"

#: The logger above all of the server's.
ROOT = "zoo_server"

#: A log setting's value, as the wire types it.
LogValue = bool | int | str

_DEFAULT_FORMAT, _ISO_FORMAT = "default", "ISO8601"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    """LogSettings' fields (docs/protocol.md 2.1); `log_file` is empty: the log goes to stderr."""

    log_file: str = ""
    log_info: bool = True
    log_warning: bool = True
    log_error: bool = True
    log_verbose_level: int = 0
    log_format: str = _DEFAULT_FORMAT

    def shows(self, level: int) -> bool:
        """Tell whether a line of a level of `logging` is written."""
        if level >= logging.ERROR:
            return self.log_error
        if level >= logging.WARNING:
            return self.log_warning
        return self.log_info if level >= logging.INFO else self.log_verbose_level > 0

    def threshold(self) -> int:
        """Return the lowest level written; above all of them if nothing is."""
        levels = (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR)
        return next((level for level in levels if self.shows(level)), logging.CRITICAL + 1)


def settings_of(level: str) -> LogSettings:
    """Return what --log-level comes to."""
    number = logging.getLevelNamesMapping()[level.upper()]
    return LogSettings(
        log_info=number <= logging.INFO,
        log_warning=number <= logging.WARNING,
        log_verbose_level=int(number <= logging.DEBUG),
    )


class _Formatter(logging.Formatter):
    """Writes the time as LogSettings asks."""

    def __init__(self, settings: LogSettings, worker: int | None) -> None:
        text = FORMAT if worker is None else _WORKER_FORMAT.format(worker)
        super().__init__(text, datefmt="%H:%M:%S")
        self.settings = settings

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        if self.settings.log_format == _ISO_FORMAT:
            return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        return super().formatTime(record, datefmt)


class _JsonFormatter(_Formatter):
    """Writes an object a line; `fields` of a record are members of their own."""

    def __init__(self, settings: LogSettings, worker: int | None) -> None:
        super().__init__(settings, worker)
        self._worker = {} if worker is None else {"worker": worker}

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        members = {"time": time, "level": record.levelname, "logger": record.name, **self._worker}
        members |= {"message": record.getMessage(), **getattr(record, "fields", {})}
        if record.exc_info:
            members["exception"] = self.formatException(record.exc_info)
        return json.dumps(members)


def configure(level: str, worker: int | None = None, *, line_format: str = TEXT) -> None:
    """Send the server's log to standard error; called once, by the program and never by a library.

    `worker` is the number of this process where the server has several; `line_format` is TEXT or JSON.
    """
    handler = logging.StreamHandler(sys.stderr)
    formatter = _JsonFormatter if line_format == JSON else _Formatter
    handler.setFormatter(formatter(settings_of(level), worker))
    root = logging.getLogger(ROOT)
    root.handlers = [handler]
    root.setLevel(level.upper())
    root.propagate = False
    # The HTTP server's own: its warnings are strangers' mistakes, one a request.
    web = logging.getLogger("uvicorn")
    web.handlers = [handler]
    web.setLevel(logging.ERROR)
    web.propagate = False
    # Pillow's: they are of strangers' pictures, and Python would remember each text for good.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    # A collector of traces that is away.
    traces = logging.getLogger("opentelemetry")
    traces.handlers = [handler]
    traces.propagate = False


class LogControl:
    """The settings in force; changed by callers, as a whole or not at all."""

    def __init__(self, level: str) -> None:
        self._lock = threading.Lock()
        self._settings = settings_of(level)

    @property
    def settings(self) -> LogSettings:
        """What is in force now."""
        return self._settings

    def change(self, values: Mapping[str, LogValue | None]) -> LogSettings:
        """Change some settings and return all of them.

        InvalidRequest for an unknown one or a wrong type, Unsupported for log_file; then nothing
        is changed.
        """
        with self._lock:
            if values:
                settings = _with_changes(self._settings, values)
                _apply(settings)
                self._settings = settings
            return self._settings


def _with_changes(settings: LogSettings, values: Mapping[str, LogValue | None]) -> LogSettings:
    if "log_file" in values:
        raise Unsupported("log file location can not be updated through network protocol")
    for key, value in values.items():
        # bool is a kind of int in Python, not on the wire: types are compared, not tested.
        kind = {"log_verbose_level": int, "log_format": str}.get(key, bool)
        if key not in LogSettings.__slots__:
            raise InvalidRequest(
                f"unknown log setting '{key[:300]}', known are: {', '.join(LogSettings.__slots__)}"
            )
        if type(value) is not kind:
            name = {bool: "boolean", int: "int32", str: "string"}[kind]
            raise InvalidRequest(f"expect {name} for '{key}'")
        if key == "log_format" and value not in (_DEFAULT_FORMAT, _ISO_FORMAT):
            raise InvalidRequest(
                f"invalid argument for log_format, got: {str(value)[:300]}; known are "
                f"{_DEFAULT_FORMAT} and {_ISO_FORMAT}"
            )
    return replace(settings, **values)  # type: ignore[arg-type]  # each kind was compared above


def _apply(settings: LogSettings) -> None:
    """Make the logging follow; an embedding program's own handlers get the threshold only."""
    root = logging.getLogger(ROOT)
    root.setLevel(settings.threshold())
    for handler in root.handlers:
        if isinstance(handler.formatter, _Formatter):
            handler.formatter.settings = settings
            handler.filters = [lambda record: settings.shows(record.levelno)]
