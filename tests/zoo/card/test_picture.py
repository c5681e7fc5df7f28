"""The picture and the description of a stack of layers."""

import sys
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from zoo.card.picture import draw
from zoo.errors import MissingPackage
from zoo.recipes.architecture import Layer, call_text, shape_text

STACK = (
    Layer(
        name="image",
        type="InputLayer",
        input_shapes=((None, 8, 8, 1),),
        output_shape=(None, 8, 8, 1),
    ),
    Layer(
        name="conv2d",
        type="Conv2D",
        options={"filters": 2, "kernel_size": [3, 3], "padding": "same", "activation": "relu"},
        sources=("image",),
        input_shapes=((None, 8, 8, 1),),
        output_shape=(None, 8, 8, 2),
        trainable=20,
        total=20,
    ),
    Layer(
        name="a<b&c",
        type="Dense",
        options={"units": 8},
        sources=("conv2d",),
        input_shapes=((None, 4),),
        output_shape=(None, 8),
        trainable=40,
        total=40,
        connections=32,
    ),
)


def _arrows(root: ElementTree.Element) -> list[str]:
    """The paths of the edges."""
    paths = root.iter("{http://www.w3.org/2000/svg}path")
    return [path.attrib["d"] for path in paths if "marker-end" in path.attrib]


def _filled(root: ElementTree.Element) -> list[dict[str, str]]:
    """The boxes of the layers, without their outlines and the page."""
    rects = root.iter("{http://www.w3.org/2000/svg}rect")
    return [r.attrib for r in rects if "rx" in r.attrib and r.attrib["class"] != "edge"]


def test_shapes_are_written_as_keras_writes_them() -> None:
    """One dimension keeps its comma."""
    assert shape_text((None, 8, 8, 1)) == "(None, 8, 8, 1)"
    assert shape_text((8,)) == "(8,)"


def test_a_layer_reads_as_its_call() -> None:
    """Options stand in the tutorial's order."""
    assert (
        call_text(STACK[1])
        == "Conv2D(filters=2, kernel_size=(3, 3), padding=same, activation=relu)"
    )


def test_a_layer_survives_json() -> None:
    """What a record stores is what was described."""
    import json

    assert Layer.from_json(json.loads(json.dumps(STACK[1].to_json()))) == STACK[1]


def test_the_picture_is_well_formed_and_shows_every_layer_with_its_shapes() -> None:
    """Each box holds the name, the call and both shapes; odd characters are escaped."""
    root = ElementTree.fromstring(draw("stack", STACK))
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]

    for layer in STACK:
        assert layer.name in texts
        assert shape_text(layer.input_shapes[0]) in texts
        assert shape_text(layer.output_shape) in texts
    assert len(_arrows(root)) == len(STACK) - 1


def test_no_text_leaves_the_picture() -> None:
    """The width follows the longest text."""
    wide = Layer(name="x" * 90, type="Dense", input_shapes=((None, 1),), output_shape=(None, 1))
    narrow = ElementTree.fromstring(draw("n", STACK[:1])).attrib["width"]
    broad = ElementTree.fromstring(draw("w", (wide,))).attrib["width"]

    assert float(broad) > float(narrow) + 40 * 8


def _layer(name: str, *sources: str, **more: Any) -> Layer:
    """A layer of a graph; one that nothing feeds is an input."""
    return Layer(
        name=name,
        type="Dense" if sources else "InputLayer",
        sources=sources,
        input_shapes=((None, 2),) * max(1, len(sources)),
        output_shape=(None, 2),
        **more,
    )


def _frames(root: ElementTree.Element) -> dict[str, tuple[float, float, float, float]]:
    """Left, top, right and bottom of the boxes, by the name and what it is: the first two lines."""
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    bold = [
        number
        for number, element in enumerate(root.iter("{http://www.w3.org/2000/svg}text"))
        if "font-weight" in element.attrib
    ]
    frames = {}
    for at, box in zip(bold, _filled(root), strict=True):
        x, y, width, height = (float(box[key]) for key in ("x", "y", "width", "height"))
        frames[f"{texts[at]} {texts[at + 1]}"] = (x, y, x + width, y + height)
    return frames


def _curve(path: str) -> np.ndarray:
    """Points of a path `Mx,y Cx,y x,y x,y ...`, in close succession."""
    places = np.array([part.split(",") for part in path.replace("M", "").replace("C", "").split()])
    places = places.astype(float)
    t = np.linspace(0, 1, 50)[:, None]
    pieces = []
    for at in range(0, len(places) - 1, 3):
        a, b, c, d = places[at : at + 4]
        pieces.append(
            a * (1 - t) ** 3 + 3 * b * t * (1 - t) ** 2 + 3 * c * t**2 * (1 - t) + d * t**3
        )
    return np.concatenate(pieces)


