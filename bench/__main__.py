"""python -m bench: start each server, drive all of them in turn, write medians and ratios."""

import argparse
import os
import re
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import grpc
import numpy as np

from bench import load, report
from bench.environments import ROOT, Unavailable
from bench.process import ServerProcess
from bench.repository import prepare
from bench.scenarios import FLIGHTS, SCENARIOS, Flight, Large, Scenario, Setting, Target, in_process
from bench.servers import SERVERS, Server

RESULTS = Path(__file__).parent / "results"
IN_PROCESS = "session.run in process"
START = "start and memory"


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--repository", type=Path, default=Path("models"), help="published models")
    parser.add_argument("--only", default="", metavar="REGEX", help="servers whose name matches")
    parser.add_argument("--scenario", default="", metavar="REGEX", help="scenarios that match")
    parser.add_argument("--repeats", type=int, default=5, metavar="N")
    parser.add_argument("--seconds", type=float, default=2.0, metavar="S", help="of each drive")
    parser.add_argument("--output", type=Path, default=RESULTS, metavar="FOLDER")
    parser.add_argument("--list", action="store_true", help="name servers and scenarios, and end")
    return parser.parse_args()


def main() -> int:
    """Measure; return the exit status."""
    chosen = options()
    servers = [server for server in SERVERS if re.search(chosen.only, server.name)]
    scenarios = [scenario for scenario in SCENARIOS if re.search(chosen.scenario, scenario.name)]
    if chosen.list:
        print("\n".join([*(server.name for server in servers), "", *(s.name for s in scenarios)]))
        return 0
    cores = sorted(os.sched_getaffinity(0))
    if (why := load.generator()) or len(cores) < 2:
        print(why or "two cores are needed: one for the server, one for the load", file=sys.stderr)
        return 1
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        repository = ROOT / "models"
        prepare(repository, chosen.repository)
        run = Run(work, repository, chosen.seconds, {cores[0]}, {cores[-1]})
        stack.callback(run.stop)
        for server in servers:
            run.start(server)
        for number in range(chosen.repeats):
            print(f"repeat {number + 1} of {chosen.repeats}", file=sys.stderr)
            for scenario in scenarios:
                run.measure(scenario)
        run.measure_memory()
        report.write(chosen.output, run.repeats, run.skipped)
        print((chosen.output / "serve.md").read_text())
    return 0


class Run:
    """The servers that run, and what has been measured."""

    def __init__(
        self, work: Path, repository: Path, seconds: float, cores: set[int], load_cores: set[int]
    ) -> None:
        self._work = work
        self._repository = repository
        self._cores = cores
        self._setting = Setting(work=work, seconds=seconds, cores=load_cores)
        self._targets: dict[str, Target] = {}
        self.skipped: dict[str, str] = {}
        self.repeats: dict[str, dict[str, dict[str, list[float]]]] = {}

    def start(self, server: Server) -> None:
        """Start a server, wait for its first answer, and see that it is right."""
        folder = self._work / re.sub(r"\W+", "-", server.name)
        folder.mkdir()
        log = folder / "log"
        try:
            command = server.command(self._repository, folder)
            process = ServerProcess(command.arguments, self._cores, command.env, log)
        except Unavailable as error:
            self._skip(server.name, str(error))
            return
        try:
            message = FLIGHTS[0].message()
            took = process.wait_until(lambda: _answers(command.port, message), 60)
            _check(server, command.port, message, self._repository)
        except (TimeoutError, AssertionError) as error:
            process.stop()
            tail = log.read_text(errors="replace").strip().splitlines()[-3:]
            self._skip(server.name, f"{error}; its log ends: {' / '.join(tail)}")
            return
        self._targets[server.name] = Target(
            process=process, port=command.port, echoes=server.echoes
        )
        self._note(START, server.name, {"start s": took})

    def measure(self, scenario: Scenario) -> None:
        """Drive every server once, one after the other."""
        if isinstance(scenario, Flight) and scenario.limit_rows:
            figures = in_process(self._repository, scenario, self._setting, self._cores)
            self._note(scenario.name, IN_PROCESS, figures)
        for name, target in self._targets.items():
            if target.echoes and not isinstance(scenario, Flight | Large):
                continue
            try:
                figures = scenario.measure(target, self._setting)
            except (RuntimeError, grpc.RpcError) as error:
                self._skip(f"{name}: {scenario.name}", str(error).splitlines()[0])
                continue
            self._note(scenario.name, name, figures)

    def measure_memory(self) -> None:
        """Note each server's memory at the end."""
        for name, target in self._targets.items():
            self._note(START, name, {"memory MB": target.process.memory_mb()})

    def stop(self) -> None:
        """End all servers."""
        for target in self._targets.values():
            target.process.stop()

    def _note(self, scenario: str, server: str, figures: object) -> None:
        rows = self.repeats.setdefault(scenario, {}).setdefault(server, {})
        for name, value in dict(figures).items():  # type: ignore[call-overload]
            rows.setdefault(name, []).append(value)

    def _skip(self, what: str, why: str) -> None:
        print(f"not measured: {what}: {why}", file=sys.stderr)
        self.skipped[what] = why


def _answers(port: int, message: bytes) -> bool:
    try:
        load.call(port, message, 1)
    except grpc.RpcError:
        return False
    return True


def _check(server: Server, port: int, message: bytes, repository: Path) -> None:
    """Compare an answer with session.run's own; AssertionError if they differ."""
    answer = load.call(port, message)
    if server.echoes:
        assert answer == message, "it does not echo"
        return
    import onnxruntime

    session = onnxruntime.InferenceSession(str(repository / "tiny" / "1" / "model.onnx"))
    x = np.random.default_rng(0).random((1, 8, 8, 1), np.float32)
    (right,) = session.run(None, {"image": x})
    assert np.allclose(load.values(answer), right.ravel(), atol=1e-5), "its answer is wrong"


if __name__ == "__main__":
    sys.exit(main())
