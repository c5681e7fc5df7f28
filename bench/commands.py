"""What each command of `zoo` takes, beside an interpreter that does nothing: python -m bench.commands.

    python -m bench.commands --repository models          a minute or two, on published models
    python -m bench.commands --repeats 5 --only predict

A command runs as people run it, in a process of its own. The time that it had a processor is printed as well as
the time that passed, since other work on the machine stretches the second alone.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

_ZOO = Path(sys.executable).with_name("zoo")

#: Each command by what it does, with {repository}, {folder} for what it writes, {runs} of finished trainings,
#: and {keras}, the Keras file of a published model.
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "zoo --version": ["--version"],
    "zoo list": ["list", "--repository", "{repository}"],
    "zoo show dense_iris": ["show", "dense_iris", "--repository", "{repository}"],
    "zoo predict dense_iris ROW": [
        "predict", "dense_iris", "5.1,3.5,1.4,0.2", "--repository", "{repository}",
    ],
    "zoo run dense_iris": ["run", "dense_iris", "--repository", "{repository}"],
    "zoo bench dense_iris --seconds 0.1": [
        "bench", "dense_iris", "--seconds", "0.1", "--repository", "{repository}",
    ],
    "zoo new my_flowers": ["new", "my_flowers"],
    "zoo completion bash": ["completion", "bash"],
    "zoo train, all up to date": ["train", "--runs", "{runs}"],
    "zoo export, all up to date": ["export", "--runs", "{runs}", "--repository", "{repository}"],
    "zoo verify dense_iris": ["verify", "dense_iris", "--repository", "{repository}"],
    "zoo train dense_iris": ["train", "dense_iris", "--runs", "{folder}/runs"],
    "zoo export FILE.keras": ["export", "{keras}", "-o", "{folder}/out.onnx"],
    "zoo layers --only '^Dense$'": ["layers", "--only", "^Dense$"],
    "zoo site": ["site", "--repository", "{repository}", "--runs", "{runs}", "--output", "{folder}/site"],
    "zoo serve, until it is ready": ["serve", "{repository}"],
}  # fmt: skip

_PORTS = [word for kind in ("grpc", "http", "metrics") for word in (f"--{kind}-port", "0")]


@dataclass(frozen=True, slots=True)
class Cost:
    """What one run took: seconds that passed, seconds of a processor, and the most memory in MB."""

    wall: float
    cpu: float
    megabytes: float


def measure(words: Sequence[str], folder: Path) -> Cost:
    """Run a command in a folder and return its cost. Raises RuntimeError with its output if it fails."""
    command = list(words) if words[0] == sys.executable else [str(_ZOO), *words]
    serves = words[0] == "serve"
    began = time.perf_counter()
    process = subprocess.Popen(
        [*command, *(_PORTS if serves else ())],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    output, wall = "", 0.0
    for line in process.stdout:
        output += line
        if serves and re.search("ready: gRPC on", line):
            wall = time.perf_counter() - began
            process.terminate()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}: {output[-500:]}")
    wall = wall or time.perf_counter() - began
    return Cost(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1000)


def report(names: Sequence[str], repository: Path, runs: Path, repeats: int) -> str:
    """Return the table: the median of each figure, and the time of a processor in multiples of the first row's."""
    lines = [
        "| command | s | CPU s | × `python -c pass` | MB |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    floor = 0.0
    for name in names:
        costs = []
        for _ in range(repeats):
            folder = Path(tempfile.mkdtemp())
            values = {
                "repository": str(repository.resolve()),
                "runs": str(runs.resolve()),
                "folder": str(folder),
                "keras": str((repository / "dense_iris/1/model.keras").resolve()),
            }
            try:
                costs.append(measure([word.format(**values) for word in COMMANDS[name]], folder))
            finally:
                shutil.rmtree(folder)
        wall, cpu, memory = (
            median(getattr(cost, key) for cost in costs) for key in ("wall", "cpu", "megabytes")
        )
        floor = floor or cpu
        row = f"| `{name}` | {wall:.2f} | {cpu:.2f} | {cpu / floor:.0f} | {memory:.0f} |"
        print(row, file=sys.stderr, flush=True)
        lines.append(row)
    return "\n".join(lines)


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.commands", description=__doc__)
    parser.add_argument("--repository", type=Path, default=Path("models"))
    parser.add_argument("--runs", type=Path, default=Path("build/runs"))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--only", default="", help="measure only commands that match, beside the first"
    )
    options = parser.parse_args()
    floor, *others = COMMANDS
    chosen = [floor, *(name for name in others if re.search(options.only, name))]
    print(report(chosen, options.repository, options.runs, options.repeats))


if __name__ == "__main__":
    main()
