"""What a person types becomes the tensors a model takes."""

import io
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from zoo.commands.predict_input import InputSpec, read_input
from zoo.errors import UsageError

FLOWER = InputSpec(name="measurements", dtype=np.dtype("<f4"), dims=(4,), batched=True)
DIGIT = InputSpec(
    name="image",
    dtype=np.dtype("<f4"),
    dims=(2, 2, 1),
    batched=True,
    image_mode="L",
    image_range=(0.0, 16.0),
)


def _read(text: str, spec: InputSpec = FLOWER, **options: bool) -> np.ndarray:
    (array,) = read_input(text, (spec,), **options).values()
    return array


@pytest.mark.parametrize(
    "text",
    [
        "5.1,3.5,1.4,0.2",
        "5.1 3.5 1.4 .2",
        " 5.1, 3.5, 1.4, 2e-1",
        "[5.1, 3.5, 1.4, 0.2]",
        "[[5.1, 3.5, 1.4, 0.2]]",
    ],
)
def test_numbers_and_json_are_one_row(text: str) -> None:
    """All the ways to write four numbers mean the same."""
    np.testing.assert_array_equal(_read(text), np.array([[5.1, 3.5, 1.4, 0.2]], np.float32))


def test_a_file_is_read_by_what_it_holds(tmp_path: Path) -> None:
    """CSV with a header, JSON by input name, and .npy give several rows."""
    rows = np.arange(8, dtype=np.float64).reshape(2, 4)
    (tmp_path / "rows.csv").write_text("a,b,c,d\n" + "\n".join(",".join(map(str, r)) for r in rows))
    (tmp_path / "rows.json").write_text('{"measurements": ' + str(rows.tolist()) + "}")
    np.save(tmp_path / "rows.npy", rows)

    for name in ("rows.csv", "rows.json", "rows.npy"):
        np.testing.assert_array_equal(_read(str(tmp_path / name)), rows.astype(np.float32))


def test_standard_input_is_a_dash(monkeypatch: pytest.MonkeyPatch) -> None:
    """`-` reads whatever a pipe brings."""
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"1,2,3,4\n5,6,7,8\n")))

    assert _read("-").shape == (2, 4)


def test_flat_numbers_fill_an_image() -> None:
    """64 numbers are an 8×8×1 image; a multiple of them is several."""
    assert _read("1 2 3 4", DIGIT).shape == (1, 2, 2, 1)
    assert _read("1 2 3 4 5 6 7 8", DIGIT).shape == (2, 2, 2, 1)


def test_flat_numbers_fill_an_open_dimension() -> None:
    """A series of any length is one row; several rows need their brackets."""
    series = InputSpec(name="years", dtype=np.dtype("<f4"), dims=(-1, 1), batched=True)

    assert _read("1 2 3 4 5 6 7", series).shape == (1, 7, 1)
    assert _read("[[[1], [2]], [[3], [4]]]", series).shape == (2, 2, 1)


def test_an_image_file_takes_the_models_size_mode_and_range(tmp_path: Path) -> None:
    """A 4×4 colour picture becomes 2×2 grey in 0..16; --invert swaps dark and bright."""
    picture = Image.new("RGB", (4, 4), "black")
    picture.paste("white", (2, 0, 4, 4))
    picture.save(tmp_path / "half.png")
    expected = np.array([[[0], [16]], [[0], [16]]], np.float32)

    np.testing.assert_array_equal(_read(str(tmp_path / "half.png"), DIGIT)[0], expected)
    inverted = _read(str(tmp_path / "half.png"), DIGIT, invert=True)[0]
    np.testing.assert_array_equal(inverted, 16 - expected)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,2,3", "takes 4 values a row, not 3"),
        ("[[1,2],[3,4]]", "takes 4 values a row, not 2 × 2"),
        ("[1,2,", "INPUT is not JSON"),
        ("one,two", "INPUT holds no numbers"),
        ("1,two,3,4", "could not convert string to float: 'two'"),
        ("", "INPUT holds no numbers"),
        ("missing.csv", "cannot read missing.csv: No such file"),
        ('{"image": [1,2,3,4]}', "the model's inputs are measurements, not image"),
        ('["a","b","c","d"]', "takes float32 values"),
    ],
)
def test_what_does_not_fit_is_refused_with_both_sizes(text: str, message: str) -> None:
    """The message names what was given and what the model takes."""
    with pytest.raises(UsageError) as caught:
        _read(text)

    assert message in str(caught.value)


def test_rows_of_different_length_are_refused(tmp_path: Path) -> None:
    """A ragged CSV is a mistake, not data."""
    (tmp_path / "ragged.csv").write_text("1,2,3,4\n1,2,3\n")
    with pytest.raises(UsageError, match=r"rows have \[3, 4\] values"):
        _read(str(tmp_path / "ragged.csv"))


def test_an_image_for_a_model_without_images_is_refused(tmp_path: Path) -> None:
    """So is a file that only claims to be an image."""
    Image.new("L", (2, 2)).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"not a picture")

    with pytest.raises(UsageError, match="does not take images"):
        _read(str(tmp_path / "a.png"))
    with pytest.raises(UsageError, match="not an image that can be read"):
        _read(str(tmp_path / "b.png"), DIGIT)


def test_a_pickle_is_not_loaded(tmp_path: Path) -> None:
    """An array of objects could run code; it is refused."""
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(UsageError, match=r"objects\.npy"):
        _read(str(tmp_path / "objects.npy"))


def test_two_inputs_want_an_object() -> None:
    """With several inputs, names decide."""
    other = InputSpec(name="other", dtype=np.dtype("<i8"), dims=(1,), batched=True)
    feeds = read_input('{"measurements": [1,2,3,4], "other": 7}', (FLOWER, other))

    assert feeds["other"].dtype == np.int64
    assert feeds["other"].shape == (1, 1)
    with pytest.raises(UsageError, match=r"give a JSON object"):
        read_input("1,2,3,4", (FLOWER, other))
