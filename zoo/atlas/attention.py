"""Attention layers."""

from zoo.atlas.case import case

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
    case(
        "Attention[mask]",
        lambda k, x: k.layers.Attention()([k.layers.Masking()(x[0]), k.layers.Masking()(x[1])]),
        (4, 3),
        (5, 3),
    ),
    case(
        "Attention[causal]", lambda k, x: k.layers.Attention()([x, x], use_causal_mask=True), (4, 3)
    ),
    case(
        "Attention[concat]", lambda k, x: k.layers.Attention(score_mode="concat")(x), (4, 3), (5, 3)
    ),
    case(
        "Attention[scores]",
        lambda k, x: k.layers.Attention()([x, x], return_attention_scores=True),
        (4, 3),
    ),
    case(
        "MultiHeadAttention[mask]",
        lambda k, x: k.layers.MultiHeadAttention(2, 3)(k.layers.Masking()(x), x),
        (4, 6),
    ),
    case(
        "MultiHeadAttention[scores]",
        lambda k, x: k.layers.MultiHeadAttention(2, 3)(x, x, return_attention_scores=True),
        (4, 6),
    ),
    case(
        "MultiHeadAttention[2 axes]",
        lambda k, x: k.layers.MultiHeadAttention(2, 3, attention_axes=(1, 2))(x, x),
        (3, 4, 6),
    ),
    case(
        "GroupQueryAttention[causal]",
        lambda k, x: k.layers.GroupQueryAttention(3, 4, 2)(x, x, use_causal_mask=True),
        (4, 6),
    ),
)
