"""What a person types, and what a program has, becomes the tensors a model takes."""

import io
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image as Pillow

from zoo.errors import UsageError
from zoo.models.inputs import tensors
from zoo.models.interface import InputSpec
from zoo_server.images.description import Image

FEATURES = ("length", "width", "height", "depth")
FLOWER = InputSpec(
    name="measurements", dtype=np.dtype("<f4"), dims=(4,), batched=True, features=FEATURES
)
GREY = Image(mode="L", size=(2, 2), low=0.0, high=16.0)
DIGIT = InputSpec(name="image", dtype=np.dtype("<f4"), dims=(2, 2, 1), batched=True, image=GREY)
ROW = np.array([[5.1, 3.5, 1.4, 0.2]], np.float32)


def _read(value: object, spec: InputSpec = FLOWER) -> np.ndarray:
    (array,) = tensors((value,), {}, (spec,)).values()
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
    np.testing.assert_array_equal(_read(text), ROW)


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


def test_an_image_takes_the_models_size_mode_and_range(tmp_path: Path) -> None:
    """A 4×4 colour picture becomes 2×2 grey in 0..16; of a wide one the middle counts."""
    picture = Pillow.new("RGB", (4, 4), "black")
    picture.paste("white", (2, 0, 4, 4))
    picture.save(tmp_path / "half.png")
    expected = np.array([[[[0], [16]], [[0], [16]]]], np.float32)

    for value in (tmp_path / "half.png", str(tmp_path / "half.png"), picture, [picture]):
        np.testing.assert_array_equal(_read(value, DIGIT), expected)
    pixels = np.asarray(picture)
    assert _read(np.stack([pixels, pixels, pixels]), DIGIT).shape == (3, 2, 2, 1)
    wide = Pillow.new("L", (8, 4), "white")
    wide.paste("black", (2, 0, 6, 4))
    np.testing.assert_array_equal(_read(wide, DIGIT), np.zeros((1, 2, 2, 1)))


def test_rows_of_pandas_and_mappings_are_read_by_the_features_names() -> None:
    """In any order, with columns to spare; without names, by position."""
    table = pd.DataFrame(
        [[0.2, 1.4, "setosa", 3.5, 5.1]], columns=["depth", "height", "kind", "width", "length"]
    )

    for value in (table, table.iloc[0], dict(zip(FEATURES, ROW[0], strict=True))):
        np.testing.assert_array_equal(_read(value), ROW)
    np.testing.assert_array_equal(_read(pd.DataFrame(ROW)), ROW)
    with pytest.raises(UsageError, match="takes the columns length, width, height, depth, not"):
        tensors(({"length": 1.0},), {}, (FLOWER, DIGIT)[:1])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,2,3", "takes 4 values a row, not 3"),
        ("[[1,2],[3,4]]", "takes 4 values a row, not 2 × 2"),
        ("[1,2,", "INPUT '[1,2,' is not JSON"),
        ("one,two", "INPUT 'one,two' was read as text, and holds no numbers"),
        ("1,two,3,4", "could not convert string to float: 'two'"),
        ("", "INPUT '' was read as text, and holds no numbers"),
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
    Pillow.new("L", (2, 2)).save(tmp_path / "a.png")
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


def test_two_inputs_are_given_in_order_or_by_name() -> None:
    """As JSON, as arguments, as a mapping; one alone is refused."""
    other = InputSpec(name="other", dtype=np.dtype("<i8"), dims=(1,), batched=True)
    both = (FLOWER, other)
    feeds = tensors(('{"measurements": [1,2,3,4], "other": 7}',), {}, both)

    assert feeds["other"].dtype == np.int64
    assert feeds["other"].shape == (1, 1)
    for values, named in (
        (([1, 2, 3, 4], 7), {}),
        (("1,2,3,4", "7"), {}),
        (({"measurements": [1, 2, 3, 4], "other": 7},), {}),
        ((), {"measurements": [1, 2, 3, 4], "other": 7}),
    ):
        np.testing.assert_array_equal(tensors(values, named, both)["measurements"], [[1, 2, 3, 4]])
    with pytest.raises(UsageError, match="the model's inputs are measurements, other: give each"):
        tensors(("1,2,3,4",), {}, both)
    with pytest.raises(UsageError, match="measurements has 1, other has 2"):
        tensors(([1, 2, 3, 4], [7, 8]), {}, both)


def test_bytes_that_are_nothing_known_are_not_called_an_image(tmp_path: Path) -> None:
    """A protobuf file has zeros too."""
    (tmp_path / "input_0.pb").write_bytes(b"\x08\x00\x10\xff")
    with pytest.raises(UsageError, match=r"neither text, a \.npy array nor an image"):
        _read(str(tmp_path / "input_0.pb"))
