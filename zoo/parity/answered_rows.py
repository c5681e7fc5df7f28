"""Finds rows that Keras answers, the user's or random ones, in batches of 1 and 7.

A model may take larger rows than the smallest, or batches of certain sizes alone. Keras itself is
the judge: other sizes are tried until it answers with numbers.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from zoo.convert.draws import Drawn, recording, with_draws
from zoo.convert.function import reason_of
from zoo.convert.passes.random_numbers import name_of
from zoo.convert.signature import Signature, Tensor
from zoo.convert.weights import large_variables
from zoo.errors import CheckFailed, UsageError
from zoo.parity.compare import Case
from zoo.parity.keras_answers import leaves_of, named
from zoo.parity.samples import Draw, Feeds, Samples, random_rows, repeated, sample_rows

if TYPE_CHECKING:
    import keras

BATCHES = (1, 7)

#: Sizes tried for dimensions that the model leaves open, one pair for the two batches: they differ,
#: so that a size frozen into the graph shows. Larger ones for models that shrink their input.
OPEN_SIZES = ((5, 8), (16, 24), (32, 48), (64, 96), (224, 256))

#: Numbers in an answer to one row, beyond which seven rows would take minutes and gigabytes to prove.
LARGE_ANSWER = 4_000_000

#: And numbers in a row of a large model, whose layers give several tensors of many times that at once: with seven
#: images of 224×224 those are a third of a ResNet152V2's weights.
LARGE_ROW = 100_000

#: Batches tried for a model that does not answer both of BATCHES; for one that answers a single one
#: of these, the file has that batch.
OTHER_BATCHES = (1, 2, 3, 4, 5, 6, 8, 16, 32)

#: What integers are drawn from: below the number of entries that the model looks up; then 0 and 1,
#: for a model that takes sizes or places.
INTEGERS = (None, (0, 2), (0, 1), (1, 2))

#: The least that real numbers are: normal, then from 1 up, for a model that divides by them as whole
#: numbers, or takes their logarithm.
LEAST = (None, 1.0)


class CannotAnswer(CheckFailed):
    """Keras itself answers no such rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """Rows and Keras's answers to them, in the order of its outputs."""

    name: str
    batch: int
    feeds: Feeds
    leaves: tuple[np.ndarray, ...]
    drawn: tuple[Drawn, ...] = ()

    def case(self, outputs: Sequence[Tensor]) -> Case:
        """Return the case, the answers named and typed as the outputs are.

        Of random numbers, which are inputs, the outputs have the shapes.
        """
        shapes = [np.array(drawn.values.shape, np.int64) for drawn in self.drawn]
        expected = named((*self.leaves, *shapes), outputs)
        return Case(name=self.name, feeds=self.all_feeds, expected=expected)

    @property
    def all_feeds(self) -> Feeds:
        """The rows, and the random numbers that the model drew."""
        return self.feeds | {name_of(i): drawn.values for i, drawn in enumerate(self.drawn)}

    @property
    def has_numbers(self) -> bool:
        """Whether every answer is made of numbers: a window larger than its rows gives none."""
        numbers = [leaf for leaf in self.leaves if leaf.dtype.kind in "fc"]
        return all(leaf.size for leaf in self.leaves) and all(
            np.isfinite(leaf).all() for leaf in numbers
        )


def answered_rows(
    model: keras.Model,
    signature: Signature,
    samples: Samples = None,
    *,
    reset_states: bool = False,
    random: bool = False,
) -> tuple[Signature, tuple[Answered, ...]]:
    """Return rows with Keras's answers, at batch 1 and 7, or at the batch that the model fixes.

    `samples` is an array, a list in Keras's order or a mapping by input name, at least one row
    each; None draws seeded random rows, larger ones in open dimensions until Keras answers them.
    The signature comes back with a fixed batch where Keras answers no other. Raises UsageError
    for samples that do not fit, CheckFailed if Keras itself cannot answer.

    With `random` the numbers that the model draws are kept, and the signature has them as inputs.
    """
    signature, answered = _answered(model, signature, samples, reset_states, random)
    if random and any(row.drawn for row in answered):
        signature = with_draws(signature, [row.drawn for row in answered])
    return signature, answered


