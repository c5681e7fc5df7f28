"""Recurrent layers: the same options for SimpleRNN, LSTM and GRU, then what only one of them has."""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Any

from zoo.atlas.case import LayerCase, case, layer

if TYPE_CHECKING:
    import keras

KINDS = ("SimpleRNN", "LSTM", "GRU")

#: Suffix -> options of the layer.
OPTIONS: dict[str, dict[str, object]] = {
    "": {},
    "[seq]": {"return_sequences": True},
    "[back]": {"go_backwards": True},
    "[back,seq]": {"go_backwards": True, "return_sequences": True},
    "[unroll]": {"unroll": True},
    "[nobias]": {"use_bias": False},
    "[relu]": {"activation": "relu"},
    "[selu]": {"activation": "selu"},
    "[rdrop]": {"recurrent_dropout": 0.5},
    "[state]": {"return_state": True},
    "[mixed_float16]": {"dtype": "mixed_float16"},
}


def _layer(k: ModuleType, kind: str, units: int = 3, **options: Any) -> Any:
    return getattr(k.layers, kind)(units, **options)


def _bidirectional(kind: str, suffix: str, merge: str | None, **options: Any) -> LayerCase:
    def call(k: ModuleType, x: keras.KerasTensor) -> object:
        return k.layers.Bidirectional(_layer(k, kind, **options), merge_mode=merge)(x)

    return case(f"{kind}[Bidirectional{suffix}]", call, (5, 2))


def _passing_states(kind: str) -> LayerCase:
    """Two layers in both directions, the second of which begins in the first's states."""

    def call(k: ModuleType, x: keras.KerasTensor) -> object:
        states = k.layers.Bidirectional(_layer(k, kind, return_state=True))(x)[1:]
        second = k.layers.Bidirectional(_layer(k, kind, return_sequences=True))
        return second(x, initial_state=states)

    return case(f"{kind}[Bidirectional,state passing]", call, (5, 2))


def _others(kind: str) -> tuple[LayerCase, ...]:
    return (
        _bidirectional(kind, "", "concat"),
        _bidirectional(kind, ",seq", "concat", return_sequences=True),
        _bidirectional(kind, ",sum", "sum"),
        _bidirectional(kind, ",mul,seq", "mul", return_sequences=True),
        _bidirectional(kind, ",ave", "ave"),
        _bidirectional(kind, ",none", None),
        _bidirectional(kind, ",none,seq,state", None, return_sequences=True, return_state=True),
        _passing_states(kind),
        case(f"{kind}[Masking]", lambda k, x: _layer(k, kind)(k.layers.Masking()(x)), (5, 2)),
        case(
            f"{kind}[Embedding mask_zero]",
            lambda k, x: _layer(k, kind)(k.layers.Embedding(6, 3, mask_zero=True)(x)),
            (5,),
            values="integers",
            dtype="int32",
        ),
        layer(f"{kind}[dyn T]", (None, 2), 3),
        layer(f"{kind}[dyn T,seq]", (None, 2), 3, return_sequences=True),
        case(
            f"{kind}[stacked]",
            lambda k, x: _layer(k, kind)(_layer(k, kind, return_sequences=True)(x)),
            (5, 2),
        ),
        layer(f"{kind}[stateful b7]", (5, 2), 3, stateful=True).but(batch=7, reset_states=True),
        case(
            f"{kind}[initial state]",
            lambda k, x: _layer(k, kind)(x[0], initial_state=_states(kind, x[1])),
            (5, 2),
            (3,),
        ),
    )


def _states(kind: str, state: object) -> object:
    return [state, state] if kind == "LSTM" else [state]


def _rnn(name: str, cells: Any) -> LayerCase:
    return case(f"RNN({name})", lambda k, x: k.layers.RNN(cells(k))(x), (5, 2))


CASES = (
    *(
        layer(kind + suffix, (5, 2), 3, **options)
        for kind in KINDS
        for suffix, options in OPTIONS.items()
    ),
    *(item for kind in KINDS for item in _others(kind)),
    layer("GRU[reset_after=False]", (5, 2), 3, reset_after=False),
    layer("LSTM[no ufb]", (5, 2), 3, unit_forget_bias=False),
    layer("LSTM[hard_sigmoid]", (5, 2), 3, recurrent_activation="hard_sigmoid"),
    _rnn("LSTMCell", lambda k: k.layers.LSTMCell(3)),
    _rnn("GRUCell", lambda k: k.layers.GRUCell(3)),
    _rnn("SimpleRNNCell", lambda k: k.layers.SimpleRNNCell(3)),
    _rnn("StackedRNNCells", lambda k: [k.layers.LSTMCell(3), k.layers.LSTMCell(4)]),
    case(
        "TimeDistributed[LSTM]",
        lambda k, x: k.layers.TimeDistributed(k.layers.LSTM(3))(x),
        (4, 5, 2),
    ),
    case(
        "TimeDistributed[mask]",
        lambda k, x: k.layers.LSTM(2)(
            k.layers.TimeDistributed(k.layers.Dense(3))(k.layers.Masking()(x))
        ),
        (5, 4),
    ),
    case(
        "TimeDistributed[mask,dyn T]",
        lambda k, x: k.layers.LSTM(2)(
            k.layers.TimeDistributed(k.layers.Dense(3))(k.layers.Masking()(x))
        ),
        (None, 4),
    ),
    case(
        "Bidirectional[two kinds]",
        lambda k, x: k.layers.Bidirectional(
            k.layers.LSTM(3), backward_layer=k.layers.LSTM(3, activation="relu", go_backwards=True)
        )(x),
        (5, 2),
    ),
    case(
        "Bidirectional[state]",
        lambda k, x: k.layers.Bidirectional(k.layers.LSTM(3, return_state=True))(x),
        (5, 2),
    ),
    case(
        "Bidirectional[dyn T,seq]",
        lambda k, x: k.layers.Bidirectional(k.layers.GRU(3, return_sequences=True))(x),
        (None, 2),
    ),
    case(
        "Bidirectional[Masking,seq]",
        lambda k, x: k.layers.Bidirectional(k.layers.GRU(3, return_sequences=True))(
            k.layers.Masking()(x)
        ),
        (5, 2),
    ),
    case(
        "RNN(LSTMCell)[seq]",
        lambda k, x: k.layers.RNN(k.layers.LSTMCell(3), return_sequences=True)(x),
        (5, 2),
    ),
    layer(
        "LSTM[hard_sigmoid+elu]", (5, 2), 3, recurrent_activation="hard_sigmoid", activation="elu"
    ),
    layer("GRU[leaky_relu]", (5, 2), 3, activation="leaky_relu"),
)
