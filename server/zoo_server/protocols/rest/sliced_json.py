"""Decodes JSON a slice at a time, so that other threads run in between.

Every decoder holds the interpreter's lock for the whole text: json.loads for a tenth of a second with
4 MB of numbers, in which nobody else is answered. Here values are read whole that fit into a slice,
and of longer arrays as many elements at a time as do. What a text means and how its errors read is
json's own. orjson reads elements in a seventh of the time; what it refuses (NaN, 1e400, half a pair
of surrogates) is read again by json, a slice at most. Integers beyond 64 bits it makes floats.

    {"inputs": [{"name": "x", "data": [0.5, 0.25, … , 1.5, 2.5, … , 0.75]}]}
                                       └── slice ──┘  └── slice ──┘
"""

import json
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from json import JSONDecodeError

import orjson

#: Characters read at once, which takes half a millisecond at most.
SLICE = 1 << 14

#: Brackets that are counted where an array of arrays begins; a tensor has fewer dimensions.
_MOST_BRACKETS = 32

_WHITESPACE = re.compile(r"[ \t\n\r]*")

#: What json says of [1,]; before Python 3.13, that it expects a value.
_TRAILING_COMMA: str | None = (
    "Illegal trailing comma before end of array" if sys.version_info >= (3, 13) else None
)


def loads(text: bytes) -> object:
    """Return what json.loads does; raises what it raises."""
    if len(text) > SLICE:
        return json.loads(text, cls=SlicedDecoder)
    with suppress(ValueError):
        return orjson.loads(text)
    return json.loads(text)


class SlicedDecoder(json.JSONDecoder):
    """For long texts: `json.loads(text, cls=SlicedDecoder)`."""

    #: What the base class calls for each value.
    scan_once: Callable[[str, int], tuple[object, int]]
    #: What it reads the members of an object with.
    parse_object: Callable[..., tuple[dict[str, object], int]]

    def __init__(self) -> None:
        super().__init__()
        self._scan_whole = self.scan_once
        self.scan_once = self._scan

    def _scan(self, text: str, begin: int) -> tuple[object, int]:
        """Return the value that begins there, and where it ends; StopIteration if there is none."""
        kind = text[begin : begin + 1]
        if kind not in ("[", "{"):
            return self._scan_whole(text, begin)
        try:
            value, length = self._scan_whole(text[begin : begin + SLICE], 0)
        except (ValueError, StopIteration):  # it is longer, or wrong
            if kind == "[":
                return self._scan_array(text, begin + 1)
            return self.parse_object((text, begin + 1), self.strict, self._scan, None, None)
        return value, begin + length

    def _scan_array(self, text: str, begin: int) -> tuple[list[object], int]:
        elements: list[object] = []
        at = _after_whitespace(text, begin)
        if text[at : at + 1] == "]":
            return elements, at + 1
        one_by_one_until = at
        while True:
            if at >= one_by_one_until:
                cut = _last_comma(text, at)
                if cut > at and (several := self._elements(text[at:cut])) is not None:
                    elements += several
                    at = _after_comma(text, cut)
                    continue
                one_by_one_until = at + SLICE
            try:
                element, at = self._scan(text, at)
            except StopIteration as error:
                raise JSONDecodeError("Expecting value", text, error.value) from None
            elements.append(element)
            at = _after_whitespace(text, at)
            if text[at : at + 1] == "]":
                return elements, at + 1
            if text[at : at + 1] != ",":
                raise JSONDecodeError("Expecting ',' delimiter", text, at)
            at = _after_comma(text, at)

    def _elements(self, text: str) -> list[object] | None:
        """Return elements between commas; None if the text is not that, for its end or an error.

        If it is, the comma behind it is no part of a string: JSON is read from left to right.
        """
        array = f"[{text}]"
        with suppress(ValueError):
            elements: list[object] = orjson.loads(array)
            return elements
        try:
            value, end = self._scan_whole(array, 0)
        except (ValueError, StopIteration):
            return None
        return value if isinstance(value, list) and end == len(array) else None


def _last_comma(text: str, begin: int) -> int:
    """Return where a slice of elements most likely ends, judged by how the first begins; -1 if nowhere."""
    depth = 0
    while depth < _MOST_BRACKETS and text[begin + depth : begin + depth + 1] == "[":
        depth += 1
    closing = "]" * depth or {'"': '"', "{": "}"}.get(text[begin : begin + 1], "")
    place = text.rfind(f"{closing},", begin, begin + SLICE)
    return place if place < 0 else place + len(closing)


def _after_comma(text: str, comma: int) -> int:
    at = _after_whitespace(text, comma + 1)
    if _TRAILING_COMMA and text[at : at + 1] == "]":
        raise JSONDecodeError(_TRAILING_COMMA, text, comma)
    return at


def _after_whitespace(text: str, begin: int) -> int:
    while (match := _WHITESPACE.match(text, begin, begin + SLICE)) and match.end() > begin:
        begin = match.end()
    return begin
