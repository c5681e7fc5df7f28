"""One overall progress of a command, with the model in hand; silent where there is no terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class Overall:
    """A line on standard error: what is in hand, how far all of it is, since when.

    It moves while TensorFlow is imported too: rich draws it from a thread of its own.
    """

    def __init__(self, total: int, unit: str = "models") -> None:
        """Take how many steps there are in all."""
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
        """Show what is in hand, and what is done with it."""
        self._name = name
        self._show(self._done, f"{name}: {doing}" if doing else name)

    def at(self, done: int, name: str) -> None:
        """Show what is in hand where the steps are counted elsewhere."""
        self._done = done
        self.begin(name)

    def epoch(self, epoch: int, epochs: int, loss: float, val_loss: float) -> None:
        """Show how far a training is: the epochs are parts of its step."""
        text = f"{self._name}: epoch {epoch}/{epochs}, loss {loss:.3g}, validation {val_loss:.3g}"
        self._show(self._done + epoch / max(epochs, 1), text)

    def end(self) -> None:
        """Count the step in hand as done."""
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
