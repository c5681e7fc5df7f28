"""Tables fit the terminal: columns are dropped, one is shortened, and nothing is wrapped."""

import io

import pytest
from rich.cells import cell_len
from rich.console import Console

from zoo.recipes.architecture import Layer
from zoo.terminal.stack import stack_rows
from zoo.terminal.tables import column_widths, print_table, styled_table

HEADER = ("model", "data", "figure", "bytes")
ROWS = [
    ["a_long_model_name", "a data set with a long title 日本", "0.123", "1234"],
    ["b", "", "1", "2"],
]


@pytest.mark.parametrize("width", [20, 30, 40, 60, 200])
def test_no_line_is_longer_than_the_terminal_and_none_is_wrapped(width: int) -> None:
    """Some characters take two columns."""
    out = io.StringIO()
    table = styled_table(HEADER, ROWS, width=width, right="llrr", dropped=("bytes", "data"))
    console = Console(file=out, width=width)
    console.print(table)
    lines = out.getvalue().splitlines()

    assert len(lines) == 1 + len(ROWS)
    assert max(map(cell_len, lines)) <= width


def test_numbers_stay_whole_and_text_is_shortened_first() -> None:
    """There is room for all of it, then less text, then fewer columns."""
    at = {
        width: column_widths(HEADER, ROWS, width=width, right="llrr", dropped=("bytes", "data"))
        for width in (80, 55, 45, 30)
    }

    assert at[80] == {0: 17, 1: 33, 2: 6, 3: 5}
    assert at[55] == {0: 17, 1: 21, 2: 6, 3: 5}
    assert at[45] == {0: 17, 1: 18, 2: 6}
    assert at[30] == {0: 17, 2: 6}


def test_a_pipe_gets_every_column_whole(capsys: pytest.CaptureFixture[str]) -> None:
    """What reads it is a program."""
    print_table(HEADER, ROWS, dropped=("bytes", "data"))
    said = capsys.readouterr().out

    assert all(cell in said for row in [HEADER, *ROWS] for cell in row)
    assert "\x1b" not in said


def test_a_stack_says_what_feeds_a_layer_that_is_not_below_the_last() -> None:
    """Bars grow with an output's size; sizes that are open are question marks."""
    first = Layer(name="in", type="InputLayer", input_shapes=((None, None, 4),),
                  output_shape=(None, None, 4))  # fmt: skip
    other = Layer(name="side", type="InputLayer", input_shapes=((None, 2),), output_shape=(None, 2))
    both = Layer(name="both", type="Concatenate", sources=("in", "side"),
                 input_shapes=((None, 4), (None, 2)), output_shape=(None, 6),
                 options={"axis": -1, "padding": None})  # fmt: skip
    rows = stack_rows([first, other, both])

    assert [row[3] for row in rows] == ["?×4", "2", "6"]
    assert [row[-1] for row in rows] == ["", "", "in + side"]
    assert len(rows[1][2]) < len(rows[0][2]) <= len(rows[2][2])