def _answered(
    model: keras.Model, signature: Signature, samples: Samples, reset_states: bool, random: bool
) -> tuple[Signature, tuple[Answered, ...]]:
    """Return rows with Keras's answers, and the signature with the batch that those have."""
    rows = None if samples is None else sample_rows(signature, samples)
    questions = _Questions(model, signature, rows, reset_states, random)
    fixed = {t.shape[0] for t in signature.own_inputs if t.shape and t.shape[0] is not None}
    try:
        answered = questions.at(tuple(sorted(fixed)[:1]) or BATCHES)
        if not _rank_by_batch(answered):
            return signature, answered
        if rows is None:
            raise CheckFailed(
                f"{model.name} answers one row with other dimensions than several: name the axes "
                "of a squeeze, or fix the batch (as many samples as it is to have, or an "
                "input_signature)"
            )
        size = len(next(iter(rows.values())))
        return signature.with_batch(size), questions.at((size,))
    except CannotAnswer:
        if fixed:
            raise
        own = [signature.recorded_batch, rows and len(next(iter(rows.values())))]
        sizes = dict.fromkeys(size for size in (*own, *OTHER_BATCHES) if size)
        answered = tuple(questions.at_two_of(sizes))
        if not answered:
            raise
    if len(answered) == 1:
        signature = signature.with_batch(answered[0].batch)
    return signature, answered


def _rank_by_batch(answered: Sequence[Answered]) -> bool:
    """Whether answers to batches of two sizes have different numbers of dimensions."""
    return len({tuple(leaf.ndim for leaf in row.leaves) for row in answered}) > 1


@dataclass(frozen=True, slots=True)
class _Questions:
    """Asks one model: the user's rows, or for None random ones until Keras answers with numbers."""

    model: keras.Model
    signature: Signature
    rows: Feeds | None
    reset_states: bool
    random: bool

    def at(self, batches: tuple[int, ...]) -> tuple[Answered, ...]:
        """Ask Keras at each batch; without rows, in the first draw that gives answers with numbers."""
        first_error: Exception | None = None
        untelling: tuple[Answered, ...] = ()
        random = self.rows is None
        for sizes, draw in _draws(self.signature) if random else ((OPEN_SIZES[0], Draw()),):
            try:
                answered = self._in_sizes(batches, sizes, draw)
            except (UsageError, CheckFailed):
                raise
            except Exception as error:  # Keras refuses rows by whatever its backend raises
                first_error = first_error or error
                continue
            if all(row.has_numbers for row in answered):
                return answered
            untelling = untelling or answered
        if untelling:
            return untelling
        assert first_error is not None
        cure = "give rows that it can answer (samples, --samples)" if random else "mend the rows"
        raise CannotAnswer(f"Keras itself cannot answer: {reason_of(first_error)}; {cure}")

    def at_two_of(self, batches: Iterable[int]) -> Iterator[Answered]:
        """Yield the rows of the first two batches that Keras answers."""
        answered = 0
        for size in batches:
            try:
                yield from self.at((size,))
            except CannotAnswer:
                continue
            answered += 1
            if answered == 2:
                return

    def _in_sizes(
        self, batches: tuple[int, ...], sizes: tuple[int, ...], draw: Draw
    ) -> tuple[Answered, ...]:
        """Ask at each batch, at 2 in the place of a larger one where rows or answers are large."""
        answered: list[Answered] = []
        for batch, size in zip(batches, sizes, strict=False):
            if answered and self._are_large(answered[0]):
                batch = min(batch, 2)
            if self.rows is None:
                sized = replace(draw, open_size=size)
                feeds, kind = random_rows(self.model, self.signature, batch, sized), "random rows"
            else:
                feeds, kind = repeated(self.rows, batch), "given rows"
                if self.signature.states:  # which the user's rows leave open
                    feeds = random_rows(self.model, self.signature, batch, draw) | feeds
            with recording(self.random) as drawn:
                leaves = leaves_of(
                    self.model,
                    self.signature,
                    feeds,
                    reset_states=self.reset_states,
                    in_graph=True if self.random else None,
                )
            answered.append(
                Answered(
                    name=f"{kind}, batch {batch}",
                    batch=batch,
                    feeds=feeds,
                    leaves=leaves,
                    drawn=tuple(drawn),
                )
            )
        return tuple(answered)

    def _are_large(self, first: Answered) -> bool:
        """Whether several such rows, or the answers to them, would take too long or too much memory."""
        answers = sum(leaf.size for leaf in first.leaves)
        row = sum(feed.size for feed in first.feeds.values()) // first.batch
        return answers > LARGE_ANSWER or (row > LARGE_ROW and bool(large_variables(self.model)))


def _draws(signature: Signature) -> Iterator[tuple[tuple[int, ...], Draw]]:
    """Yield sizes of open dimensions and what to draw, each as far as the inputs have such."""
    is_open = any(None in t.shape[1:] for t in signature.inputs)
    whole = any(t.dtype.startswith(("int", "uint")) for t in signature.inputs)
    real = any(t.dtype.startswith("float") for t in signature.inputs)
    for least, sizes, integers in itertools.product(
        LEAST if real else LEAST[:1],
        OPEN_SIZES if is_open else OPEN_SIZES[:1],
        INTEGERS if whole else INTEGERS[:1],
    ):
        yield sizes, Draw(integers=integers, least=least)
