"""Cases measured in a process of their own: what ends it is one case's outcome.

    measured(exporter, names)  ->  python -m zoo.atlas.isolated EXPORTER (names on standard input)
                               <-  one Outcome a line, as JSON
    the process dies           ->  `crashed` for the case it was at, a new process for the rest

A peer's file can abort onnxruntime, and a converter can take all memory or forever.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence

from zoo.atlas.case import OURS, Case, Outcome

#: A case takes well under a second, and the slowest of a peer's 10; then SIGALRM ends the process.
SECONDS_PER_CASE = 300


def measured(exporter: str, names: Sequence[str]) -> Iterator[Outcome]:
    """Yield the outcome of every case that is named, in order, for `ours` or a peer by name."""
    waiting = list(names)
    while waiting:
        for outcome in _one_process(exporter, tuple(waiting)):
            yield outcome
            waiting.pop(0)


def _one_process(exporter: str, names: Sequence[str]) -> Iterator[Outcome]:
    """Yield outcomes until the process is done, or dead: then of the case that killed it."""
    done = 0
    with (
        tempfile.TemporaryFile("w+") as asked,
        tempfile.TemporaryFile("w+", errors="replace") as said,
    ):
        json.dump(list(names), asked)
        asked.seek(0)
        command = [sys.executable, "-m", "zoo.atlas.isolated", exporter]
        with subprocess.Popen(
            command, stdin=asked, stdout=subprocess.PIPE, stderr=said, text=True
        ) as process:
            assert process.stdout is not None
            try:
                for line in process.stdout:
                    yield Outcome.from_json(json.loads(line))
                    done += 1
            finally:
                process.kill()  # nothing if it has ended; else its reader has
        if done < len(names):
            said.seek(0)
            reason = _death(process.returncode, said.read())
            yield Outcome(name=names[done], status="crashed", reason=reason)


def _death(status: int, said: str) -> str:
    """Say how a process ended, with its last words."""
    if status == -signal.SIGALRM:
        return f"took more than {SECONDS_PER_CASE} s"
    how = signal.Signals(-status).name if status < 0 else f"exit status {status}"
    last = [line for line in said.splitlines() if line.strip()][-1:]
    return f"the process ended by {how}: {''.join(last)[:200] or 'no message'}"


def main(arguments: Sequence[str]) -> int:
    """The process's own entry."""
    from zoo.atlas import cases

    (exporter,) = arguments
    known = {case.name: case for case in cases()}
    chosen: list[Case] = [known[name] for name in json.load(sys.stdin)]
    # What libraries print must not mix with the outcomes.
    with os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1) as answer:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        for case in chosen:
            signal.alarm(SECONDS_PER_CASE)
            answer.write(json.dumps(_measure(exporter, case).to_json()) + "\n")
    return 0


def _measure(exporter: str, case: Case) -> Outcome:
    if exporter == OURS:
        from zoo.atlas.measure import measure

        return measure(case)
    from zoo.atlas.peers import PEERS, measure_peer

    return measure_peer(case, PEERS[exporter])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
