"""Keras's functions (keras.ops) between the layers of functional models."""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING

from zoo.atlas.case import case

if TYPE_CHECKING:
    import keras


def _place(k: ModuleType, x: keras.KerasTensor) -> object:
    """A start that depends on the rows, now and then too large."""
    place = k.ops.cast(k.ops.abs(k.ops.sum(x)) * 2, "int32")
    return k.ops.pad(k.ops.reshape(place, (1,)), (1, 1))


CASES = (
    case("ops:cumsum", lambda k, x: k.ops.cumsum(x, axis=1), (4, 3)),
    case(
        "ops:one_hot",
        lambda k, x: k.ops.one_hot(x - 2, 3),
        (4,),
        values="integers",
        dtype="int32",
    ),
    case(
        "ops:one_hot[axis 1]",
        lambda k, x: k.ops.one_hot(x - 2, 3, axis=1, dtype="int32"),
        (4,),
        values="integers",
        dtype="int32",
    ),
    case("ops:fft", lambda k, x: k.ops.fft((x, 2 * x)), (4, 6)),
    case("ops:fft2", lambda k, x: k.ops.fft2((x, k.ops.zeros_like(x)))[0], (4, 6)),
    case("ops:ifft2", lambda k, x: k.ops.ifft2((x, 2 * x)), (4, 6)),
    case("ops:rfft", lambda k, x: k.ops.rfft(x), (9,)),
    case("ops:irfft", lambda k, x: k.ops.irfft(k.ops.rfft(x)), (8,)),
    case("ops:stft", lambda k, x: k.ops.stft(x, 8, 4, 8), (32,)),
    case("ops:argmax", lambda k, x: k.ops.argmax(x, axis=-1), (4, 3)),
    case("ops:top_k", lambda k, x: k.ops.top_k(x, 2), (4,)),
    case("ops:sort", lambda k, x: k.ops.sort(x), (4,)),
    case("ops:floor_divide", lambda k, x: x // 2.0, (4,)),
    case("ops:einsum", lambda k, x: k.ops.einsum("bij,bkj->bik", x, x), (4, 3)),
    case("ops:where", lambda k, x: k.ops.where(x > 0, x, k.ops.exp(x)), (4,)),
    case("ops:where[safe log]", lambda k, x: k.ops.where(x > 0, k.ops.log(x), 0.0), (4,)),
    case("ops:where[beyond float32]", lambda k, x: k.ops.where(x < 0, k.ops.exp(200 * x), x), (4,)),
    case("ops:where[truth]", lambda k, x: k.ops.where(x > 0, x > 1, x < -1), (4,)),
    case(
        "ops:slice_update[computed]",
        lambda k, x: k.ops.slice_update(x[0], _place(k, x[1]), x[0][:, :2] * 2),
        (6, 3),
        (2,),
    ),
    case("ops:roll", lambda k, x: k.ops.roll(x, 1, axis=1), (4, 3)),
    case("ops:round", lambda k, x: k.ops.round(x * 3), (4,)),
    case("ops:std", lambda k, x: k.ops.std(x, axis=-1), (4, 3)),
    case("ops:segment slice", lambda k, x: x[:, ::-1, 1:], (4, 3)),
    case("ops:log1p", lambda k, x: k.ops.log1p(k.ops.abs(x)), (4,)),
    case("ops:erf", lambda k, x: k.ops.erf(x), (4,)),
    case("ops:erfinv", lambda k, x: k.ops.erfinv(k.ops.tanh(x)), (4,), refused="Erfinv"),
    case("ops:logsumexp", lambda k, x: k.ops.logsumexp(x, axis=-1), (4, 3)),
    case("ops:norm", lambda k, x: k.ops.norm(x, axis=-1), (4, 3)),
    case(
        "ops:pad reflect",
        lambda k, x: k.ops.pad(x, ((0, 0), (1, 1), (0, 0)), mode="reflect"),
        (4, 3),
    ),
)
