"""TraceSetting's values, stored and returned, for all models and single ones (docs/protocol.md 2.1).

No traces are written yet: their file is fixed when a server starts, and this one has none. So they
cannot be switched on; the other settings are checked and kept, as Triton does without a file.
"""

import threading
from collections.abc import Callable, Mapping, Sequence

from zoo_server.errors import InvalidRequest, Unsupported

Settings = Mapping[str, tuple[str, ...]]

DEFAULTS: Settings = {
    "trace_level": ("OFF",),
    "trace_rate": ("1000",),
    "trace_count": ("-1",),
    "log_frequency": ("0",),
    "trace_file": ("",),
    "trace_mode": ("triton",),
}

_OFF = "OFF"
_LEVELS = (_OFF, "TIMESTAMPS", "TENSORS")

_UINT32_MAX, _INT32_MAX = 2**32 - 1, 2**31 - 1


class TraceSettings:
    """The settings of the server, and of the models that have some of their own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._server: dict[str, tuple[str, ...]] = {}
        self._models: dict[str, dict[str, tuple[str, ...]]] = {}

    def change(self, model: str, values: Mapping[str, Sequence[str]]) -> Settings:
        """Change some settings, of one model or for the name "" of all, and return all of them.

        An empty value takes a setting back: to the server's for a model, to the default for the
        server. InvalidRequest for a value that is none, Unsupported for trace_file; then nothing is
        changed.
        """
        checked = {key: _checked(key, tuple(value)) for key, value in values.items()}
        with self._lock:
            if checked:
                self._merge(model, checked)
            return {**DEFAULTS, **self._server, **self._models.get(model, {})}

    def _merge(self, model: str, checked: Mapping[str, tuple[str, ...]]) -> None:
        own = self._models.setdefault(model, {}) if model else self._server
        own.update(checked)
        for key in [key for key, value in own.items() if not value]:
            del own[key]
        if model and not own:
            del self._models[model]


def _checked(key: str, value: tuple[str, ...]) -> tuple[str, ...]:
    if key == "trace_file":
        raise Unsupported("trace file location can not be updated through network protocol")
    if key == "trace_mode" and value != DEFAULTS[key]:
        raise Unsupported("trace mode can not be updated through network protocol")
    check = _CHECKS.get(key)
    if check is None:
        raise InvalidRequest(
            f"unknown trace setting '{key[:300]}', known are: {', '.join(DEFAULTS)}"
        )
    return check(key, value) if value else ()


def _level(_: str, value: tuple[str, ...]) -> tuple[str, ...]:
    if _OFF in value and len(value) > 1:
        raise InvalidRequest("Expect only one trace level 'OFF' is specified")
    unknown = [level for level in value if level not in _LEVELS]
    if unknown:
        raise InvalidRequest(
            f"Unable to parse 'trace_level', got: {unknown[0][:300]}; known are "
            f"{', '.join(_LEVELS)}"
        )
    if value != (_OFF,):
        raise InvalidRequest(
            "Attempting to set invalid trace setting :trace file name is not given"
        )
    return value


def _kept(_: str, value: tuple[str, ...]) -> tuple[str, ...]:
    return value


def _number(low: int, high: int) -> Callable[[str, tuple[str, ...]], tuple[str, ...]]:
    def check(key: str, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(value) > 1:
            raise InvalidRequest(f"expect only 1 value for '{key}'")
        text = value[0]
        digits = text.removeprefix("-")
        if not (digits.isascii() and digits.isdigit()):
            raise InvalidRequest(f"Unable to parse '{key}', got: {text[:300]}")
        if low and len(digits) <= 20 and int(text) < low:
            raise InvalidRequest(f"Unable to parse '{key}'. Expecting value >= {low}, got:{text}")
        if len(digits) > 20 or not low <= int(text) <= high:
            raise InvalidRequest(
                f"Unable to parse '{key}', value is out of range [ {low}, {high} ], got: {text[:300]}"
            )
        return (str(int(text)),)

    return check


_CHECKS: Mapping[str, Callable[[str, tuple[str, ...]], tuple[str, ...]]] = {
    "trace_level": _level,
    "trace_mode": _kept,
    "trace_rate": _number(0, _UINT32_MAX),
    "trace_count": _number(-1, _INT32_MAX),
    "log_frequency": _number(0, _UINT32_MAX),
}