def test_branches_stand_side_by_side_and_fit_a_phone() -> None:
    """Two towers, each under its input, lead to the layer that joins them: what a phone can show."""
    shape = (None, 28, 28, 16)
    options = STACK[1].options
    towers = [
        Layer(
            name=f"{side}_conv",
            type="Conv2D",
            options=options,
            sources=(side,),
            input_shapes=(shape,),
            output_shape=shape,
        )
        for side in ("left", "right")
    ]
    layers = (_layer("left"), _layer("right"), *towers, _layer("both", "left_conv", "right_conv"))
    root = ElementTree.fromstring(draw("branches", layers))
    frames = _frames(root)

    left, right = frames["left_conv Conv2D"], frames["right_conv Conv2D"]
    assert left[1] == right[1]
    assert left[2] < right[0] or right[2] < left[0]
    assert frames["both Dense"][1] > left[3]
    assert len(_arrows(root)) == 4
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"filters=2", "kernel_size=(3, 3)", "→ (None, 28, 28, 16)"} <= set(texts)
    # 13 pixels of letters are shown at 9 or more where 358 of the phone's 390 are for the picture.
    assert float(root.attrib["width"]) <= 358 * 13 / 9


def test_an_edge_over_several_rows_passes_beside_the_boxes() -> None:
    """A value that is used further down is led around what stands between."""
    layers = (
        _layer("in"),
        _layer("one", "in"),
        _layer("two", "one"),
        _layer("three", "two"),
        _layer("out", "three", "in", "one"),
    )
    root = ElementTree.fromstring(draw("skip", layers))
    frames = _frames(root)

    assert len(_arrows(root)) == 6
    for path in _arrows(root):
        for x, y in _curve(path):
            for left, top, right, bottom in frames.values():
                # What it leaves and where it ends it touches.
                assert not (left + 2 < x < right - 2 and top + 2 < y < bottom - 2)


def test_inputs_and_outputs_stand_next_to_the_layer_that_they_belong_to() -> None:
    """A state that goes in late, and one that comes out early, have no long edges; each is drawn."""
    layers = (
        _layer("value"),
        _layer("scaled", "value"),
        _layer("now", "scaled"),
        _layer("before"),
        _layer("cell", "now", "before", outputs={"after": (None, 3)}),
        _layer("dense", "cell"),
        _layer("last", "dense", outputs={"forecast": (None, 1)}),
    )
    root = ElementTree.fromstring(draw("state", layers))
    frames = _frames(root)

    def middle(name: str) -> float:
        return (frames[name][1] + frames[name][3]) / 2

    assert middle("before input") == pytest.approx(middle("now Dense"), abs=0.2)
    assert middle("after output") == pytest.approx(middle("dense Dense"), abs=0.2)
    assert middle("forecast output") > middle("last Dense")
    assert "(None, 3)" in [e.text for e in root.iter("{http://www.w3.org/2000/svg}text")]


def test_a_name_is_a_name_whatever_it_holds() -> None:
    """Names of the user's that mean something to the layout program or to XML."""
    layers = (_layer("a:n"), _layer('"<b>', "a:n"), _layer("\\N", "a:n"), _layer("", '"<b>', "\\N"))
    root = ElementTree.fromstring(draw("names", layers))

    assert set(_frames(root)) == {"a:n input", '"<b> Dense', "\\N Dense", "None Dense"}


def test_a_wrapped_layer_is_shown() -> None:
    """Bidirectional says what it reads in both directions, in a stack and where layers branch."""
    inner = {"type": "LSTM", "options": {"units": 3, "activation": "tanh"}}
    both = Layer(
        name="both",
        type="Bidirectional",
        options={"layer": inner},
        sources=("in",),
        input_shapes=((None, 5, 2),),
        output_shape=(None, 6),
    )

    assert call_text(both) == "Bidirectional(LSTM(units=3, activation=tanh))"
    assert Layer.from_json(both.to_json()) == both
    for layers in ((_layer("in"), both), (_layer("in"), _layer("other", "in"), both)):
        assert "LSTM(units=3, activation=tanh)" in draw("wrapped", layers)


def test_without_the_layout_a_stack_is_drawn_and_branches_name_the_package(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Only models that branch need it."""
    monkeypatch.setitem(sys.modules, "pygraphviz", None)

    assert draw("stack", STACK).endswith("</svg>\n")
    with pytest.raises(MissingPackage, match=r"pygraphviz is not installed.*layer-zoo\[train\]"):
        draw("branches", (_layer("in"), _layer("a", "in"), _layer("b", "in")))


def test_the_same_stack_gives_the_same_bytes() -> None:
    """Nothing of the process gets into the picture."""
    branching = (_layer("in"), _layer("a", "in"), _layer("b", "in", "a"))

    for layers in (STACK, branching):
        assert draw("stack", layers) == draw("stack", layers)
