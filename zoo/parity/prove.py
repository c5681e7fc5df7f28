"""Proves an ONNX file against Keras's answers, in the runtimes of this process.

    prove(path, cases, policy) -> Proof

onnxruntime decides: a file that it refuses, or answers otherwise than Keras, is not proven. The ONNX
reference evaluator must agree wherever it answers; where it is too slow, computes an operator wrong
or cannot run the graph it is left out, the proof says so, and onnxruntime must agree without its
optimizations too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from zoo.errors import CheckFailed, MissingPackage
from zoo.parity.adversarial import undefined
from zoo.parity.compare import (
    Arrays,
    Case,
    Comparison,
    Policy,
    Refusal,
    Report,
    Session,
    compare_answers,
    shared_scales,
)
from zoo.parity.external_data import read_graph
from zoo.parity.reference import REFERENCE, exclusion, without_pooled_nan
from zoo.parity.runtimes import DECISIVE, STAND_IN, Runtime, all_runtimes
from zoo_server.malloc import heap

if TYPE_CHECKING:
    from onnx import GraphProto


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """How one file was held against Keras.

    `versions` of the runtimes that were compared, `left_out` with the reason those that were not.
    `answers`: what each runtime gave for the case that `prove` was told to keep. `conditioning` says
    how an ill-conditioned model's was proven (conditioning.py).
    """

    file: Path
    report: Report
    versions: Mapping[str, str]
    left_out: Mapping[str, str]
    answers: Mapping[str, Arrays] = field(default_factory=dict, repr=False)
    conditioning: Mapping[str, object] = field(default_factory=dict)

    @property
    def notes(self) -> list[str]:
        """How an ill-conditioned model's was proven, which runtimes were left out and why: one line each."""
        lines = [str(self.conditioning["text"])] if self.conditioning else []
        return lines + [f"{name} left out: {reason}" for name, reason in self.left_out.items()]

    def require(self) -> None:
        """Raise CheckFailed, naming the worst disagreement, unless the file is proven."""
        if self.report.ok:
            return
        worst = self.report.worst
        failed = sum(row.failed for row in self.report.comparisons)
        counts = f"{failed} of {len(self.report.comparisons)} comparisons failed"
        if not worst.output:
            raise CheckFailed(
                f"{self.file.name}: {worst.runtime} refuses the graph: {worst.reason}"
            )
        raise CheckFailed(
            f"{self.file.name}: {worst.runtime} and Keras disagree on {worst.output} "
            f"({worst.case}): {worst.reason}; {counts}"
        )


def prove(
    path: Path,
    cases: Sequence[Case],
    policy: Policy,
    *,
    keep: Case | None = None,
    runtimes: Sequence[Runtime] | None = None,
) -> Proof:
    """Run the cases through a file in every installed runtime and compare with Keras's answers.

    The answers to the case `keep` come back with the proof. Raises MissingPackage without
    onnxruntime; whether the file is proven is for `Proof.require` to say.
    """
    runtimes = all_runtimes() if runtimes is None else runtimes
    if not any(runtime.name == DECISIVE and runtime.version() for runtime in runtimes):
        raise MissingPackage("onnxruntime", "comparing with Keras", "cpu")
    graph = read_graph(path)
    judged = with_undefined(cases, operators(graph))
    rows: list[Comparison] = []
    versions: dict[str, str] = {}
    left_out: dict[str, str] = {}
    kept: dict[str, Arrays] = {}
    for runtime in runtimes:
        if runtime.name == STAND_IN and REFERENCE not in left_out:
            continue
        version, own_cases = runtime.version(), _concerning(runtime, judged)
        reason = (
            "not installed" if version is None else exclusion(runtime.name, path, graph, own_cases)
        )
        if reason:
            left_out[runtime.name] = reason
            continue
        answers = run_cases(runtime, path, own_cases)
        heap.stage_ended()
        comparisons = compare_answers(
            runtime.name, own_cases, answers, policy, scales=shared_scales(judged)
        )
        comparisons = without_pooled_nan(runtime.name, path, own_cases, comparisons)
        refusals = [row for row in comparisons if not row.output]
        if refusals and runtime.name != DECISIVE:
            left_out[runtime.name] = f"cannot run the graph: {refusals[0].reason}"
            comparisons = [row for row in comparisons if row.output]
        if comparisons:
            rows += comparisons
            versions[runtime.name] = version or ""
        for case, outcome in zip(own_cases, answers, strict=True):
            if keep is not None and case.feeds is keep.feeds and not isinstance(outcome, Refusal):
                kept[runtime.name] = outcome
    report = Report(comparisons=tuple(rows))
    return Proof(file=path, report=report, versions=versions, left_out=left_out, answers=kept)


def _concerning(runtime: Runtime, cases: Sequence[Case]) -> list[Case]:
    """Return what a runtime must answer: of rows that no data set has, onnxruntime has told enough."""
    stands_in = runtime.name == STAND_IN
    return [
        case
        for case in cases
        if case.concerns(runtime.name) and not (stands_in and case.adversarial)
    ]


def run_cases(runtime: Runtime, path: Path, cases: Sequence[Case]) -> list[Arrays | Refusal]:
    """Return what a runtime gives for each case; one that cannot load the file refuses them all."""
    session: Session
    try:
        session = runtime.load(path)
    except Exception as error:  # a foreign runtime may raise anything; it is its verdict
        return [Refusal.of(error) for _ in cases]
    with np.errstate(all="ignore"):  # what overflows in numpy is for the comparison to judge
        return [answer(session, case.feeds) for case in cases]


def answer(session: Session, feeds: Arrays) -> Arrays | Refusal:
    """Return a session's answer, or its error as a refusal."""
    try:
        return session(feeds)
    except Exception as error:  # a foreign runtime may raise anything; it is its verdict
        return Refusal.of(error)


def with_undefined(cases: Sequence[Case], kinds: Iterable[str]) -> list[Case]:
    """Return the cases; adversarial ones say why some runtimes' answers are undefined for these operators."""
    present = frozenset(kinds)
    result = []
    for case in cases:
        if case.adversarial:
            arrays = (*case.feeds.values(), *case.expected.values())
            case = replace(case, undefined={**undefined(arrays, present), **case.undefined})
        result.append(case)
    return result


def operators(graph: GraphProto | None) -> set[str]:
    """Return the kinds of a graph's nodes."""
    return {node.op_type for node in graph.node} if graph is not None else set()
