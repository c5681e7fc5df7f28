"""The picture and the description of a stack of layers."""

from xml.etree import ElementTree

from zoo.card.picture import draw
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


def test_branches_stand_side_by_side() -> None:
    """Two inputs share a row, and both lead to the layer that joins them."""
    shape = (None, 2)
    inputs = [
        Layer(name=n, type="InputLayer", input_shapes=(shape,), output_shape=shape) for n in "ab"
    ]
    joined = Layer(
        name="joined",
        type="Concatenate",
        sources=("a", "b"),
        input_shapes=(shape, shape),
        output_shape=(None, 4),
    )
    root = ElementTree.fromstring(draw("branches", (*inputs, joined)))
    boxes = _filled(root)

    assert boxes[0]["y"] == boxes[1]["y"] < boxes[2]["y"]
    assert float(boxes[0]["x"]) + float(boxes[0]["width"]) < float(boxes[1]["x"])
    assert len(_arrows(root)) == 2
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "(None, 2), (None, 2)" in texts


def test_an_edge_over_several_rows_passes_beside_the_boxes() -> None:
    """A value that is used further down is led around what stands between."""
    shape = (None, 2)

    def layer(name: str, *sources: str) -> Layer:
        kind = "Dense" if sources else "InputLayer"
        inputs = (shape,) * max(1, len(sources))
        return Layer(name=name, type=kind, sources=sources, input_shapes=inputs, output_shape=shape)

    layers = (layer("in"), layer("one", "in"), layer("two", "one"), layer("out", "two", "in"))
    root = ElementTree.fromstring(draw("skip", layers))
    between = _filled(root)[1:3]
    (around,) = [path for path in _arrows(root) if "V" in path]
    passes = [float(part.split()[-1].split(",")[0]) for part in around.split(" V")[:-1]]
    for x in passes:
        for box in between:
            left = float(box["x"])
            assert not left <= x <= left + float(box["width"])


def test_an_input_stands_next_to_what_it_feeds() -> None:
    """A state that goes in late does not stand at the top, with a long edge."""
    shape = (None, 2)
    state = Layer(name="state", type="InputLayer", input_shapes=(shape,), output_shape=shape)
    deep = (
        STACK[0],
        STACK[1],
        state,
        Layer(
            name="cell",
            type="LSTMCell",
            sources=("conv2d", "state"),
            input_shapes=(shape, shape),
            output_shape=shape,
        ),
    )
    boxes = _filled(ElementTree.fromstring(draw("state", deep)))

    assert boxes[1]["y"] == boxes[2]["y"]


def test_the_same_stack_gives_the_same_bytes() -> None:
    """Nothing of the process gets into the picture."""
    assert draw("stack", STACK) == draw("stack", STACK)
