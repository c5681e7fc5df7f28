"""Runs trials in processes of this machine, a bounded number at once, each in one of its own.

The processes are forks of one that has imported TensorFlow and computed nothing (preload.py). One
that dies takes no other with it, and ends with the process that started it, after an epoch at most.
"""

from __future__ import annotations

import multiprocessing
import os
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING

from zoo.errors import CheckFailed, ZooError, first_line
from zoo.recipes.recipe import Recipe
from zoo.training.loop import Progress
from zoo.training.spread import Outcome, Reports
from zoo.training.trial import Trial, run_trial

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerProcess

#: Seconds that a process has to end after it was told to.
GRACE = 5.0


@dataclass(frozen=True, slots=True)
class ThisMachine:
    """Processes of this machine, so many at once."""

    jobs: int

    def run(self, trials: Sequence[Trial], reports: Reports) -> Iterator[tuple[Trial, Outcome]]:
        """Run each to its end."""
        return run_in_processes(trials, reports, jobs=self.jobs)

    def search(
        self, recipe: Recipe, trials: Sequence[Trial], reports: Reports
    ) -> Iterator[tuple[Trial, Outcome]]:
        """Run each to its end, so that the choice depends on no timing."""
        return self.run(trials, reports)


def run_in_processes(
    trials: Sequence[Trial], progress: Reports, *, jobs: int
) -> Iterator[tuple[Trial, Outcome]]:
    """Yield each trial with its outcome as it ends; `progress` gives whom to tell its epochs."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["zoo.training.preload"])
    waiting = list(reversed(trials))
    running: dict[Connection, tuple[Trial, ForkServerProcess]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                ours, theirs = context.Pipe(duplex=False)
                trial = waiting.pop()
                process = context.Process(target=_work, args=(trial, theirs), daemon=True)
                process.start()
                theirs.close()
                running[ours] = trial, process
            for connection in wait(list(running)):
                assert isinstance(connection, Connection)
                trial, process = running[connection]
                outcome = _next(connection, trial, process, progress(trial))
                if outcome is not None:
                    del running[connection]
                    connection.close()
                    process.join(GRACE)
                    yield trial, outcome
    finally:
        for connection, (_, process) in running.items():
            connection.close()
            process.terminate()
            process.join(GRACE)


def _next(
    connection: Connection, trial: Trial, process: ForkServerProcess, progress: Progress
) -> Outcome | None:
    """Return the trial's outcome, None after an epoch of it."""
    try:
        message = connection.recv()
    except EOFError:
        process.join(GRACE)
        return CheckFailed(
            f"{_whose(trial)} ended with {_status(process.exitcode)} before the "
            "training did: the same command goes on from what is finished"
        )
    if isinstance(message, Outcome):
        return message
    progress(*message)
    return None


def _whose(trial: Trial) -> str:
    cluster = trial.cluster
    return "its process" if cluster is None else f"worker {cluster.index} of {len(cluster)}"


def _status(code: int | None) -> str:
    return f"signal {-code}" if code is not None and code < 0 else f"status {code}"


def _work(trial: Trial, connection: Connection) -> None:
    """Train, in a process of its own, and send epochs and the outcome."""

    def report(*epoch: float) -> None:
        try:
            connection.send(epoch)
        except OSError:  # whoever wanted to know is gone
            os._exit(1)

    try:
        outcome: Outcome = run_trial(trial, report)
    except ZooError as error:
        outcome = error
    except Exception as error:
        # What a recipe of the user's raises where we do not call it ourselves.
        traceback.print_exc()
        outcome = CheckFailed(f"{type(error).__name__}: {first_line(error)}")
    connection.send(outcome)
