"""One run: servers are started, driven in turn, and stopped, whatever happens.

Each repeat goes through the scenarios, and in each scenario through the servers, beginning with
another server each time: what disturbs the machine for a while disturbs all alike. Servers that wait
for their turn stay in memory and are idle.
"""

import re
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import grpc

from bench import messages
from bench.bars import MEMORY, RESIDENT, START, START_SECONDS, START_ZOO
from bench.environments import PeerUnavailable
from bench.load import LoadError
from bench.process import ServerProcess
from bench.repository import TINY, Repositories
from bench.scenarios import (
    ONE,
    Figures,
    Flight,
    Scenario,
    Setting,
    Target,
    in_process,
    sample,
)
from bench.servers import Command, Server, in_process_name

#: What a server may take from its start to its first answer.
_START_SECONDS = 60

#: What one drive may end with without ending the run.
_FAILURES = (LoadError, PeerUnavailable, grpc.RpcError, TimeoutError)


class Run:
    """The servers that run, and what has been measured."""

    def __init__(self, setting: Setting, published: Path) -> None:
        self._setting = setting
        self._published = published
        self._running: dict[str, tuple[Server, Target]] = {}
        self._count = 0
        #: Server, or server and scenario -> why it is not measured.
        self.skipped: dict[str, str] = {}
        self.repeats: dict[str, dict[str, dict[str, list[float]]]] = {}

    def start(self, server: Server) -> None:
        """Start a server that will be driven, and see that its answer is right."""
        try:
            target, _ = self._launch(server, self._repository(server))
        except _FAILURES as error:
            self._skip(server.name, error)
            return
        self._running[server.name] = (server, target)
        try:
            ONE.check(target, self._setting)
        except _FAILURES as error:
            self._end(server.name)
            self._skip(server.name, error)

    def measure(self, scenario: Scenario, turn: int) -> None:
        """Drive every server once, one after the other, the `turn`-th first."""
        if isinstance(scenario, Flight):
            for rows in scenario.limit_rows:
                figures = in_process(scenario, rows, self._setting)
                self._note(scenario.name, in_process_name(rows), figures)
        for name in rotated(list(self._running), turn):
            if f"{name}: {scenario.name}" not in self.skipped:
                self._drive(name, scenario)

    def measure_starts(self, turn: int) -> None:
        """Start each server once more, and note how long its first answer took, and its memory."""
        for name in rotated(list(self._running), turn):
            server, _ = self._running[name]
            self._measure_start(START, server, self._repository(server), TINY.name)
            if server.serves_zoo and (self._published / "cnn_digits").exists():
                self._measure_start(START_ZOO, server, self._published, "cnn_digits")

    def stop(self) -> None:
        """End all servers."""
        for name in list(self._running):
            self._end(name)

    def _drive(self, name: str, scenario: Scenario) -> None:
        """Measure one server once; one that died under the load is started and driven once more."""
        what = f"{name}: {scenario.name}"
        while name in self._running:
            server, target = self._running[name]
            if not scenario.applies(echoes=target.echoes):
                return
            try:
                self._note(scenario.name, name, scenario.measure(target, self._setting))
                return
            except _FAILURES as error:
                died = target.process.has_ended()
                self._end(name)  # if it has not, it may still be at work on what it was asked
                self.start(server)
                again = f"{what}, once"
                if not died or again in self.skipped:
                    self._skip(what, error)
                    return
                self._skip(again, LoadError(f"it died: {target.process.log_tail()}"))

    def _measure_start(self, scenario: str, server: Server, repository: Path, model: str) -> None:
        try:
            target, took = self._launch(server, repository, model)
        except _FAILURES as error:
            self._skip(f"{server.name}: {scenario}", error)
            return
        try:
            process = target.process
            figures = {MEMORY: process.memory_mb(), RESIDENT: process.resident_mb()}
        finally:
            target.process.stop()
        self._note(scenario, server.name, {START_SECONDS: took, **figures})

    def _launch(
        self, server: Server, repository: Path, model: str = TINY.name
    ) -> tuple[Target, float]:
        """Start a server; return it and the seconds to its first answer."""
        self._count += 1
        folder = (
            self._setting.work / f"{self._count}-{re.sub(r'[^a-z0-9]+', '-', server.name.lower())}"
        )
        folder.mkdir()
        command = server.command(repository, folder)
        message = messages.request(model, TINY.input[0], sample(TINY, 1))
        process = ServerProcess(
            command.arguments,
            self._setting.server_core,
            command.env,
            folder / "log",
            command.shared_memory,
        )
        try:
            took = process.wait_until(lambda: _answers(command, message), _START_SECONDS)
        except TimeoutError as error:
            words = process.log_tail()
            process.stop()
            raise TimeoutError(f"{error}; its log ends: {words}") from None
        except BaseException:
            process.stop()
            raise
        return Target(process=process, port=command.port, echoes=server.echoes), took

    def _repository(self, server: Server) -> Path:
        repositories: Repositories = self._setting.repositories
        return repositories.batching if server.joins else repositories.single

    def _end(self, name: str) -> None:
        _, target = self._running.pop(name)
        target.process.stop()

    def _note(self, scenario: str, server: str, figures: Figures) -> None:
        rows = self.repeats.setdefault(scenario, {}).setdefault(server, {})
        for name, value in figures.items():
            rows.setdefault(name, []).append(value)

    def _skip(self, what: str, error: Exception) -> None:
        why = error.details() if isinstance(error, grpc.Call) else str(error)
        if isinstance(error, grpc.Call):
            why = f"{error.code().name}: {why}"
        self.skipped[what] = " ".join(why.split())[:300]
        print(f"not measured: {what}: {self.skipped[what]}", file=sys.stderr)


def rotated(names: Sequence[str], turn: int) -> list[str]:
    """Return the names from the turn-th on, and then those before it."""
    start = turn % len(names) if names else 0
    return [*names[start:], *names[:start]]


def versions(servers: Sequence[Server]) -> Mapping[str, Mapping[str, str]]:
    """Return what is installed for each peer that has an environment."""
    return {
        server.name: server.environment.versions()
        for server in servers
        if server.environment is not None and server.environment.complete
    }


def _answers(command: Command, message: bytes) -> bool:
    # A plain connection first: it fails at once and leaves no channel behind that backs off.
    try:
        socket.create_connection(("127.0.0.1", command.port), 1).close()
        messages.call(command.port, message, 5)
    except (OSError, grpc.RpcError):
        return False
    return True
