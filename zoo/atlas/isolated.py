"""Measures cases in a process of their own, so that a crash is the outcome of one case.

    measure_isolated(names)    ->  python -m zoo.atlas.isolated FILE.py…, with the names on standard input
                       <-  one Outcome a line, as JSON
    the process dies   ->  `crashed` for the case it was at, and a new process for the rest

A file can abort onnxruntime, and a converter can take all memory or for ever.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence

from zoo.atlas.case import LayerCase, Outcome

#: A case takes well under a second; after so many SIGALRM ends the process.
SECONDS_PER_CASE = 300

#: The program that measures the zoo's own exporter.
COMMAND = (sys.executable, "-m", "zoo.atlas.isolated")


def measure_isolated(names: Sequence[str], command: Sequence[str] = COMMAND) -> Iterator[Outcome]:
    """Measure the cases of these names, in order, and yield the outcome of each.

    `command` is a program that calls `measure_requested`.
    """
    remaining = list(names)
    while remaining:
        for outcome in _one_process(command, tuple(remaining)):
            yield outcome
            remaining.pop(0)


def _one_process(command: Sequence[str], names: Sequence[str]) -> Iterator[Outcome]:
    """Yield outcomes until the process ends; if it died, the last is of the case that ended it."""
    done = 0
    with (
        tempfile.TemporaryFile("w+") as requests,
        tempfile.TemporaryFile("w+", errors="replace") as log,
    ):
        json.dump(list(names), requests)
        requests.seek(0)
        with subprocess.Popen(
            command, stdin=requests, stdout=subprocess.PIPE, stderr=log, text=True
        ) as process:
            assert process.stdout is not None
            try:
                for line in process.stdout:
                    yield Outcome.from_json(json.loads(line))
                    done += 1
            finally:
                process.kill()  # without effect if it has ended; else its reader has
        if done < len(names):
            log.seek(0)
            reason = _death(process.returncode, log.read())
            yield Outcome(name=names[done], status="crashed", reason=reason)


def _death(status: int, log: str) -> str:
    """Say how a process ended, with the last line of its log."""
    if status == -signal.SIGALRM:
        return f"took more than {SECONDS_PER_CASE} s"
    how = signal.Signals(-status).name if status < 0 else f"exit status {status}"
    last = [line for line in log.splitlines() if line.strip()][-1:]
    return f"the process ended by {how}: {''.join(last)[:200] or 'no message'}"


def measure_requested(measure: Callable[[LayerCase], Outcome], files: Sequence[str] = ()) -> None:
    """Measure the cases named on standard input, of the atlas or of these files; write each outcome to standard output."""
    from zoo.atlas import cases, cases_of

    known = {case.name: case for case in (*cases(), *cases_of(files))}
    chosen = [known[name] for name in json.load(sys.stdin)]
    # What libraries print must not mix with the outcomes.
    with os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1) as outcomes:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        for case in chosen:
            signal.alarm(SECONDS_PER_CASE)
            outcomes.write(json.dumps(measure(case).to_json()) + "\n")


if __name__ == "__main__":
    from zoo.atlas.measure import measure_case

    measure_requested(measure_case, sys.argv[1:])
