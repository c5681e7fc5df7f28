"""The picture of what a recurrent layer remembers."""

from xml.etree import ElementTree

import numpy as np

from zoo.card.memory import KINDS, SHOWN_STEPS, Memory, memory

SERIES = np.arange(10.0)


def _memory(units: int = 3, steps: int = 10) -> Memory:
    waves = np.sin(np.arange(steps)[:, None] + np.arange(units)) * np.arange(1, units + 1)
    return Memory(
        layer="lstm",
        states={"cell state": waves, "hidden state": waves / 2},
        gates={"input gate": (waves > 0).astype(float)},
    )


def _drawn(series: np.ndarray, *memories: Memory) -> tuple[list[str], list[str]]:
    """The classes of the lines, and the texts."""
    root = ElementTree.fromstring(memory(series, "sunspots", memories).document())
    space = "{http://www.w3.org/2000/svg}"
    lines = [line.attrib["class"] for line in root.iter(f"{space}polyline")]
    return lines, [text.text or "" for text in root.iter(f"{space}text")]


def test_each_state_and_gate_has_a_panel_below_the_series() -> None:
    lines, texts = _drawn(SERIES, _memory())

    assert lines == ["series", *KINDS, *KINDS, *KINDS]
    titles = ["sunspots", "lstm: cell state", "lstm: hidden state", "lstm: input gate"]
    assert [text for text in texts if text in titles] == titles
    assert texts[-3:] == ["unit 1", "unit 2", "unit 3"]


def test_both_directions_are_drawn() -> None:
    assert len(_drawn(SERIES, _memory(), _memory())[0]) == 1 + 2 * 9


def test_of_many_units_those_are_drawn_whose_state_moves_most() -> None:
    lines, texts = _drawn(SERIES, _memory(units=8))

    assert len(lines) == 10
    assert texts[-3:] == ["unit 6", "unit 7", "unit 8"]


def test_a_long_series_is_drawn_from_its_end() -> None:
    long = SHOWN_STEPS + 50
    series = np.arange(float(long))
    drawn = memory(series, "", [_memory(steps=long)]).document()
    other = series.copy()
    other[:50] = 1000.0

    assert drawn == memory(other, "", [_memory(steps=long)]).document()
    assert drawn != memory(series + 1, "", [_memory(steps=long)]).document()
