"""What a model sees of an image, as text."""

import numpy as np

from zoo.datasets.digits import SMALL_IMAGE
from zoo.terminal.picture import draw


def test_what_the_model_sees_is_drawn() -> None:
    """Two characters a value, in a frame; a shade for how much ink there is."""
    values = np.zeros((8, 8, 1), np.float32)
    values[0] = 16
    values[1] = 8
    lines = draw(values, SMALL_IMAGE).splitlines()

    assert len(lines) == 10
    assert {len(line) for line in lines} == {18}
    assert lines[1] == "│" + "█" * 16 + "│"
    assert lines[2] == "│" + "▒" * 16 + "│"
    assert lines[3] == "│" + " " * 16 + "│"
