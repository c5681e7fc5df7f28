"""Shows the progress of a whole command on one line; silent where there is no terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class CommandProgress:
    """One line on standard error: the current step, how many are done, the time since the start.

    It moves while TensorFlow is imported too: rich draws it from a thread of its own.
    """

    def __init__(self, total: int, unit: str = "models") -> None:
        """`total` is the number of steps, `unit` what they are called."""
        self._total, self._unit = total, unit
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._done = 0.0
        self._name = ""

    def __enter__(self) -> Self:
        if self._total and sys.stderr.isatty():
            self._start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._progress is not None:
            self._progress.stop()

    def begin(self, name: str, doing: str = "") -> None:
        """Begin a step: show the name of the model or case, and what is done with it."""
        self._name = name
        self._show(self._done, f"{name}: {doing}" if doing else name)

    def at(self, done: int, name: str) -> None:
        """Show a step where the caller counts: `done` steps are over, and `name` is the current one."""
        self._done = done
        self.begin(name)

    def epoch(self, epoch: int, epochs: int, loss: float, val_loss: float) -> None:
        """Show an epoch of a training, as a fraction of its step."""
        text = f"{self._name}: epoch {epoch}/{epochs}, loss {loss:.3g}, validation {val_loss:.3g}"
        self._show(self._done + epoch / max(epochs, 1), text)

    def end(self) -> None:
        """Count the current step as done."""
        self._done += 1
        self._show(self._done, self._name)

    def _start(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
        from rich.table import Column

        self._progress = Progress(
            SpinnerColumn(),
            BarColumn(bar_width=16),
            TextColumn(
                "{task.fields[count]}",
                table_column=Column(
                    no_wrap=True, min_width=len(f"{self._total}/{self._total} {self._unit}")
                ),
            ),
            TimeElapsedColumn(table_column=Column(no_wrap=True, min_width=7)),
            TextColumn(
                "{task.description}",
                markup=False,
                table_column=Column(no_wrap=True, overflow="ellipsis"),
            ),
            console=Console(stderr=True),
            transient=True,
            redirect_stdout=False,  # what is printed is the command's result
        )
        self._task = self._progress.add_task("", total=self._total, count="")
        self._show(0, "starting")
        self._progress.start()

    def _show(self, completed: float, text: str) -> None:
        if self._progress is not None and self._task is not None:
            count = f"{int(completed)}/{self._total} {self._unit}"
            self._progress.update(
                self._task, completed=completed, description=text, count=count, refresh=True
            )
