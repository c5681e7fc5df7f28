"""Rows of an option table: a dataclass's fields that are flags, environment variables and bounds as well.

    drain_seconds: float = number(30.0, "seconds that requests have …", low=0, high=86400)

says the default, the help, how text becomes a value and what a value must satisfy; `--drain-seconds` and
ZOO_DRAIN_SECONDS are spelled from the name.
"""

import argparse
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from zoo_server.errors import ConfigurationError

ENVIRONMENT_PREFIX = "ZOO_"

#: The value of an option that leaves something out.
OFF = "off"

#: Under which a field's metadata hold its Option.
_KEY = "option"

T = TypeVar("T")
Default = TypeVar("Default")
Number = TypeVar("Number", int, float)


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """What a row says besides its name and default."""

    help: str
    #: Makes an environment variable's text a value; ValueError for text that is none.
    convert: Callable[[str], object]
    #: How argparse reads the flag.
    arguments: Mapping[str, Any]
    choices: Sequence[str] | None = None
    low: float | None = None
    high: float | None = None
    #: What is counted, such as bytes; empty for a plain number.
    unit: str = ""
    #: Whether the word `off` is a value too.
    or_off: bool = False

    def read(self, text: str) -> object:
        """Return the value of a text; ValueError says what it must be."""
        try:
            return self.convert(text)
        except ValueError as error:
            if self.low is None:
                raise
            kind = "number" if self.convert is float else "whole number"
            raise ValueError(f"give a {kind} in {self.range}") from error

    @property
    def range(self) -> str:
        """The range of a number, in words."""
        unit = f" {self.unit}" if self.unit else ""
        return f"{self.low} to {self.high}{unit}" + (f", or `{OFF}`" if self.or_off else "")

    def check(self, spelled: str, value: object) -> None:
        """ConfigurationError if an option that is spelled so may not have the value."""
        if self.choices is not None and value not in self.choices:
            raise ConfigurationError(
                f"{spelled} is {value!r}; choose one of {', '.join(self.choices)}"
            )
        if self.low is None or self.high is None or not isinstance(value, int | float):
            return
        if not self.low <= value <= self.high:
            raise ConfigurationError(f"{spelled} is {value}; it must lie in {self.range}")


# -- what a row can be -------------------------------------------------------------------------------


def single(
    default: Default,
    text: str,
    *,
    convert: Callable[[str], T],
    metavar: str,
    low: float | None = None,
    high: float | None = None,
    unit: str = "",
    or_off: bool = False,
) -> Default | T:
    """One value of any type; `text` is the help."""
    arguments = {"metavar": metavar}
    option = Option(
        help=text,
        convert=convert,
        arguments=arguments,
        low=low,
        high=high,
        unit=unit,
        or_off=or_off,
    )
    return _row(default, option)


def number(
    default: Number,
    text: str,
    *,
    low: float,
    high: float,
    metavar: str | None = None,
    unit: str = "",
) -> Number:
    """A number of the default's type, from `low` to `high`, of a unit in the plural, which help shows."""
    metavar = metavar or unit.upper() or "N"
    return single(
        default, text, convert=type(default), metavar=metavar, low=low, high=high, unit=unit
    )


def path(text: str, *, metavar: str = "FILE") -> Path | None:
    """A path, or nothing."""
    return single(None, text, convert=Path, metavar=metavar)


def choice(default: str, text: str, choices: Sequence[str]) -> str:
    """One of several words."""
    arguments = {"choices": choices}
    return _row(default, Option(help=text, convert=str, arguments=arguments, choices=choices))


def switch(text: str) -> bool:
    """Off, unless it is named: --NAME, --no-NAME."""
    arguments = {"action": argparse.BooleanOptionalAction}
    return _row(False, Option(help=text, convert=_switch_of, arguments=arguments))


def several(text: str, *, metavar: str) -> tuple[str, ...]:
    """Any number of values: the flag may be repeated, a variable has them between commas."""
    arguments = {"action": _Collect, "metavar": metavar}
    return _row((), Option(help=text, convert=_several_of, arguments=arguments))


def _row(default: T, option: Option) -> T:
    return field(default=default, metadata={_KEY: option})


def _switch_of(text: str) -> bool:
    match text.strip().lower():
        case "1" | "true" | "yes":
            return True
        case "0" | "false" | "no" | "":
            return False
    raise ValueError("write 1 or 0")


def _several_of(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


class _Collect(argparse.Action):
    """Gathers a repeated flag's values; the first one replaces what the environment says."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option_string: str | None = None,
    ) -> None:
        present = getattr(namespace, self.dest)
        setattr(namespace, self.dest, [*present, values] if isinstance(present, list) else [values])


# -- what a table is good for ------------------------------------------------------------------------


def flag(name: str) -> str:
    """Return the command-line spelling of an option."""
    return "--" + name.replace("_", "-")


def variable(name: str) -> str:
    """Return the environment variable of an option."""
    return f"{ENVIRONMENT_PREFIX}{name.upper()}"


def default_text(default: object) -> str:
    """Return a default as help and documentation show it."""
    if default is None or default == ():
        return "none"
    if isinstance(default, bool):
        return "on" if default else "off"
    return str(default)


def rows(table: type) -> Iterator[tuple[Field[object], Option]]:
    """Yield the fields of a dataclass that are options."""
    for row in fields(table):
        if _KEY in row.metadata:
            yield row, row.metadata[_KEY]


def check(table: object) -> None:
    """Check every option of a table's instance; ConfigurationError names the first that is wrong."""
    for row, option in rows(type(table)):
        option.check(flag(row.name), getattr(table, row.name))


def add_arguments(
    parser: argparse.ArgumentParser, table: type, environ: Mapping[str, str] | None = None
) -> None:
    """Add one flag per row of a dataclass; a set environment variable replaces the default."""
    known = os.environ if environ is None else environ
    for row, option in rows(table):
        shown = f"default: {default_text(row.default)}; environment: {variable(row.name)}"
        default = _from_environment(row, option, known)
        kind: dict[str, Any] = {} if "action" in option.arguments else {"type": _type_of(option)}
        parser.add_argument(
            flag(row.name),
            default=default,
            help=f"{option.help} ({shown})",
            **kind,
            **option.arguments,
        )


def _type_of(option: Option) -> Callable[[str], object]:
    """Return what argparse reads a value by; it says what the value must be."""

    def read(text: str) -> object:
        try:
            return option.read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{text!r} is not a value; {error}") from None

    return read


def values_of(namespace: argparse.Namespace, table: type) -> dict[str, Any]:
    """Return the values of a table's options, by name, as the flags say them."""
    values = {row.name: getattr(namespace, row.name) for row, _ in rows(table)}
    return {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}


def _from_environment(row: Field[object], option: Option, environ: Mapping[str, str]) -> object:
    text = environ.get(variable(row.name))
    if text is None:
        return row.default
    try:
        value = option.read(text)
    except ValueError as error:
        raise ConfigurationError(
            f"{variable(row.name)}={text!r} is not a value for {flag(row.name)}; {error}"
        ) from None
    option.check(variable(row.name), value)
    return value
