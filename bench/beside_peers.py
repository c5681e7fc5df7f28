"""What Keras's own export and plain tf2onnx make of a model, and the time of our file beside theirs.

A peer's file is ok, invalid where onnxruntime does not load it, or wrong where it answers otherwise than Keras;
a model that a peer does not take is refused. Times are onnxruntime's with one thread (bench/race.py).
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bench.peers import PEERS, Write, judge, quiet
from bench.race import race


def beside_peers(
    model: Any,
    cases: Sequence[Any],
    files: Mapping[str, Path],
    folder: Path,
    seconds: float,
    peers: Mapping[str, Write] = PEERS,
) -> dict[str, Any]:
    """Return what becomes of each peer's file, why, and our time as a share of its.

    `cases` have Keras's answers by position; of the first the time is taken, for so many seconds a
    file. `files` has our file, as "ours", or nothing.
    """
    facts: dict[str, Any] = {"peers": {}}
    files = dict(files)
    for peer, write in peers.items():
        path = folder / f"{peer}.onnx"
        outcome, reason = _by_peer(model, write, path, cases)
        facts["peers"][peer] = outcome
        if reason:
            facts.setdefault("reasons", {})[peer] = reason
        if outcome == "ok":
            files[peer] = path
    if len(files) > 1 and "ours" in files:
        facts["ratios"] = _ratios(files, cases[0].feeds, seconds)
    return facts


def peer_cell(row: Mapping[str, Any], peer: str) -> str:
    """Return what became of a peer's file, with ours' share of its time, or the reason in short."""
    outcome: str = row["peers"][peer]
    if peer in row.get("ratios", {}):
        return f"{outcome}, {row['ratios'][peer]:.2f}"
    reason: str = row.get("reasons", {}).get(peer, "")
    operator = re.search(r'In Node, \("[^"]*", (\w+),', reason)
    if operator:
        return f"{outcome}: `{operator[1]}`"
    return f"{outcome}: {reason.removeprefix('ValueError: ')}" if reason else outcome


def _ratios(
    files: Mapping[str, Path], feeds: Mapping[str, np.ndarray], seconds: float
) -> dict[str, float]:
    """Return the median time of our file as a share of each peer's."""
    times = race({k: partial(_runner, v, feeds) for k, v in files.items()}, seconds)
    medians = {k: statistics.median(v) for k, v in times.items()}
    return {k: medians["ours"] / v for k, v in medians.items() if k != "ours"}


def _by_peer(
    model: Any, write: Callable[[Any, Path], None], path: Path, cases: Sequence[Any]
) -> tuple[str, str]:
    """Say what becomes of a peer's file: ok, refused, invalid or wrong; and why."""
    import onnx

    from zoo.parity.compare import Refusal
    from zoo.parity.runtimes import OnnxRuntime

    with quiet():
        try:
            write(model, path)
        except Exception as error:  # whatever a peer raises, it at least says so
            return "refused", Refusal.of(error).reason
        try:
            graph, session = onnx.load(path), OnnxRuntime().load(path)
            wrong = [judge(session, graph, _in_order(case, graph))[0] for case in cases]
        except Exception as error:  # a runtime that refuses the file is the outcome
            return "invalid", Refusal.of(error).without(str(path.parent)).reason
    return ("wrong" if any(wrong) else "ok"), next(filter(None, wrong), "")


def _in_order(case: Any, graph: Any) -> Any:
    """Return the case with its inputs as the graph has them, where the names tell."""
    from dataclasses import replace

    names = [value.name for value in graph.graph.input]
    known = all(name in case.feeds for name in names)
    return replace(case, feeds={name: case.feeds[name] for name in names}) if known else case


def _runner(path: Path, feeds: Mapping[str, np.ndarray]) -> Callable[[], Any]:
    """Open a session, and return what runs it on a row."""
    from zoo.parity.runtimes import open_session

    session = open_session(path, threads=1)
    names = [item.name for item in session.get_inputs()]
    values = list(feeds.values())
    by_name = all(name in feeds for name in names)
    inputs = {n: feeds[n] if by_name else values[i] for i, n in enumerate(names)}
    return lambda: session.run(None, inputs)
