"""Attention."""

from zoo.layers.case import case

CASES = (
    case("Attention", lambda k, x: k.layers.Attention()(x), (4, 3), (5, 3)),
    case("Attention[scale]", lambda k, x: k.layers.Attention(use_scale=True)(x), (4, 3), (5, 3)),
    case("AdditiveAttention", lambda k, x: k.layers.AdditiveAttention()(x), (4, 3), (5, 3)),
    case("MultiHeadAttention", lambda k, x: k.layers.MultiHeadAttention(2, 3)(x, x), (4, 6)),
    case(
        "MultiHeadAttention[causal]",
        lambda k, x: k.layers.MultiHeadAttention(2, 3)(x, x, use_causal_mask=True),
        (4, 6),
    ),
    case(
        "MultiHeadAttention[dyn T]",
        lambda k, x: k.layers.MultiHeadAttention(2, 3)(x, x),
        (None, 6),
    ),
    case(
        "MultiHeadAttention[cross]",
        lambda k, x: k.layers.MultiHeadAttention(2, 3, value_dim=4)(x[0], x[1]),
        (4, 6),
        (5, 6),
    ),
    case("GroupQueryAttention", lambda k, x: k.layers.GroupQueryAttention(3, 4, 2)(x, x), (4, 6)),
)
