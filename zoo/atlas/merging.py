"""Merging layers: several inputs, one output."""

from zoo.atlas.case import LayerCase, case

PAIR = ((4, 3), (4, 3))


def _merge(name: str) -> LayerCase:
    return case(name, lambda k, x: getattr(k.layers, name)()(x), *PAIR)


CASES = (
    *map(_merge, ("Add", "Average", "Concatenate", "Maximum", "Minimum", "Multiply", "Subtract")),
    case("Dot", lambda k, x: k.layers.Dot(axes=1)(x), (4,), (4,)),
    case("Dot[normalize]", lambda k, x: k.layers.Dot(axes=1, normalize=True)(x), (4,), (4,)),
    case("Dot[matrices]", lambda k, x: k.layers.Dot(axes=(2, 1))(x), (4, 3), (3, 5)),
    case("Add[three]", lambda k, x: k.layers.Add()(x), (4,), (4,), (4,)),
    case("Add[broadcast]", lambda k, x: k.layers.Add()(x), (4, 3), (1, 3)),
    case("Concatenate[axis1]", lambda k, x: k.layers.Concatenate(axis=1)(x), (4, 3), (2, 3)),
    case(
        "Concatenate[mask]",
        lambda k, x: k.layers.LSTM(2)(
            k.layers.Concatenate()([k.layers.Masking()(x[0]), k.layers.Masking()(x[1])])
        ),
        (4, 3),
        (4, 2),
    ),
)
